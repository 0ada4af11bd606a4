import type { Sql } from 'postgres';
import type { InspectionEvent, Observer } from 'xstate';
import type { DatasetName, NotServed } from '../domain/dataset.ts';
import type { ErrorCode } from '../domain/errors.ts';
import type { Aggregation, Filter } from '../domain/filter.ts';
import type { QuotaKind } from '../domain/quota-kind.ts';
import type { Dataset, Day, SearchType, SliceFailure, SliceKey } from '../domain/slice.ts';
import type { ConcurrencyReason } from '../machines/concurrency/context.ts';
import type { HaltReason } from '../machines/messages.ts';
import type { BudgetRule } from '../machines/rate-limiter/quota-window.ts';
import type { EndOfSlice } from '../planning/end-of-slice.ts';
import type { Credentials } from '../search-console/auth/credentials.ts';
import type { RateLimiter } from './limiter.ts';

/**
 * Options of {@link createSync}. Only `siteUrl` is required. `undefined` means the default.
 * @example
 * const options: SyncOptions = {
 *   siteUrl: 'sc-domain:example.com',
 *   database: 'postgres://me@localhost/search',
 *   datasets: ['page', 'page+query'],
 *   days: 28,
 * };
 */
export interface SyncOptions {
  /** The property as Search Console names it: `sc-domain:example.com` or `https://www.example.com/`. */
  readonly siteUrl: string;
  /**
   * A PostgreSQL URL, or a postgres.js pool. Longtail takes only the connection settings from a pool and opens its own
   * connections: at most the pool's `max`, shared by all runs that are given the same pool. For a URL it opens at most
   * `maxConcurrency` + 1. The run halts when the host ends the pool.
   * @default the embedded server, with its data under `.longtail/` of the working directory
   */
  readonly database?: string | Sql | undefined;
  /**
   * First day, inclusive, `YYYY-MM-DD` in Pacific time. Google keeps 16 months; an earlier day is moved up.
   * @default the oldest day that Google still has
   */
  readonly from?: Day | undefined;
  /**
   * Last day, inclusive, `YYYY-MM-DD` in Pacific time.
   * @default today in Pacific time
   */
  readonly to?: Day | undefined;
  /** The newest N days that Google calls final, 1 to 500. Excludes `from` and `to`. */
  readonly days?: number | undefined;
  /**
   * `date` (totals), or any of `page`, `query`, `country`, `device`, `searchAppearance`, `hour` joined by `+`. With `hour`,
   * Google has the last ten days only. `searchAppearance` beside others is fetched by a filter for each of its values, which
   * `searchAppearance` alone names: that dataset is added. `'all'`: what Google serves for each type.
   * @default ['page', 'page+query']
   * @see https://developers.google.com/webmaster-tools/v1/searchanalytics/query
   */
  readonly datasets?: readonly DatasetName[] | 'all' | undefined;
  /** @default ['web'] */
  readonly searchTypes?: readonly SearchType[] | 'all' | undefined;
  /**
   * Only rows for which all of these hold. Their slices are separate from those without filters, and shown by the view
   * `search_analytics_filtered`. A filter on `query` leaves out the rare queries that Google hides.
   * @default []
   * @example [{ dimension: 'page', operator: 'contains', expression: '/blog/' }]
   */
  readonly filters?: readonly Filter[] | undefined;
  /**
   * How impressions are counted: `byPage`, for each page that a search showed, or `byProperty`, once. Slices with a value
   * other than `auto` are separate from the rest, as with `filters`.
   * @default 'auto'
   */
  readonly aggregation?: Aggregation | undefined;
  /**
   * Maximum concurrent HTTP calls, 1 to 64. `'auto'` starts at 3 and raises the level while throughput grows and less than
   * 80 % of the quota is used. It lowers the level after a refusal or a failed call. Each decision is a `concurrency` event.
   * @default 3
   */
  readonly maxConcurrency?: number | 'auto' | undefined;
  /** Tunes `maxConcurrency: 'auto'`; an error without it. */
  readonly autoConcurrency?: AutoConcurrencyOptions | undefined;
  /**
   * Maximum requests per HTTP call, 1 to 1,000; 1 sends plain requests.
   * @default 50
   */
  readonly batchSize?: number | undefined;
  /**
   * Maximum rows per page, 1 to 25,000, which is Google's limit.
   * @default 25000
   * @see https://developers.google.com/webmaster-tools/v1/searchanalytics/query
   */
  readonly rowsPerPage?: number | undefined;
  /**
   * Maximum requests per minute, applied separately per property and per user: 1 to 40,000. With `rateLimiter`, set it there.
   * @default 1200
   * @see https://developers.google.com/webmaster-tools/limits
   */
  readonly requestsPerMinute?: number | undefined;
  /**
   * Limits in addition to Google's, such as a burst limit. With `rateLimiter`, set them there.
   * @default []
   * @example [{ scopeKind: 'site', limit: 20, windowMs: 1000 }]
   */
  readonly extraBudgets?: readonly BudgetRule[] | undefined;
  /**
   * Attempts per page before its slice fails, 1 to 100.
   * @default 5
   */
  readonly maxAttempts?: number | undefined;
  /**
   * Fetch complete slices again.
   * @default false
   */
  readonly refresh?: boolean | undefined;
  /**
   * Accept a refreshed slice that has less than half of its previous rows.
   * @default false
   */
  readonly acceptShrunk?: boolean | undefined;
  /**
   * What ends a slice. `short`: a page with fewer rows than requested. `empty`: only a page without rows, which takes one
   * more request for each slice. `auto`: a short page, but one of fifty, at least one a dataset, and each whose count is a
   * round thousand is followed by the request that must come back empty. If one ever does not, the run goes on as with
   * `empty`, fetches again the slices that ended with a short page, and says so with a `retry` event.
   * @default 'auto'
   */
  readonly endOfSlice?: EndOfSlice | undefined;
  /**
   * Wait while another run uses the property or the account, instead of failing with `PROPERTY_BUSY` or `USER_SCOPE_BUSY`.
   * @default false
   */
  readonly wait?: boolean | undefined;
  /**
   * Where access tokens come from; see {@link Credentials}.
   * @default Application Default Credentials
   */
  readonly credentials?: Credentials | undefined;
  /**
   * Root URL of the API: `https:`, or `http:` to loopback.
   * @default 'https://searchconsole.googleapis.com/'
   */
  readonly apiRoot?: string | undefined;
  /**
   * Token endpoint for refresh tokens and signed JWTs: `https:`, or `http:` to loopback.
   * @default Google's
   */
  readonly tokenUrl?: string | undefined;
  /**
   * Share one among all synchronisations of an account; see {@link createRateLimiter}.
   * @default a limiter for this run alone
   */
  readonly rateLimiter?: RateLimiter | undefined;
  /**
   * Run the migrations first. With false, call the exported `migrate()` yourself.
   * @default true
   */
  readonly migrate?: boolean | undefined;
  /**
   * Use prepared statements. Set it to false behind a transaction pooler.
   * @default the pool's or the URL's setting
   */
  readonly prepare?: boolean | undefined;
  /**
   * Collect garbage more often during large runs, which keeps the process some 30 MB smaller. For a process that runs
   * only Longtail: collections pause everything else in it.
   * @default false
   */
  readonly nudgeHeap?: boolean | undefined;
  /**
   * Maximum duration of a halt in milliseconds, 100 to 600,000.
   * @default 5000
   */
  readonly haltDeadlineMs?: number | undefined;
  /** Passed to XState's `createActor`, for example for Stately's inspector. An error that it throws becomes a warning. */
  readonly inspect?: Observer<InspectionEvent> | ((event: InspectionEvent) => void) | undefined;
}

export interface AutoConcurrencyOptions {
  /**
   * Initial number of concurrent calls, 1 to 64.
   * @default 3, or `most` if that is less
   */
  readonly start?: number | undefined;
  /**
   * Maximum number of concurrent calls, 1 to 64.
   * @default 16, or what the given pool has room for
   */
  readonly most?: number | undefined;
  /**
   * Minimum time in milliseconds, 1 to 3,600,000, that a level is observed before the next increase, and after trouble.
   * A level is also observed until enough calls have ended: at least four per worker.
   * @default 1000
   */
  readonly soakMs?: number | undefined;
  /**
   * Begin by adding one call for each call that succeeds, as long as throughput grows. False: one more per soak from the start.
   * @default true
   */
  readonly slowStart?: boolean | undefined;
}

/**
 * `slices`, `rows` and `failures` describe the whole range; the other figures describe this run. If the database does not
 * answer at the end of a halted run, `slices`, `rows` and `failures` describe this run alone.
 */
export interface RunFigures {
  readonly siteUrl: string;
  readonly from: Day;
  readonly to: Day;
  /**
   * All but `planned` include earlier runs. `empty` slices are complete ones without rows, `capped` are complete ones with
   * as many rows as Google gives at most: it has more.
   */
  readonly slices: {
    readonly planned: number;
    readonly complete: number;
    readonly failed: number;
    readonly empty: number;
    readonly capped: number;
  };
  /** Rows of the range's complete slices. */
  readonly rows: number;
  /** Requests that used a token: pages and calendars. */
  readonly apiCalls: number;
  /** HTTP calls that carried them. */
  readonly httpCalls: number;
  readonly retries: number;
  readonly quotaRefusals: number;
  /** Slices of this run in which rows came after a page with fewer rows than requested; see `endOfSlice`. */
  readonly shortPages: number;
  readonly durationMs: number;
  /** Peak resident set size of the process since it started. */
  readonly peakRssBytes: number;
  readonly failures: readonly SliceFailure[];
  /** Combinations of type and dataset that Google does not serve. They are in none of the other figures. */
  readonly notServed: readonly NotServed[];
}

/** How a run ended. `run` rejects only when its environment is broken, or for a bug. */
export type Outcome = RunFigures &
  (
    | { readonly status: 'complete'; readonly haltReason: null }
    | { readonly status: 'completeWithFailures'; readonly haltReason: null }
    | { readonly status: 'halted'; readonly haltReason: HaltReason }
    | {
        readonly status: 'failed';
        readonly haltReason: null;
        readonly failure: { readonly code: ErrorCode; readonly message: string; readonly nextStep: string };
      }
  );

/**
 * What a run is doing:
 * - `planning`: finding out what is missing; no slice has been assigned yet.
 * - `fetching`: fetching pages, or waiting for tokens or for a retry.
 * - `waitingForGoogle`: several calls in a row failed; a probe goes out from time to time.
 * - `waitingForDatabase`: the database accepts no writes; the run retries.
 * - `pausing`, `paused`: after `pause()`; `pausing` while calls are still in flight.
 * - `halting`: the run is ending and assigns no more pages. Every run passes through it, a complete one too.
 * - `ended`: nothing is in flight. The outcome follows.
 */
export type ProgressState = (typeof PROGRESS_STATES)[number];

export const PROGRESS_STATES = [
  'planning',
  'fetching',
  'waitingForGoogle',
  'waitingForDatabase',
  'pausing',
  'paused',
  'halting',
  'ended',
] as const;

/** Figures of a run in progress. Emitted at most about ten times per second, from the time the plan is being loaded. */
export interface Progress {
  readonly state: ProgressState;
  /** Slices that are complete, failed or not published. At most `slicesPlanned`. */
  readonly slicesDone: number;
  /** Changes when it becomes known into how many parts days are divided. */
  readonly slicesPlanned: number;
  readonly daysDone: number;
  readonly daysPlanned: number;
  /** Rows written by this run. */
  readonly rows: number;
  readonly rowsPerSecond: number;
  readonly apiCalls: number;
  readonly httpCalls: number;
  readonly retries: number;
  readonly quotaRefusals: number;
  /** Tokens that count against the fullest budget now. */
  readonly quotaUsed: number;
  /** Limit of that budget; 0 before the first request. */
  readonly quotaLimit: number;
  readonly pagesInFlight: number;
  readonly pagesWaiting: number;
  /** Maximum concurrent calls, now. */
  readonly maxConcurrency: number;
  /** Whether `maxConcurrency: 'auto'` sets it: false once `setConcurrency` has been called. */
  readonly isAuto: boolean;
  readonly elapsedMs: number;
  /** Estimate; null until the first slice of this run is done. */
  readonly remainingMs: number | null;
}

export interface SliceEvent {
  readonly searchType: SearchType;
  readonly dataset: Dataset;
  readonly date: Day;
  /** The part of the day, such as `searchAppearance=VIDEO`. Absent: the whole day. */
  readonly part?: string;
  /** `notServed`: Google does not have this dataset for this search type. */
  readonly status: 'complete' | 'failed' | 'notPublished' | 'notServed';
  readonly rows: number;
  readonly reason?: string;
  /** The slice has as many rows as Google gives at most: Google has more. */
  readonly capped?: true;
}

export type QuotaEvent =
  | { readonly kind: 'approaching'; readonly scope: string; readonly used: number; readonly limit: number }
  | { readonly kind: 'refused'; readonly quota: QuotaKind }
  | { readonly kind: 'lowered'; readonly scope: string; readonly limit: number }
  /** After a time without refusals, a lowered limit went up a step. */
  | { readonly kind: 'raised'; readonly scope: string; readonly limit: number }
  /** The account of the access token could not be determined. All such tokens share one budget. */
  | { readonly kind: 'accountUnknown'; readonly reason: string }
  | { readonly kind: 'cooling'; readonly quota: QuotaKind; readonly coolingMs: number };

export type RetryEvent =
  | { readonly kind: 'pages'; readonly pages: number; readonly delayMs: number }
  | { readonly kind: 'call'; readonly reason: string; readonly inARow: number }
  | { readonly kind: 'database'; readonly reason: string }
  /** Several calls in a row have failed: the run waits and sends a probe from time to time. */
  | { readonly kind: 'google'; readonly reason: string }
  | { readonly kind: 'worker'; readonly workerId: string }
  /**
   * Rows came after a page with fewer rows than requested. From now on slices end only with a page without rows, and those
   * that ended with a short one are fetched again.
   */
  | ({ readonly kind: 'shortPage' } & SliceKey);

export const RETRY_KINDS = [
  'pages',
  'call',
  'database',
  'google',
  'worker',
] as const satisfies readonly RetryEvent['kind'][];

/** `asked`: by `setConcurrency`. `from` equals `to` when `'auto'` decides to keep the level. */
export interface ConcurrencyEvent {
  readonly from: number;
  readonly to: number;
  readonly reason: ConcurrencyReason | 'asked';
  /** The error that caused the decision, if any. */
  readonly detail?: string;
}

/** The run has its row in `longtail.run` and begins to plan. */
export interface StartedEvent {
  readonly siteUrl: string;
  /** The run's id in `longtail.run`, as text. */
  readonly runId: string;
}

/** Something to know about the database that keeps no run from its work. */
export interface NoticeEvent {
  /** A view was changed by somebody, its name is taken, or it may not be created. */
  readonly kind: 'view';
  /** Its name, with the schema. */
  readonly view: string;
  /** One sentence. */
  readonly message: string;
  readonly nextStep: string;
}

/**
 * An optimisation that relies on a package's private internals cannot be used; the public interface replaces it. The rows
 * are the same, but the run is slower. Emitted once per run for each `what`: `copy` writes rows to PostgreSQL, `gunzip`
 * decompresses answers.
 */
export interface FallbackEvent {
  readonly what: 'copy' | 'gunzip';
  /** Why the optimisation cannot be used, as a clause. */
  readonly reason: string;
}

export interface SyncEvents {
  readonly started: StartedEvent;
  readonly progress: Progress;
  readonly slice: SliceEvent;
  readonly quota: QuotaEvent;
  readonly retry: RetryEvent;
  readonly concurrency: ConcurrencyEvent;
  readonly fallback: FallbackEvent;
  readonly notice: NoticeEvent;
}

/** What `run` would fetch. */
export interface DryRun {
  readonly siteUrl: string;
  readonly from: Day;
  readonly to: Day;
  readonly slicesPlanned: number;
  readonly slicesToFetch: number;
  /** Minimum number of requests: one per slice, and the calendars. */
  readonly apiCalls: number;
  /** Minimum number of HTTP calls that carry them. */
  readonly httpCalls: number;
  /** Minimum duration that the quota allows, in milliseconds. */
  readonly durationMs: number;
}

/**
 * The synchronisation of one property. Created by `createSync`; runs once.
 * @example
 * await using sync = createSync({ siteUrl: 'sc-domain:example.com' });
 * sync.on('progress', ({ slicesDone, slicesPlanned }) => console.log(`${slicesDone} of ${slicesPlanned}`));
 * const outcome = await sync.run({ signal: AbortSignal.timeout(3_600_000) });
 */
export interface Sync extends AsyncDisposable {
  /**
   * Copies the missing slices. Aborting `signal` halts the run.
   * @throws LongtailError if the environment is broken, the credentials are wrong, or `run` was called before
   *   (`ALREADY_RUN`, `CLOSED`).
   */
  run(options?: { readonly signal?: AbortSignal | undefined }): Promise<Outcome>;
  /**
   * Returns what `run` would fetch. Reads the database; sends no request. Aborting `signal`, `halt` and `close` end it.
   * @throws LongtailError if the environment is broken; `HALTED` if it was halted first.
   */
  dryRun(options?: { readonly signal?: AbortSignal | undefined }): Promise<DryRun>;
  /** Assigns no more pages; calls in flight finish. Before or while the run opens, it takes effect once the run is open. */
  pause(): void;
  /** Continues after `pause`. */
  resume(): void;
  /**
   * Halts the run in any phase. Resolves when nothing is in flight, within `haltDeadlineMs`. The outcome is `halted`. Does
   * nothing if nothing is running.
   */
  halt(reason?: string): Promise<void>;
  /**
   * Sets the maximum number of concurrent calls, 1 to 64, and turns `'auto'` off.
   * @throws LongtailError `BAD_OPTION`.
   */
  setConcurrency(maxConcurrency: number): void;
  /** Adds a listener; returns a function that removes it. An error that the listener throws becomes a warning. */
  on<K extends keyof SyncEvents>(type: K, listener: (event: SyncEvents[K]) => void): () => void;
  /** Halts a run in progress and closes everything this synchronisation opened, and nothing else. */
  close(): Promise<void>;
}
