import type { Clock } from '../domain/clock.ts';
import type { Given } from '../domain/options.ts';
import type { Day, SearchType } from '../domain/slice.ts';
import type { Faults } from './faults.ts';
import type { QuotaLimits, WidestWindows } from './quota.ts';
import type { TokenSettings } from './token-endpoint.ts';

export const PERMISSION_LEVELS = [
  'siteOwner',
  'siteFullUser',
  'siteRestrictedUser',
  'siteUnverifiedUser',
] as const;
export type PermissionLevel = (typeof PERMISSION_LEVELS)[number];

/** One property. Missing fields are taken from the {@link EmulatorOptions}. */
export interface EmulatedSite {
  /** `sc-domain:example.com` or `https://www.example.com/`. */
  readonly siteUrl: string;
  /** An unverified user sees the property in the list, but none of its data. @default 'siteOwner' */
  readonly permissionLevel?: PermissionLevel | undefined;
  readonly seed?: number | undefined;
  readonly rowsPerDay?: number | undefined;
  readonly pages?: number | undefined;
  readonly rowsOn?: ((date: Day, searchType: SearchType) => number | undefined) | undefined;
  readonly firstDay?: Day | undefined;
  /** Calls per minute, instead of `quotas.perSiteQpm`. */
  readonly perSiteQpm?: number | undefined;
}

export interface EmulatorOptions {
  /** 0 selects a free port. @default 0 */
  readonly port?: number | undefined;
  /** Any other address may be reachable from outside: the emulator is not protected. @default '127.0.0.1' */
  readonly host?: string | undefined;
  /** The seed of the data. @default 1 */
  readonly seed?: number | undefined;
  /** @default ['sc-domain:example.com'] */
  readonly sites?: readonly (string | EmulatedSite)[] | undefined;
  /** Rows of `page+query` on a day of type `web`. Other search types have fewer. @default 1000 */
  readonly rowsPerDay?: number | undefined;
  /** Pages per property. @default an eighth of `rowsPerDay` */
  readonly pages?: number | undefined;
  /**
   * Overrides the number of rows per day: 0 makes a day without data, undefined leaves it unchanged. At most twice
   * `rowsPerDay`.
   */
  readonly rowsOn?: ((date: Day, searchType: SearchType) => number | undefined) | undefined;
  /** The first day with data, for a property younger than the period that Google keeps. */
  readonly firstDay?: Day | undefined;
  /** Puts NUL characters, which PostgreSQL cannot store, into some rare queries. @default false */
  readonly nulQueries?: boolean | undefined;
  /** The current day in Pacific time. @default the clock's day */
  readonly today?: Day | (() => Day) | undefined;
  /** Source of time and randomness. @default the system's */
  readonly clock?: Clock | undefined;

  /** Milliseconds before an answer begins. @default 0 */
  readonly latencyMs?: number | undefined;
  /** Maximum random deviation from `latencyMs`, as a share of it, in [0, 1]. @default 0 */
  readonly latencyJitter?: number | undefined;
  /** Milliseconds before each call's answer in a batch. @default 0 */
  readonly perPartMs?: number | undefined;
  readonly quotas?: Given<QuotaLimits> | undefined;
  readonly faults?: Faults | undefined;
  readonly tokens?: Given<TokenSettings> | undefined;
  /** Maximum number of request records; the oldest are dropped. @default 20000 */
  readonly keepRequests?: number | undefined;
  /** 0 (no compression) to 9. Low, because the emulator shares the machine with the software under test. @default 1 */
  readonly gzipLevel?: number | undefined;
  /**
   * Bytes of encoded answers to cache for reuse. With a cache, benchmarks measure the client instead of the emulator.
   * @default 0
   */
  readonly answerCacheBytes?: number | undefined;

  // The following options reproduce behaviour that users report but Google does not document.

  /**
   * The message of a 400 for a search type and dimensions that Google does not serve together, in addition to the documented
   * ones. Undefined: it serves them. @default serves all others
   */
  readonly refuses?:
    | ((searchType: SearchType, dimensions: readonly string[]) => string | undefined)
    | undefined;
  /** How many days have data by hour, today included; older ones have no rows. @default 10 */
  readonly hourlyDays?: number | undefined;
  /** Maximum rows per day and search type. @default 50000 */
  readonly rowCap?: number | undefined;
  /** Share of the final rows that days of age 0, 1 and 2 have. @default [0, 0.4, 0.8] */
  readonly freshShare?: readonly number[] | undefined;
  /**
   * The order of rows with equal clicks. `fixed`: always the same. `perRequest`: different for each request, so that a key
   * can appear on two pages and another on none. @default 'fixed'
   */
  readonly ties?: 'fixed' | 'perRequest' | undefined;
  /** The `keys` of a totals row. @default 'absent' */
  readonly totalsKeys?: 'absent' | 'empty' | undefined;
  /** Whether Discover and Google News rows have a position. @default false */
  readonly newsPosition?: boolean | undefined;
  /** Spelling of names inside `metadata`. @default 'camel' */
  readonly metadataNames?: 'camel' | 'snake' | undefined;
  /** HTTP status of QPS refusals. @default 403 */
  readonly qpsStatus?: 403 | 429 | undefined;
  /** Seconds in the Retry-After header of quota refusals. @default no header */
  readonly retryAfterS?: number | undefined;
}

export type Endpoint = 'query' | 'sites.list' | 'sites.get' | 'unknown';

/** One counted API call: sent alone or as a part of a batch. */
export interface RequestRecord {
  /** Milliseconds since 1970. */
  readonly arrivedAtMs: number;
  /** The number of the HTTP call that contained it, from 1. */
  readonly httpCall: number;
  /** Its Content-ID in the batch. Undefined: it was sent alone or had none. */
  readonly batchId: string | undefined;
  readonly part: number;
  readonly batchSize: number;
  readonly endpoint: Endpoint;
  readonly siteUrl: string | undefined;
  /** The token's user: the account to which it was issued, or a digest of the token. */
  readonly user: string;
  /** The parsed JSON body. Undefined: there was none. */
  readonly body: unknown;
  /** HTTP status of the call or of its part in a batch. Stays 200 if a fault then broke the answer. */
  readonly status: number;
  /** Google's `reason` in the error that was returned. */
  readonly reason: string | undefined;
  /** Kinds of the faults that applied to it or its HTTP call. */
  readonly faults: readonly string[];
}

export interface EmulatorCounters {
  /** HTTP calls, those to `/token` included. */
  readonly httpCalls: number;
  /** API calls. Each call in a batch counts. */
  readonly apiCalls: number;
  /** API calls refused because of a quota, by the meter or by a fault. */
  readonly refusals: number;
  /** Maximum number of HTTP calls under way at the same time. */
  readonly maxConcurrentCalls: number;
  /** Maximum number of Search Analytics calls that arrived in any 60 seconds, accepted or refused. */
  readonly maxInAnyWindow: number;
  readonly widestWindows: WidestWindows;
  /** Rows in all answers written. */
  readonly rows: number;
  /** User and system CPU time of the whole process since the emulator started, in milliseconds. */
  readonly cpuMs: number;
}
