import type { Sql } from 'postgres';
import type { InspectionEvent, Observer } from 'xstate';
import type { ErrorCode } from '../domain/errors.ts';
import type { QuotaKind } from '../domain/quota-kind.ts';
import type { Dataset, DatasetName, Day, SearchType, SliceFailure } from '../domain/slice.ts';
import type { ConcurrencyReason } from '../machines/concurrency/context.ts';
import type { HaltReason } from '../machines/messages.ts';
import type { BudgetRule } from '../machines/rate-limiter/quota-window.ts';
import type { Credentials } from '../search-console/auth/credentials.ts';
import type { RateLimiter } from './limiter.ts';

/** What a synchronisation needs to know. Only `siteUrl` has no default. */
export interface SyncOptions {
  /** The property as Search Console names it: `sc-domain:example.com` or `https://www.example.com/`. */
  readonly siteUrl: string;
  /**
   * A PostgreSQL URL, or a pool of postgres.js. Of a pool only where it leads is used: Longtail opens connections of its
   * own there, at most as many as the pool's `max`, shared by all who are handed the same pool, closed with the last of
   * them; with `'auto'`, that bounds the calls that are tried. To a URL it opens at most `maxConcurrency` + 1. When the
   * host ends the pool, the run halts. Without it: the embedded server, its data under `.longtail/` of the working directory.
   */
  readonly database?: string | Sql | undefined;
  /** First and last day, both included, `YYYY-MM-DD`, Pacific time. Default: all that Google still has. */
  readonly from?: Day | undefined;
  readonly to?: Day | undefined;
  /** Instead of `from` and `to`: the newest N days that Google calls final. */
  readonly days?: number | undefined;
  /** Default `['page', 'page+query']`: `date`, `searchAppearance`, or `page`, `query`, `country`, `device` joined by `+`. */
  readonly datasets?: readonly DatasetName[] | undefined;
  /** Default `['web']`. */
  readonly searchTypes?: readonly SearchType[] | undefined;
  /**
   * Calls under way at once. Default 3. `'auto'` finds out: from 3 upwards while throughput grows and the quota is less than
   * 80 % used, down at once at a refusal or a failed call. Every decision is a `concurrency` event.
   */
  readonly maxConcurrency?: number | 'auto' | undefined;
  /** For `maxConcurrency: 'auto'`. */
  readonly autoConcurrency?: AutoConcurrencyOptions | undefined;
  /** Pages a call, 1 to 1,000; 1 sends plain requests. Default 50. */
  readonly batchSize?: number | undefined;
  /** Rows a page, 1 to 25,000. Default 25,000. */
  readonly rowsPerPage?: number | undefined;
  /** Requests a minute, a site and a user. Default 1,200. */
  readonly requestsPerMinute?: number | undefined;
  /** Limits beside Google's own, such as a burst limit: `{ scopeKind: 'site', limit: 20, windowMs: 1000 }`. */
  readonly extraBudgets?: readonly BudgetRule[] | undefined;
  /** Attempts a page has before its slice fails. Default 5. */
  readonly maxAttempts?: number | undefined;
  /** Fetch again what is complete, too. */
  readonly refresh?: boolean | undefined;
  /** Let a refreshed slice replace one that had more than twice its rows. */
  readonly acceptShrunk?: boolean | undefined;
  /**
   * Wait for a property, or an account, that another synchronisation holds, instead of failing with `PROPERTY_BUSY` or
   * `USER_SCOPE_BUSY`. Default false.
   */
  readonly wait?: boolean | undefined;
  /** Where access tokens come from; see {@link Credentials}. Default: Application Default Credentials. */
  readonly credentials?: Credentials | undefined;
  /** Default `https://searchconsole.googleapis.com/`. */
  readonly apiRoot?: string | undefined;
  /** Default: Google's. Where refresh tokens and signed JWTs are exchanged. */
  readonly tokenUrl?: string | undefined;
  /** Shared by several synchronisations under one account; made by `createRateLimiter()`. */
  readonly rateLimiter?: RateLimiter | undefined;
  /** Run the migrations at the start. Default true; with false, run the exported `migrate()` yourself. */
  readonly migrate?: boolean | undefined;
  /** Through a transaction pooler, set this: no prepared statements. */
  readonly prepare?: boolean | undefined;
  /**
   * Makes V8 collect garbage more often, which keeps the process some 30 MB smaller during a large run. For a process
   * that runs nothing but Longtail: collections pause everything else in it.
   * @default false
   */
  readonly nudgeHeap?: boolean | undefined;
  /** How long a halt may take, all in all. Default 5,000. */
  readonly haltDeadlineMs?: number | undefined;
  /** Goes straight to XState's `createActor`: Stately's inspector works. */
  readonly inspect?: Observer<InspectionEvent> | ((event: InspectionEvent) => void) | undefined;
}

export interface AutoConcurrencyOptions {
  /** Calls at once to begin with, 1 to 64. Default 3, or `most` if that is less. */
  readonly start?: number | undefined;
  /** Calls at once to go up to, 1 to 64. Default 16, or what a connection handed in has room for. */
  readonly most?: number | undefined;
  /**
   * How long at least, in milliseconds, a level is watched before one more is tried, and after trouble. Up to an hour.
   * Default 1,000. A level is judged when enough calls have ended, too: four of each worker, or more.
   */
  readonly soakMs?: number | undefined;
  /**
   * Begin with one more for each call that ends well, as long as throughput grows. Default true; false raises by one a soak
   * from the beginning.
   */
  readonly slowStart?: boolean | undefined;
}

/**
 * What the range holds now (slices, rows), and what this run did (the rest). A halted run whose database did not answer
 * at its end tells the slices and rows of this run alone.
 */
export interface RunFigures {
  readonly siteUrl: string;
  readonly from: Day;
  readonly to: Day;
  /** `planned`: the whole range. `complete`, `failed`, `empty` (of the complete ones) count earlier runs, too. */
  readonly slices: {
    readonly planned: number;
    readonly complete: number;
    readonly failed: number;
    readonly empty: number;
  };
  /** Rows of the range's complete slices. */
  readonly rows: number;
  /** Requests that took a token: pages and calendars. */
  readonly apiCalls: number;
  /** HTTP calls that carried them. */
  readonly httpCalls: number;
  readonly retries: number;
  readonly quotaRefusals: number;
  readonly durationMs: number;
  /** The most memory that the process has held at once, from its start: its resident set. */
  readonly peakRssBytes: number;
  readonly failures: readonly SliceFailure[];
}

/** How a run ended. Everything here is expected; `run` rejects only for a broken environment or a bug. */
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

/** A running synchronisation's figures, some ten times a second at most. */
export interface Progress {
  /** The coordinator's state, as a path: `running.working.dispatching`. */
  readonly state: string;
  /** Slices of the range that are complete, failed, or proved not published, of `slicesPlanned`. Never passes it. */
  readonly slicesDone: number;
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
  /** The fullest budget: tokens that count now, and its limit. */
  readonly quotaUsed: number;
  readonly quotaLimit: number;
  readonly pagesInFlight: number;
  readonly pagesWaiting: number;
  /** Calls that may be under way at once, now. */
  readonly maxConcurrency: number;
  /** Whether that is found out: `maxConcurrency: 'auto'`, and `setConcurrency` has not been called. */
  readonly isAuto: boolean;
  readonly elapsedMs: number;
  /** Null until there is something to go by. */
  readonly remainingMs: number | null;
}

export interface SliceEvent {
  readonly searchType: SearchType;
  readonly dataset: Dataset;
  readonly date: Day;
  readonly status: 'complete' | 'failed' | 'notPublished';
  readonly rows: number;
  readonly reason?: string;
}

export type QuotaEvent =
  | { readonly kind: 'approaching'; readonly scope: string; readonly used: number; readonly limit: number }
  | { readonly kind: 'refused'; readonly quota: QuotaKind }
  | { readonly kind: 'lowered'; readonly scope: string; readonly limit: number }
  /** Nothing was refused for a while: a limit that had been lowered came up a step. */
  | { readonly kind: 'raised'; readonly scope: string; readonly limit: number }
  /** Whose the access token is could not be found out: its quota is shared with all others of whom that is so. */
  | { readonly kind: 'accountUnknown'; readonly reason: string }
  | { readonly kind: 'cooling'; readonly quota: QuotaKind; readonly coolingMs: number };

export type RetryEvent =
  | { readonly kind: 'pages'; readonly pages: number; readonly delayMs: number }
  | { readonly kind: 'call'; readonly reason: string; readonly inARow: number }
  | { readonly kind: 'database'; readonly reason: string }
  /** Call after call has failed: the run waits, and asks now and then. */
  | { readonly kind: 'google'; readonly reason: string }
  | { readonly kind: 'worker'; readonly workerId: string };

/** `asked`: by `setConcurrency`. With `'auto'`, `from` and `to` are the same when the decision is to stay. */
export interface ConcurrencyEvent {
  readonly from: number;
  readonly to: number;
  readonly reason: ConcurrencyReason | 'asked';
  /** What the server or the network said, when it was trouble. */
  readonly detail?: string;
}

/**
 * Longtail goes without an optimisation that relies on a package's private internals, and uses the public interface
 * instead. The result is the same, and comes more slowly. Told once a run for each `what`: `copy` is writing rows to
 * PostgreSQL, `gunzip` is decompressing answers.
 */
export interface FallbackEvent {
  readonly what: 'copy' | 'gunzip';
  /** A clause: why the optimisation cannot be used. */
  readonly reason: string;
}

export interface SyncEvents {
  readonly progress: Progress;
  readonly slice: SliceEvent;
  readonly quota: QuotaEvent;
  readonly retry: RetryEvent;
  readonly concurrency: ConcurrencyEvent;
  readonly fallback: FallbackEvent;
}

/** What a run would do. */
export interface DryRun {
  readonly siteUrl: string;
  readonly from: Day;
  readonly to: Day;
  readonly slicesPlanned: number;
  readonly slicesToFetch: number;
  /** The least number of requests: one a slice, and the calendars. */
  readonly apiCalls: number;
  /** The least number of HTTP calls that carry them. */
  readonly httpCalls: number;
  /** The least time they take at the quota, in milliseconds. */
  readonly durationMs: number;
}

/** One property's synchronisation. Made by `createSync`; runs once. */
export interface Sync extends AsyncDisposable {
  /**
   * Copies what is missing. Aborting `signal` asks for a halt.
   * @throws LongtailError for a broken environment, wrong credentials, or a second `run`.
   */
  run(options?: { readonly signal?: AbortSignal | undefined }): Promise<Outcome>;
  /**
   * What `run` would do; reads the database, calls nobody. Aborting `signal`, `halt` and `close` end it.
   * @throws LongtailError for a broken environment; `HALTED` when it was ended before it knew.
   */
  dryRun(options?: { readonly signal?: AbortSignal | undefined }): Promise<DryRun>;
  /** Before a run has begun, or while it opens, the wish is kept until there is somebody to ask. So it is with the others. */
  pause(): void;
  resume(): void;
  /**
   * Resolves when nothing is under way any more, within `haltDeadlineMs`, whatever the run was at: opening, running or
   * closing. Its outcome is `halted`. Without anything under way, nothing happens.
   */
  halt(reason?: string): Promise<void>;
  /** Calls at once from now on, 1 to 64. Ends `'auto'`. */
  setConcurrency(maxConcurrency: number): void;
  /** Returns its unsubscribe. A listener that throws harms nothing. */
  on<K extends keyof SyncEvents>(type: K, listener: (event: SyncEvents[K]) => void): () => void;
  /** Halts if needed, and closes what this synchronisation opened, nothing else. */
  close(): Promise<void>;
}
