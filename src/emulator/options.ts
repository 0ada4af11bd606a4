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

/** One property. What is left out comes from the {@link EmulatorOptions}. */
export interface EmulatedSite {
  /** `sc-domain:example.com` or `https://www.example.com/`. */
  readonly siteUrl: string;
  /** `siteOwner` by default. An unverified user may see the property in the list, and nothing of its data. */
  readonly permissionLevel?: PermissionLevel | undefined;
  readonly seed?: number | undefined;
  readonly rowsPerDay?: number | undefined;
  readonly pages?: number | undefined;
  readonly rowsOn?: ((date: Day, searchType: SearchType) => number | undefined) | undefined;
  readonly firstDay?: Day | undefined;
  /** Calls a minute, in place of `quotas.perSiteQpm`. */
  readonly perSiteQpm?: number | undefined;
}

export interface EmulatorOptions {
  /** 0, the default, takes a free one. */
  readonly port?: number | undefined;
  /** `127.0.0.1` by default. Any other address may let others in: nothing here is protected. */
  readonly host?: string | undefined;
  /** The data's seed; 1 by default. */
  readonly seed?: number | undefined;
  /** `sc-domain:example.com` by default. */
  readonly sites?: readonly (string | EmulatedSite)[] | undefined;
  /** Rows of `page+query` on a web day; 1,000 by default. Other search types have fewer. */
  readonly rowsPerDay?: number | undefined;
  /** Pages of a property; an eighth of `rowsPerDay` by default. */
  readonly pages?: number | undefined;
  /**
   * Rows on one day, for a history of one's own: 0 makes a day without data, undefined leaves it as it is. At most
   * twice `rowsPerDay` come.
   */
  readonly rowsOn?: ((date: Day, searchType: SearchType) => number | undefined) | undefined;
  /** First day with data, for a property younger than what Google keeps. */
  readonly firstDay?: Day | undefined;
  /** NUL characters in some rare queries: PostgreSQL cannot store them. */
  readonly nulQueries?: boolean | undefined;
  /** The Pacific day that it is now; by the clock by default. */
  readonly today?: Day | (() => Day) | undefined;
  /** Time and chance; the machine's by default. */
  readonly clock?: Clock | undefined;

  /** Wait before an answer begins; 0 by default. */
  readonly latencyMs?: number | undefined;
  /** The wait varies by up to this share of it, either way, in [0, 1]; 0 by default. */
  readonly latencyJitter?: number | undefined;
  /** Wait before each call's answer in a batch; 0 by default. */
  readonly perPartMs?: number | undefined;
  readonly quotas?: Given<QuotaLimits> | undefined;
  readonly faults?: Faults | undefined;
  readonly tokens?: Given<TokenSettings> | undefined;
  /** Records of calls that are kept, the newest; 20,000 by default. */
  readonly keepRequests?: number | undefined;
  /** 0 (none) to 9; 1 by default, since the emulator shares the machine with what it tests. */
  readonly gzipLevel?: number | undefined;
  /**
   * Bytes of encoded answers that are kept for the next time, 0 by default: with them, what talks to the emulator can
   * be measured, and not the emulator.
   */
  readonly answerCacheBytes?: number | undefined;

  // What follows is reported of Google, not documented.

  /** Rows a day and search type; 50,000 by default. */
  readonly rowCap?: number | undefined;
  /** Share of the final rows that days of age 0, 1 and 2 have; `[0, 0.4, 0.8]` by default. */
  readonly freshShare?: readonly number[] | undefined;
  /**
   * `fixed` (the default): rows of equal clicks come in the same order each time. `perRequest`: in another order each
   * time, so that a key can come on two pages and another on none.
   */
  readonly ties?: 'fixed' | 'perRequest' | undefined;
  /** What `keys` are in a totals row; `absent` by default. */
  readonly totalsKeys?: 'absent' | 'empty' | undefined;
  /** Whether Discover and Google News rows have a position; false by default. */
  readonly newsPosition?: boolean | undefined;
  /** Spelling within `metadata`; `camel` by default. */
  readonly metadataNames?: 'camel' | 'snake' | undefined;
  /** HTTP status of QPS refusals; 403 by default. */
  readonly qpsStatus?: 403 | 429 | undefined;
  /** Seconds in a Retry-After header of quota refusals; none by default. */
  readonly retryAfterS?: number | undefined;
}

export type Endpoint = 'query' | 'sites.list' | 'sites.get' | 'unknown';

/** One call of the API as it was counted: sent alone, or a part of a batch. */
export interface RequestRecord {
  /** Milliseconds since 1970. */
  readonly arrivedAtMs: number;
  /** Which HTTP call brought it, from 1. */
  readonly httpCall: number;
  /** Its Content-ID in the batch; undefined when it came alone, or had none. */
  readonly batchId: string | undefined;
  readonly part: number;
  readonly batchSize: number;
  readonly endpoint: Endpoint;
  readonly siteUrl: string | undefined;
  /** Whose token it bore: a digest of the token, or who the token was issued to. */
  readonly user: string;
  /** The body, parsed from JSON; undefined where there was none. */
  readonly body: unknown;
  /** HTTP status given, on its own part when in a batch; 200 also where a fault then broke the answer. */
  readonly status: number;
  /** Google's `reason` of the error given. */
  readonly reason: string | undefined;
  /** Kinds of the faults that fell on it or its HTTP call. */
  readonly faults: readonly string[];
}

export interface EmulatorCounters {
  /** HTTP calls, those to `/token` too. */
  readonly httpCalls: number;
  /** Calls of the API: each in a batch for itself. */
  readonly apiCalls: number;
  /** Those among them refused for want of quota, by the meter or by a fault. */
  readonly refusals: number;
  /** HTTP calls under way at one time. */
  readonly maxConcurrentCalls: number;
  /** The most Search Analytics calls that arrived in any 60 seconds, accepted or refused. */
  readonly maxInAnyWindow: number;
  readonly widestWindows: WidestWindows;
  /** Rows written in answers. */
  readonly rows: number;
  /** CPU time of this whole process since the emulator started, user and system. */
  readonly cpuMs: number;
}
