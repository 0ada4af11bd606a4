import type { ActorRef, EventObject, Snapshot } from 'xstate';
import type { AfterPage } from '../domain/page-result.ts';
import type { QuotaKind } from '../domain/quota-kind.ts';

/**
 * All messages between the actors, and nothing else. Commands are imperative (`batch.assign`), facts are past tense
 * (`page.committed`). Events carry ids and counts, never rows.
 */

/** A reference to an actor that accepts events of type `E`. */
export type Recipient<E extends EventObject> = ActorRef<Snapshot<unknown>, E>;

/**
 * One request of a slice: `(sliceId, startRow)`. The machines do not look inside; the actors know what the slice is.
 */
export interface Page {
  readonly sliceId: string;
  readonly startRow: number;
  /** Failed attempts for which this page was to blame. */
  readonly attempts: number;
  /** Consecutive calls that contained this page and failed as a whole. */
  readonly callFailures: number;
}

/**
 * What to blame when a call fails in all its pages. `call`: no page, until more is known. `page`: the call's only page,
 * because it failed before while Google answered others well.
 */
export type Blame = 'call' | 'page';

/** Why a run stopped early. */
export type HaltReason =
  | { readonly kind: 'asked'; readonly reason: string }
  | { readonly kind: 'quota'; readonly quota: QuotaKind }
  | { readonly kind: 'callFailures'; readonly reason: string }
  | { readonly kind: 'databaseAway'; readonly reason: string };

/** An error that no retry can fix. `code` is stable: see `src/domain/errors.ts`. */
export interface Fatal {
  readonly code: string;
  readonly reason: string;
  /** What the user can do, if the place that found the error knows best. */
  readonly nextStep?: string;
}

/** Why the database accepts nothing now. */
export interface Away {
  readonly reason: string;
  /**
   * The error the run fails with if this continues. If absent, the run halts and can resume when the database is back.
   */
  readonly ending?: Fatal;
  /**
   * `short`: a cause that rarely passes by itself, such as a setting that ends the work. If absent, wait as long as an
   * outage may last.
   */
  readonly patience?: 'short';
}

/** The result of one page. */
export type PageResult =
  /** Its rows and its ledger entry are in the database. */
  | { readonly kind: 'committed'; readonly rows: number; readonly next: AfterPage }
  /** It failed and is itself to blame. `final`: its slice is recorded as failed and not tried again in this run. */
  | { readonly kind: 'failed'; readonly reason: string; readonly final: boolean }
  /** The server refused it for quota. This does not count as an attempt. */
  | {
      readonly kind: 'refused';
      readonly quota: QuotaKind;
      readonly retryAfterMs: number | null;
      /** Which limit the server says was exceeded; see `quota.refused`. */
      readonly scopeKind?: string | null;
    };

/** How a call ended. Sent exactly once. */
export type CallOutcome =
  /** The answer was read to its end. Single pages may have failed. */
  | { readonly kind: 'answered' }
  /**
   * No answer, or most or all of it was refused. Does not count as an attempt for any page. Some pages may have
   * arrived.
   */
  | { readonly kind: 'failed'; readonly reason: string }
  /** The access token was refused and has been replaced. Try again. */
  | { readonly kind: 'unauthorized' }
  | { readonly kind: 'aborted' }
  /** Nothing was sent: the database did not accept the lease. */
  | ({ readonly kind: 'databaseAway' } & Away)
  | { readonly kind: 'fatal'; readonly fatal: Fatal };

// ── limiter ───────────────────────────────────────────────────────────────────────────────────────────────────────

export type LimiterEvent =
  | {
      readonly type: 'tokens.request';
      readonly requestId: string;
      readonly tokens: number;
      /** The budgets that each token is taken from, as scope IDs: `site:…`, `user:…`, `project:…`. */
      readonly scopes: readonly string[];
      readonly replyTo: Recipient<GrantEvent>;
    }
  | { readonly type: 'tokens.cancel'; readonly requestId: string }
  /** `tokens` of the lease were answered or dropped. Their requests reach the server within `graceMs` from now. */
  | {
      readonly type: 'lease.settled';
      readonly leaseId: string;
      readonly tokens: number;
      readonly graceMs: number;
      /** How many of them the server did not refuse for quota. */
      readonly accepted: number;
    }
  /** `tokens` of the lease were never sent. */
  | { readonly type: 'lease.returned'; readonly leaseId: string; readonly tokens: number }
  | {
      readonly type: 'quota.refused';
      readonly scopes: readonly string[];
      readonly quota: QuotaKind;
      readonly retryAfterMs: number | null;
      /**
       * The kind of scope whose quota the server says was exceeded: `site`, `user`, `project`. Absent if it does not
       * say.
       */
      readonly scopeKind?: string | null;
    };

/** The limiter's answers. A `leaseId` equals the `requestId` it was granted for. */
export type GrantEvent =
  | {
      readonly type: 'tokens.granted';
      readonly requestId: string;
      readonly leaseId: string;
      readonly tokens: number;
    }
  /** No tokens will be granted: the quota is exhausted for longer than a run waits. */
  | { readonly type: 'tokens.denied'; readonly requestId: string; readonly quota: QuotaKind };

// ── batch worker ──────────────────────────────────────────────────────────────────────────────────────────────────

/** Coordinator to worker. */
export type WorkerOrder =
  | {
      readonly type: 'batch.assign';
      readonly assignmentId: string;
      readonly pages: readonly Page[];
      /** Maximum attempts per page. After the last one its slice fails. */
      readonly maxAttempts: number;
      readonly blame: Blame;
    }
  /** Return unsent pages. Let a call under way finish. */
  | { readonly type: 'worker.pause' }
  /** To a worker whose call is stalled: try the database once more. */
  | { readonly type: 'worker.retry' }
  | { readonly type: 'worker.halt' };

/**
 * `fetchBatch` to the worker that called it: any number of `call.settled`, `call.page` and `call.stalled`, then exactly
 * one `call.ended`.
 */
export type CallEvent =
  | {
      readonly type: 'call.settled';
      readonly tokens: number;
      readonly accepted: number;
      readonly graceMs: number;
    }
  /** Tokens whose requests were never sent. */
  | { readonly type: 'call.unsent'; readonly tokens: number }
  | {
      readonly type: 'call.page';
      readonly sliceId: string;
      readonly startRow: number;
      readonly result: PageResult;
    }
  /** The database does not accept pages. They wait in the call until `call.retry`. */
  | { readonly type: 'call.stalled'; readonly away: Away; readonly chance: number }
  /** A random number in [0, 1) for the backoff jitter. The machines themselves use no randomness. */
  | { readonly type: 'call.ended'; readonly outcome: CallOutcome; readonly chance: number };

/** Worker to `fetchBatch`. */
export type CallOrder =
  | { readonly type: 'call.abort' }
  /** Retry the pages that wait for the database. */
  | { readonly type: 'call.retry' };

// ── coordinator ───────────────────────────────────────────────────────────────────────────────────────────────────

/** Worker to coordinator. Each report carries its assignment; reports on an old assignment are ignored. */
export type WorkerReport =
  | {
      readonly type: 'page.committed';
      readonly workerId: string;
      readonly assignmentId: string;
      readonly sliceId: string;
      readonly startRow: number;
      readonly rows: number;
      readonly next: AfterPage;
    }
  | {
      readonly type: 'page.failed';
      readonly workerId: string;
      readonly assignmentId: string;
      readonly sliceId: string;
      readonly startRow: number;
      readonly reason: string;
      readonly final: boolean;
    }
  /**
   * Pages that were not attempted: more than the grant covers, cancelled, or refused for quota. Does not count as an
   * attempt.
   */
  | {
      readonly type: 'pages.returned';
      readonly workerId: string;
      readonly assignmentId: string;
      readonly pages: readonly Page[];
    }
  /** The database does not accept the pages of the worker's call. They wait there until `worker.retry`. */
  | {
      readonly type: 'batch.stalled';
      readonly workerId: string;
      readonly assignmentId: string;
      readonly away: Away;
      readonly chance: number;
    }
  /**
   * The assignment is over and its remaining pages are back with the coordinator. The worker is idle or backing off.
   */
  | {
      readonly type: 'batch.ended';
      readonly workerId: string;
      readonly assignmentId: string;
      readonly outcome: BatchOutcome;
      readonly chance: number;
    }
  /** The backoff is over: the worker takes work again. */
  | { readonly type: 'worker.ready'; readonly workerId: string; readonly assignmentId: string }
  /** The worker has nothing under way and takes no more work. */
  | { readonly type: 'worker.halted'; readonly workerId: string; readonly assignmentId: string };

export type BatchOutcome =
  | CallOutcome
  /** Tokens were requested but not used, because of a pause or a halt. */
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'denied'; readonly quota: QuotaKind };

/** From outside the system. */
export type ControlEvent =
  | { readonly type: 'halt'; readonly reason: HaltReason }
  | { readonly type: 'fail'; readonly fatal: Fatal }
  | { readonly type: 'pause' }
  | { readonly type: 'resume' }
  | { readonly type: 'concurrency.change'; readonly maxConcurrency: number };

/** Coordinator to the plan actor. */
export type PlanOrder = { readonly type: 'plan.requested'; readonly count: number };

/** The plan actor to the coordinator. Pages are in fetch order. */
export type PlanReport =
  | { readonly type: 'plan.supplied'; readonly pages: readonly Page[]; readonly more: MorePlan }
  | { readonly type: 'plan.failed'; readonly outcome: PlanFailure; readonly chance: number };

export type PlanFailure =
  | ({ readonly kind: 'databaseAway' } & Away)
  | { readonly kind: 'fatal'; readonly fatal: Fatal };

/**
 * `whenLow`: more can be requested at any time. `whenQuiet`: the rest depends on these pages (calendars), so request it
 * when none of them is queued or under way. `none`: the plan is complete.
 */
export type MorePlan = 'whenLow' | 'whenQuiet' | 'none';
