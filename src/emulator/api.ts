import { daysBetween, pacificDay } from '../domain/day.ts';
import { withDefaults } from '../domain/options.ts';
import type { Day } from '../domain/slice.ts';
import {
  type ApiError,
  badRequest,
  invalidArgument,
  noPermission,
  notFound,
  quotaRefusal,
  unauthenticated,
} from './api-errors.ts';
import { Dataset, datasetCaches, type Table } from './dataset.ts';
import { hashText, mix } from './hash.ts';
import type { EmulatedSite, EmulatorOptions, Endpoint, PermissionLevel } from './options.ts';
import { hasQueries } from './pool.ts';
import { type QueryRequest, readQueryRequest } from './query-request.ts';
import { DEFAULT_LIMITS, QuotaMeter } from './quota.ts';

/** An API call as received, alone or in a batch. */
export interface ApiCall {
  readonly method: string;
  /** Path and query string, undecoded. */
  readonly target: string;
  readonly body: string;
}

/** The answer to give. Rows are generated only when they are written. */
export type Answer =
  | ApiError
  | { readonly kind: 'json'; readonly value: unknown }
  | {
      readonly kind: 'rows';
      readonly property: Property;
      readonly request: QueryRequest;
      readonly tieSalt: number;
    };

/** A call that has been parsed and counted, with its answer. */
export interface ReadCall {
  readonly endpoint: Endpoint;
  readonly siteUrl: string | undefined;
  readonly body: unknown;
  readonly pretty: boolean;
  readonly answer: Answer;
  /** Set for valid queries, so that faults can match on it. */
  readonly query: QueryRequest | undefined;
  /** Equal for equal requests. `seenBefore` counts the earlier ones. */
  readonly identity: string;
  readonly seenBefore: number;
}

/** A property in the emulator. */
export interface Property {
  readonly siteUrl: string;
  readonly permissionLevel: PermissionLevel;
  readonly qpm: number | undefined;
  readonly dataset: Dataset;
}

const DEFAULT_ROWS_PER_DAY = 1_000;
const DEFAULT_ROW_CAP = 50_000;
const DEFAULT_HOURLY_DAYS = 10;
/** Maximum requests whose repetitions are counted. Beyond it, counting starts again from zero. */
const MAX_IDENTITIES = 200_000;

/** The API without HTTP: paths, permissions, quotas, and the answer to each call. */
export class Api {
  readonly meter: QuotaMeter;
  readonly #options: EmulatorOptions;
  readonly #properties: ReadonlyMap<string, Property>;
  readonly #seen = new Map<string, number>();

  constructor(options: EmulatorOptions) {
    this.#options = options;
    this.meter = new QuotaMeter(withDefaults(DEFAULT_LIMITS, options.quotas));
    const caches = datasetCaches();
    const sites = options.sites ?? ['sc-domain:example.com'];
    this.#properties = new Map(
      sites.map((entry) => {
        const site: EmulatedSite = typeof entry === 'string' ? { siteUrl: entry } : entry;
        const rowsPerDay = site.rowsPerDay ?? options.rowsPerDay ?? DEFAULT_ROWS_PER_DAY;
        const dataset = new Dataset(
          {
            seed: site.seed ?? options.seed ?? 1,
            siteUrl: site.siteUrl,
            rowsPerDay,
            pages: site.pages ?? options.pages ?? Math.max(5, Math.ceil(rowsPerDay / 8)),
            nulQueries: options.nulQueries ?? false,
            rowsOn: site.rowsOn ?? options.rowsOn,
            firstDay: site.firstDay ?? options.firstDay,
            rowCap: options.rowCap ?? DEFAULT_ROW_CAP,
            hourlyDays: options.hourlyDays ?? DEFAULT_HOURLY_DAYS,
            freshShare: options.freshShare ?? [0, 0.4, 0.8],
          },
          caches,
        );
        const { siteUrl, permissionLevel = 'siteOwner', perSiteQpm: qpm } = site;
        return [siteUrl, { siteUrl, permissionLevel, qpm, dataset }];
      }),
    );
  }

  property(siteUrl: string): Property | undefined {
    return this.#properties.get(siteUrl);
  }

  today(nowMs: number): Day {
    const { today } = this.#options;
    return typeof today === 'function' ? today() : (today ?? pacificDay(nowMs));
  }

  /** All rows that Google would return for a request, over all its pages. */
  table(property: Property, request: QueryRequest, tieSalt: number, nowMs: number): Promise<Table> {
    return property.dataset.table(request, this.today(nowMs), tieSalt);
  }

  /** The first day of the answer that is not final, in the cases in which Google reports it. */
  firstIncompleteDay(property: Property, request: QueryRequest, nowMs: number): Day | undefined {
    const asked =
      (request.dataState === 'all' && request.dimensions.includes('date')) ||
      request.dataState === 'hourlyAll';
    return asked ? property.dataset.firstIncompleteDay(request, this.today(nowMs)) : undefined;
  }

  withPosition(request: QueryRequest): boolean {
    return hasQueries(request.searchType) || (this.#options.newsPosition ?? false);
  }

  /** Parses and counts a call that arrives now, and decides its answer. `user` is undefined without a valid token. */
  arrive(call: ApiCall, user: string | undefined, nowMs: number, prettyByDefault: boolean): ReadCall {
    const [path = '', search = ''] = call.target.split('?', 2);
    const prettyPrint = new URLSearchParams(search).get('prettyPrint');
    const pretty = prettyPrint === null ? prettyByDefault : !/^(false|0)$/i.test(prettyPrint);
    const identity = `${call.method} ${path} ${call.body}`;
    const seenBefore = this.#count(identity);
    const common = { pretty, identity, seenBefore };
    const unknown = (endpoint: Endpoint, siteUrl: string | undefined, answer: Answer): ReadCall => {
      const allowed = user === undefined ? unauthenticated() : answer;
      return { ...common, endpoint, siteUrl, body: undefined, answer: allowed, query: undefined };
    };

    // Split before decoding: an encoded property contains encoded slashes.
    const [empty, api, version, sites, encoded, resource, verb, ...more] = path.split('/');
    const siteUrl = decoded(encoded);
    if (empty !== '' || api !== 'webmasters' || version !== 'v3' || sites !== 'sites' || more.length > 0) {
      return unknown('unknown', undefined, notFound());
    }
    if (encoded === undefined || encoded === '') {
      if (call.method !== 'GET') return unknown('unknown', undefined, notFound());
      return unknown('sites.list', undefined, { kind: 'json', value: this.#siteList() });
    }
    if (siteUrl === undefined) return unknown('unknown', undefined, notFound());
    if (resource === undefined) {
      if (call.method !== 'GET') return unknown('unknown', siteUrl, notFound());
      return unknown('sites.get', siteUrl, this.#site(siteUrl));
    }
    if (call.method !== 'POST' || resource !== 'searchAnalytics' || verb !== 'query') {
      return unknown('unknown', siteUrl, notFound());
    }
    const body = parsedJson(call.body);
    const query = body.ok
      ? readQueryRequest(body.value)
      : invalidArgument('Invalid JSON payload received. Parse error.');
    const request = query.kind === 'query' ? query : undefined;
    return {
      ...common,
      endpoint: 'query',
      siteUrl,
      body: body.ok ? body.value : call.body,
      answer: this.#queryAnswer(siteUrl, user, nowMs, query, seenBefore),
      query: request,
    };
  }

  #queryAnswer(
    siteUrl: string,
    user: string | undefined,
    nowMs: number,
    query: QueryRequest | ApiError,
    seenBefore: number,
  ): Answer {
    if (user === undefined) return unauthenticated();
    const property = this.#properties.get(siteUrl);
    const refusal = this.meter.arrive({ siteUrl, user, nowMs, load: loadOf(query), siteQpm: property?.qpm });
    if (refusal !== undefined) {
      const status = refusal === 'qps' ? (this.#options.qpsStatus ?? 403) : 403;
      return quotaRefusal(refusal, status, this.#options.retryAfterS);
    }
    if (property === undefined || property.permissionLevel === 'siteUnverifiedUser')
      return noPermission(siteUrl);
    if (query.kind === 'error') return query;
    const refused = this.#options.refuses?.(query.searchType, query.dimensions);
    if (refused !== undefined) return badRequest(refused);
    const tieSalt =
      this.#options.ties === 'perRequest'
        ? mix(mix(query.startRow, seenBefore), hashText(query.startDate))
        : 1;
    return { kind: 'rows', property, request: query, tieSalt };
  }

  #siteList(): unknown {
    const siteEntry = [...this.#properties.values()].map(({ siteUrl, permissionLevel }) => ({
      siteUrl,
      permissionLevel,
    }));
    return siteEntry.length === 0 ? {} : { siteEntry };
  }

  #site(siteUrl: string): Answer {
    const property = this.#properties.get(siteUrl);
    if (property === undefined) return noPermission(siteUrl);
    return { kind: 'json', value: { siteUrl, permissionLevel: property.permissionLevel } };
  }

  #count(identity: string): number {
    if (this.#seen.size >= MAX_IDENTITIES) this.#seen.clear();
    const before = this.#seen.get(identity) ?? 0;
    this.#seen.set(identity, before + 1);
    return before;
  }
}

function loadOf(query: QueryRequest | ApiError): number {
  if (query.kind === 'error') return 1;
  const heavy =
    query.dimensions.some((dimension) => dimension === 'page' || dimension === 'query') ||
    query.filters.some(({ dimension }) => dimension === 'page' || dimension === 'query');
  return (daysBetween(query.startDate, query.endDate) + 1) * (heavy ? 4 : 1);
}

function decoded(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

function parsedJson(text: string): { readonly ok: true; readonly value: unknown } | { readonly ok: false } {
  try {
    return { ok: true, value: JSON.parse(text) };
  } catch {
    return { ok: false };
  }
}
