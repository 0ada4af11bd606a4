/** Parses and validates the options of a synchronisation. */

import type { Sql } from 'postgres';
import { z } from 'zod';
import {
  dimensionsOf,
  hasQueries,
  isTwoStep,
  type NotServed,
  notServedOf,
  parseDatasets,
  withFirstSteps,
} from '../domain/dataset.ts';
import {
  addDays,
  daysBetween,
  earlierDay,
  FINAL_LAG_DAYS,
  isDay,
  laterDay,
  oldestDayKept,
} from '../domain/day.ts';
import {
  AGGREGATIONS,
  checkFilter,
  type Filter,
  isSelected,
  type Selection,
  type SelectionKey,
  selectionKey,
} from '../domain/filter.ts';
import { normalName } from '../domain/property-name.ts';
import { quoted } from '../domain/quoted.ts';
import { mayBeSecret } from '../domain/secrets.ts';
import { type Dataset, type Day, SEARCH_TYPES, type SearchType } from '../domain/slice.ts';
import { ENDS_OF_SLICE, type EndOfSlice } from '../planning/end-of-slice.ts';
import { keysOf } from '../planning/plan.ts';
import { isPool, whyNoDatabase } from '../postgres/connection/database-option.ts';
import { surroundingsOf } from '../postgres/connection/surroundings.ts';
import { parseDatabaseUrl } from '../postgres/driver/database-url.ts';
import type { Credentials } from '../search-console/auth/credentials.ts';
import { MAX_BATCH_SIZE } from '../search-console/request/batch-request.ts';
import { MAX_ROW_LIMIT } from '../search-console/request/query.ts';
import { GOOGLE_API_ROOT, secureApiRoot, secureUrl } from '../search-console/request/root.ts';
import { internalsOf } from './limiter-internals.ts';
import { type Limits, limits, readOptions, whole, wrong } from './option-limits.ts';
import type { SyncOptions } from './types.ts';

export const MAX_CONCURRENCY = 64;
/** Connections besides one per worker: for everything that is not rows. */
export const SPARE_CONNECTIONS = 1;
/** Default maximum of `'auto'`: small databases have about twenty connections, and each call holds pages in memory. */
const MAX_AUTO_CONCURRENCY = 16;
const START_CONCURRENCY = 3;

/** `maxConcurrency: 'auto'`, with its defaults. */
export interface AutoConcurrency {
  readonly start: number;
  readonly most: number;
  readonly soakMs: number;
  readonly slowStart: boolean;
}

export interface Config extends Limits {
  readonly siteUrl: string;
  readonly database: string | Sql | undefined;
  readonly from: Day;
  readonly to: Day;
  readonly today: Day;
  readonly datasets: readonly Dataset[];
  readonly searchTypes: readonly SearchType[];
  readonly selection: Selection;
  /** Combinations of the two that Google does not serve. */
  readonly notServed: readonly NotServed[];
  /** The initial level with `'auto'`. */
  readonly maxConcurrency: number;
  readonly autoConcurrency: AutoConcurrency | null;
  readonly batchSize: number;
  readonly rowsPerPage: number;
  readonly maxAttempts: number;
  readonly refresh: boolean;
  readonly acceptShrunk: boolean;
  readonly wait: boolean;
  readonly endOfSlice: EndOfSlice;
  readonly credentials: Credentials | undefined;
  readonly apiRoot: string;
  readonly tokenUrl: string | undefined;
  readonly migrate: boolean;
  readonly prepare: boolean | undefined;
  readonly nudgeHeap: boolean;
  readonly haltDeadlineMs: number;
}

const yesOrNo = (name: string) => z.boolean(`${name} is true or false.`);

const numbers = limits.extend({
  maxConcurrency: z
    .union(
      [z.literal('auto'), whole('maxConcurrency', 1, MAX_CONCURRENCY)],
      `maxConcurrency is a whole number from 1 to ${MAX_CONCURRENCY}, or 'auto'.`,
    )
    .default(START_CONCURRENCY),
  autoConcurrency: z
    .object(
      {
        start: whole('start', 1, MAX_CONCURRENCY).optional(),
        most: whole('most', 1, MAX_CONCURRENCY).optional(),
        // The longest rest is 128 soaks; a timer is limited to 24 days.
        soakMs: whole('soakMs', 1, 3_600_000).default(1_000),
        slowStart: yesOrNo('slowStart').default(true),
      },
      'autoConcurrency is an object such as { most: 8 }.',
    )
    .optional(),
  batchSize: whole('batchSize', 1, MAX_BATCH_SIZE).default(50),
  rowsPerPage: whole('rowsPerPage', 1, MAX_ROW_LIMIT).default(MAX_ROW_LIMIT),
  maxAttempts: whole('maxAttempts', 1, 100).default(5),
  haltDeadlineMs: whole('haltDeadlineMs', 100, 600_000).default(5_000),
  days: whole('days', 1, 500).optional(),
  refresh: yesOrNo('refresh').default(false),
  acceptShrunk: yesOrNo('acceptShrunk').default(false),
  wait: yesOrNo('wait').default(false),
  endOfSlice: z
    .enum(ENDS_OF_SLICE, `endOfSlice is one of ${ENDS_OF_SLICE.map((name) => `'${name}'`).join(', ')}.`)
    .default('auto'),
  migrate: yesOrNo('migrate').default(true),
  prepare: yesOrNo('prepare').optional(),
  nudgeHeap: yesOrNo('nudgeHeap').default(false),
});

const PROPERTY_FORMS =
  'Give it as Search Console does: "sc-domain:example.com" or "https://www.example.com/".';

/** Normalises a property name. @throws LongtailError BAD_OPTION with a suggestion. */
export function checkSiteUrl(given: unknown): string {
  if (typeof given !== 'string') throw wrong('No property is given.', PROPERTY_FORMS);
  if (given.length > 2_048)
    throw wrong('The property’s name is longer than 2,048 characters.', PROPERTY_FORMS);
  const siteUrl = normalName(given);
  if (siteUrl === '') throw wrong('No property is given.', PROPERTY_FORMS);
  if (siteUrl.startsWith('sc-domain:')) {
    const domain = siteUrl.slice('sc-domain:'.length);
    if (DOMAIN.test(domain)) return siteUrl;
    throw wrong(`${quoted(siteUrl)} is not a domain property.`, 'Write it as "sc-domain:example.com".');
  }
  if (/^https?:\/\//.test(siteUrl)) {
    checkUrlPrefix(siteUrl);
    return siteUrl;
  }
  const host = siteUrl
    .trim()
    .toLowerCase()
    .replace(/^[a-z_-]+[:;]/, '')
    .replace(/^\/+/, '')
    .replace(/\/.*$/s, '');
  // Tokens contain dots, too, and must not appear in a suggestion.
  const isDomain =
    !mayBeSecret(siteUrl) && DOMAIN.test(host) && host.length <= 253 && URL.canParse(`https://${host}/`);
  throw wrong(
    `${quoted(siteUrl)} is not a property’s name.`,
    isDomain
      ? `Did you mean "sc-domain:${host.replace(/^www\./, '')}" (the whole domain) or "https://${host}/" (one URL prefix)?`
      : PROPERTY_FORMS,
  );
}

const DOMAIN = /^[^\s/:?#@]+\.[^\s/:?#@]+$/;

function checkUrlPrefix(siteUrl: string): void {
  const url = /\s/.test(siteUrl) ? null : URL.parse(siteUrl);
  // Not quoted: it may contain a password.
  if (siteUrl.includes('@') && (url === null || url.username !== '' || url.password !== '')) {
    throw wrong('The property’s URL holds a user name or a password.', PROPERTY_FORMS);
  }
  if (url === null) throw wrong(`${quoted(siteUrl)} is not a URL.`, PROPERTY_FORMS);
  const prefix = siteUrl.replace(/[?#].*$/s, '').replace(/\/*$/, '/');
  if (/[?#]/.test(siteUrl)) {
    throw wrong(`${quoted(siteUrl)} has more text after the path.`, `Did you mean ${quoted(prefix)}?`);
  }
  if (!siteUrl.endsWith('/')) {
    throw wrong(
      `${quoted(siteUrl)} lacks its last slash.`,
      `A URL-prefix property ends with one: ${quoted(prefix)}.`,
    );
  }
}

function checkDay(name: string, day: unknown): Day {
  if (typeof day === 'string' && isDay(day)) return day;
  throw wrong(`${name} ${quoted(day)} is not a date.`, 'Write it as YYYY-MM-DD, for example 2026-01-31.');
}

/** Resolves the range of days and limits it to what Google keeps. */
function readRange(options: SyncOptions, days: number | undefined, today: Day): { from: Day; to: Day } {
  const oldest = oldestDayKept(today);
  if (days !== undefined) {
    if (options.from !== undefined || options.to !== undefined) {
      throw wrong('days and from/to exclude each other.', 'Give one of them.');
    }
    const to = addDays(today, -FINAL_LAG_DAYS);
    const from = addDays(to, 1 - days);
    return { from: laterDay(from, oldest), to };
  }
  const from = options.from === undefined ? oldest : checkDay('from', options.from);
  const to = options.to === undefined ? today : checkDay('to', options.to);
  if (from > to) throw wrong(`The range ends (${to}) before it starts (${from}).`, 'Swap the two dates.');
  if (to < oldest) {
    throw wrong(
      `Google has nothing left of ${from} to ${to}.`,
      `It keeps 16 months: the oldest day is ${oldest}.`,
    );
  }
  if (from > today) throw wrong(`${from} is in the future.`, `Today is ${today} in Pacific time, Google’s.`);
  return { from: laterDay(from, oldest), to: earlierDay(to, today) };
}

function readDatasets(given: unknown): readonly Dataset[] {
  const names: unknown = given === 'all' ? ['all'] : given;
  if (!Array.isArray(names) || names.length === 0) {
    throw wrong('No dataset is given.', 'Name at least one, such as "page" or "page+query".');
  }
  const texts = names.map((name: unknown) => {
    if (typeof name === 'string') return name;
    throw wrong(
      `${quoted(name)} is not a dataset’s name.`,
      'Datasets are named like "page" or "page+query".',
    );
  });
  const parsed = parseDatasets(texts);
  if ('problem' in parsed) throw wrong(parsed.problem, 'Datasets are named like "page" or "page+query".');
  return parsed.datasets;
}

function readSearchTypes(given: unknown): SearchType[] {
  const names: unknown = given === 'all' ? ['all'] : given;
  if (!Array.isArray(names) || names.length === 0) {
    throw wrong('No search type is given.', `Name at least one of ${SEARCH_TYPES.join(', ')}.`);
  }
  const types = names.flatMap((name: unknown) => {
    if (name === 'all') return [...SEARCH_TYPES];
    const type = SEARCH_TYPES.find((known) => known === name);
    if (type === undefined) {
      throw wrong(`${quoted(name)} is not a search type.`, `Use ${SEARCH_TYPES.join(', ')}.`);
    }
    return [type];
  });
  return [...new Set(types)];
}

function readSelection({ filters = [], aggregation = 'auto' }: SyncOptions): Selection {
  const known = AGGREGATIONS.find((one) => one === aggregation);
  if (known === undefined) {
    throw wrong(`${quoted(aggregation)} is not an aggregation.`, `Use one of ${AGGREGATIONS.join(', ')}.`);
  }
  if (!Array.isArray(filters)) throw wrong('filters is not a list.', FILTER_EXAMPLE);
  const read = filters.map((filter: unknown): Filter => {
    const [dimension, operator, expression] = ['dimension', 'operator', 'expression'].map((name): unknown =>
      typeof filter === 'object' && filter !== null ? Reflect.get(filter, name) : undefined,
    );
    if (typeof dimension !== 'string' || typeof operator !== 'string' || typeof expression !== 'string') {
      throw wrong('A filter is not { dimension, operator, expression }.', FILTER_EXAMPLE);
    }
    const checked = checkFilter({ dimension, operator, expression });
    if ('problem' in checked) throw wrong(checked.problem, FILTER_EXAMPLE);
    return checked.filter;
  });
  return { filters: read, aggregation: known };
}

const FILTER_EXAMPLE = "For example: { dimension: 'page', operator: 'contains', expression: '/blog/' }.";

/** What is asked for, as far as Google serves it. The first steps of datasets in two steps are added. */
function readAsked(
  options: SyncOptions,
): Pick<Config, 'datasets' | 'searchTypes' | 'selection' | 'notServed'> {
  const named = readDatasets(options.datasets === undefined ? ['page', 'page+query'] : options.datasets);
  const searchTypes = readSearchTypes(options.searchTypes === undefined ? ['web'] : options.searchTypes);
  const selection = readSelection(options);
  checkSelection(selection, named, searchTypes);
  const datasets = withFirstSteps(named);
  const notServed = notServedOf(searchTypes, datasets);
  const [first] = notServed;
  if (first !== undefined && notServed.length === searchTypes.length * datasets.length) {
    throw wrong(
      `Google serves none of these datasets for ${searchTypes.join(', ')}: ${first.reason}`,
      'Choose other datasets or other types.',
    );
  }
  return { datasets, searchTypes, selection, notServed };
}

/** Refuses what Google documents as impossible. */
function checkSelection(
  { filters, aggregation }: Selection,
  datasets: readonly Dataset[],
  searchTypes: readonly SearchType[],
): void {
  const filtered = new Set(filters.map(({ dimension }) => dimension));
  const withoutQueries = searchTypes.find((type) => !hasQueries(type));
  if (filtered.has('query') && withoutQueries !== undefined) {
    throw wrong(
      `Google has no queries for ${withoutQueries}, so they cannot be filtered.`,
      'Leave out the filter or the type.',
    );
  }
  const inParts = datasets.find(isTwoStep);
  if (filtered.has('searchAppearance') && inParts !== undefined) {
    throw wrong(
      `The dataset ${inParts} is fetched by a filter for each search appearance, so they cannot be filtered too.`,
      'Leave out the filter, or searchAppearance in the dataset.',
    );
  }
  if (aggregation !== 'byProperty') return;
  const byPage = datasets.find((dataset) => dimensionsOf(dataset).includes('page'));
  if (byPage !== undefined || filtered.has('page')) {
    throw wrong(
      `Google does not aggregate by property what is ${byPage === undefined ? 'filtered' : 'grouped'} by page.`,
      'Leave out byProperty, or name datasets without page and no filter on it.',
    );
  }
  if (withoutQueries !== undefined) {
    throw wrong(
      `Google does not aggregate ${withoutQueries} by property.`,
      'Leave out byProperty, or the type.',
    );
  }
}

/** Checks the types of the options that no schema covers, so that a run does not fail later. */
function checkKinds(options: SyncOptions): void {
  const { database, credentials, rateLimiter, inspect, apiRoot, tokenUrl } = options;
  if (typeof database === 'string') parseDatabaseUrl(database, surroundingsOf(database));
  else if (database !== undefined && !isPool(database)) throw whyNoDatabase(database);
  if (credentials !== undefined && !isCredentials(credentials)) {
    throw wrong(
      'credentials are of no known form.',
      'Give { getAccessToken }, { accessToken } or { file }, or leave them out for Application Default Credentials.',
    );
  }
  checkAccount(credentials);
  if (rateLimiter !== undefined) internalsOf(rateLimiter);
  if (inspect !== undefined && typeof inspect !== 'function' && !hasFunction(inspect, 'next')) {
    throw wrong('inspect is neither a function nor an observer.', 'Give (event) => …, or leave it out.');
  }
  for (const [name, url] of [
    ['apiRoot', apiRoot],
    ['tokenUrl', tokenUrl],
  ] as const) {
    if (url !== undefined && typeof url !== 'string')
      throw wrong(`${name} is not a URL in a string.`, `Give ${name} as "https://host/".`);
  }
}

/** The account name is stored in the database and appears in events, so it must not be a secret. */
function checkAccount(credentials: unknown): void {
  const account: unknown =
    typeof credentials === 'object' && credentials !== null ? Reflect.get(credentials, 'account') : undefined;
  if (account === undefined) return;
  const isName = typeof account === 'string' && /^[^\p{Cc}]{1,320}$/u.test(account) && account.trim() !== '';
  if (isName && !/^ya29\.|^1\/\//.test(account.trim())) return;
  // Not quoted: it may be a token in the wrong place.
  throw wrong(
    'account is not the name of an account.',
    'Give its address, such as "me@example.com", or any short name that is the same for the same account.',
  );
}

/** JavaScript callers may pass any value. */
function isCredentials(credentials: unknown): boolean {
  if (hasFunction(credentials, 'getAccessToken')) return true;
  if (typeof credentials !== 'object' || credentials === null) return false;
  const isText = (name: string) => typeof Reflect.get(credentials, name) === 'string';
  if (isText('accessToken') || isText('file')) return true;
  // An account alone means Application Default Credentials, unless a token was meant and is undefined.
  return isText('account') && !['getAccessToken', 'accessToken', 'file'].some((name) => name in credentials);
}

function hasFunction(value: unknown, name: string): boolean {
  return typeof value === 'object' && value !== null && typeof Reflect.get(value, name) === 'function';
}

type Numbers = z.infer<typeof numbers>;

/** Resolves `maxConcurrency`. @throws LongtailError BAD_OPTION. */
function readConcurrency(
  { maxConcurrency, autoConcurrency }: Pick<Numbers, 'maxConcurrency' | 'autoConcurrency'>,
  database: SyncOptions['database'],
): Pick<Config, 'maxConcurrency' | 'autoConcurrency'> {
  if (maxConcurrency !== 'auto') {
    if (autoConcurrency === undefined) return { maxConcurrency, autoConcurrency: null };
    throw wrong("autoConcurrency goes with maxConcurrency: 'auto'.", 'Give both, or leave it out.');
  }
  const { soakMs, slowStart, ...given } = autoConcurrency ?? numbers.shape.autoConcurrency.unwrap().parse({});
  // At most the pool's `max` connections are opened, one of them not for rows: more workers would wait for each other.
  const room = typeof database === 'function' ? database.options.max - SPARE_CONNECTIONS : MAX_CONCURRENCY;
  const most = given.most ?? Math.max(1, given.start ?? 1, Math.min(MAX_AUTO_CONCURRENCY, room));
  const start = given.start ?? Math.min(START_CONCURRENCY, most);
  if (start > most) {
    throw wrong(
      `autoConcurrency starts with ${start} calls at once and goes up to ${most}.`,
      'Give a start that is not more than most.',
    );
  }
  return { maxConcurrency: start, autoConcurrency: { start, most, soakMs, slowStart } };
}

/** The maximum number of concurrent calls that a run may reach. */
export function maxCalls({
  maxConcurrency,
  autoConcurrency,
}: Pick<Config, 'maxConcurrency' | 'autoConcurrency'>): number {
  return autoConcurrency?.most ?? maxConcurrency;
}

/** @throws LongtailError `BAD_OPTION` or `INSECURE_ROOT`. */
export function readConfig(options: SyncOptions, today: Day): Config {
  if (typeof options !== 'object' || options === null)
    throw wrong('No options are given.', 'Give at least { siteUrl: "sc-domain:example.com" }.');
  checkKinds(options);
  const siteUrl = checkSiteUrl(options.siteUrl);
  const { days, ...rest } = readOptions(numbers, options);
  const range = readRange(options, days, today);
  const asked = readAsked(options);
  if (keysOf({ ...range, ...asked, today }).length === 0) {
    throw wrong(
      `Google has nothing by hour of ${range.from} to ${range.to}: it keeps ten days.`,
      'Choose later days, or datasets without hour.',
    );
  }
  return {
    ...rest,
    prepare: rest.prepare,
    ...readConcurrency(rest, options.database),
    ...range,
    siteUrl,
    today,
    database: options.database,
    ...asked,
    credentials: options.credentials,
    apiRoot: secureApiRoot(options.apiRoot ?? GOOGLE_API_ROOT, 'apiRoot'),
    tokenUrl: options.tokenUrl === undefined ? undefined : secureUrl(options.tokenUrl, 'tokenUrl').href,
  };
}

/** The selection as slices have it; nothing of it where everything is selected. */
export function selectionIn({ selection }: Pick<Config, 'selection'>): { readonly selection?: SelectionKey } {
  return isSelected(selection) ? { selection: selectionKey(selection) } : {};
}

/** The number of days in the range, both ends included. */
export function daysIn({ from, to }: { readonly from: Day; readonly to: Day }): number {
  return daysBetween(from, to) + 1;
}
