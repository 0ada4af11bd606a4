import type { ActorRef, EventObject, Snapshot } from 'xstate';
import type { AfterPage } from '../domain/page-result.ts';
import type { QuotaKind } from '../domain/quota-kind.ts';

/**
 * Every message between the actors, and nothing else. Orders are imperative (`batch.assign`), facts are past
 * (`page.committed`). Events carry ids and counts; rows never enter one.
 */

/** A reference to whoever takes events of type `E`. */
export type Recipient<E extends EventObject> = ActorRef<Snapshot<unknown>, E>;

/** One request of a slice: `(sliceId, startRow)`. Opaque to the machines; the actors know what the slice is. */
export interface Page {
  readonly sliceId: string;
  readonly startRow: number;
  /** Attempts that failed for a reason of the page's own. */
  readonly attempts: number;
  /** Calls in a row that failed as a whole with this page among theirs. */
  readonly callFailures: number;
}

/**
 * Whose fault it is when a call fails in all its pages. `call`: nobody's, until more is known. `page`: its one page's, which has
 * failed before, while Google has answered others well since.
 */
export type Blame = 'call' | 'page';

/** Why a run was stopped before its end. */
export type HaltReason =
  | { readonly kind: 'asked'; readonly reason: string }
  | { readonly kind: 'quota'; readonly quota: QuotaKind }
  | { readonly kind: 'callFailures'; readonly reason: string }
  | { readonly kind: 'databaseAway'; readonly reason: string };

/** Something that no retry mends. `code` is stable: see `src/domain/errors.ts`. */
export interface Fatal {
  readonly code: string;
  readonly reason: string;
  /** What the user can do, where whoever found it knows best. */
  readonly nextStep?: string;
}

/** Why the database takes nothing at present. */
export interface Away {
  readonly reason: string;
  /** What the run fails with if it stays so. Absent: it is halted, to go on when the database is back. */
  readonly ending?: Fatal;
  /** `short`: it hardly passes by itself, a setting that ends the work for one. Absent: as long as an outage may last. */
  readonly patience?: 'short';
}

/** What came of one page. */
export type PageResult =
  /** Its rows and its ledger entry are in the database. */
  | { readonly kind: 'committed'; readonly rows: number; readonly next: AfterPage }
  /** It failed for a reason of its own. `final`: its slice is recorded as failed, and is not tried again in this run. */
  | { readonly kind: 'failed'; readonly reason: string; readonly final: boolean }
  /** The server refused it for want of quota. It costs no attempt. */
  | {
      readonly kind: 'refused';
      readonly quota: QuotaKind;
      readonly retryAfterMs: number | null;
      /** What the server says is overrun; see `quota.refused`. */
      readonly scopeKind?: string | null;
    };

/** How a call ended, once and for all. */
export type CallOutcome =
  /** The answer was read to its end; single pages may have failed. */
  | { readonly kind: 'answered' }
  /** No answer, a refusal of the whole, or one in most of its parts: costs no page an attempt. Some may have come all the same. */
  | { readonly kind: 'failed'; readonly reason: string }
  /** The token was refused and has been replaced: try again. */
  | { readonly kind: 'unauthorized' }
  | { readonly kind: 'aborted' }
  /** Nothing was sent: the database would not take the lease. */
  | ({ readonly kind: 'databaseAway' } & Away)
  | { readonly kind: 'fatal'; readonly fatal: Fatal };

// ── limiter ───────────────────────────────────────────────────────────────────────────────────────────────────────

export type LimiterEvent =
  | {
      readonly type: 'tokens.request';
      readonly requestId: string;
      readonly tokens: number;
      /** The budgets that each token is taken from, as scope ids: `site:…`, `user:…`, `project:…`. */
      readonly scopes: readonly string[];
      readonly replyTo: Recipient<GrantEvent>;
    }
  | { readonly type: 'tokens.cancel'; readonly requestId: string }
  /** `tokens` of the lease have been answered (or dropped); their requests arrived `graceMs` from now at the latest. */
  | {
      readonly type: 'lease.settled';
      readonly leaseId: string;
      readonly tokens: number;
      readonly graceMs: number;
      /** How many of them the server took, that is, did not refuse for want of quota. */
      readonly accepted: number;
    }
  /** `tokens` of the lease were never sent. */
  | { readonly type: 'lease.returned'; readonly leaseId: string; readonly tokens: number }
  | {
      readonly type: 'quota.refused';
      readonly scopes: readonly string[];
      readonly quota: QuotaKind;
      readonly retryAfterMs: number | null;
      /** The kind of the scope that the server says is overrun: `site`, `user`, `project`. Absent: it does not say. */
      readonly scopeKind?: string | null;
    };

/** What the limiter answers. A `leaseId` equals the `requestId` it was granted for. */
export type GrantEvent =
  | {
      readonly type: 'tokens.granted';
      readonly requestId: string;
      readonly leaseId: string;
      readonly tokens: number;
    }
  /** No token will come: the quota is used up for longer than a run waits. */
  | { readonly type: 'tokens.denied'; readonly requestId: string; readonly quota: QuotaKind };

// ── batch worker ──────────────────────────────────────────────────────────────────────────────────────────────────

/** Coordinator to worker. */
export type WorkerOrder =
  | {
      readonly type: 'batch.assign';
      readonly assignmentId: string;
      readonly pages: readonly Page[];
      /** Attempts after which a page's slice fails. */
      readonly maxAttempts: number;
      readonly blame: Blame;
    }
  /** Give back what has not been sent; let a call under way finish. */
  | { readonly type: 'worker.pause' }
  /** To one whose call has stalled: have the database tried once more. */
  | { readonly type: 'worker.retry' }
  | { readonly type: 'worker.halt' };

/**
 * `fetchBatch` to the worker that called it: `call.settled`, `call.page` and `call.stalled` in any number, then one
 * `call.ended`.
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
  /** The database does not take what has been read: it waits in the call until `call.retry`. */
  | { readonly type: 'call.stalled'; readonly away: Away; readonly chance: number }
  /** `chance` in [0, 1) is for the jitter of the backoff that may follow: machines draw no lots. */
  | { readonly type: 'call.ended'; readonly outcome: CallOutcome; readonly chance: number };

/** Worker to `fetchBatch`. */
export type CallOrder =
  | { readonly type: 'call.abort' }
  /** What waits for the database is tried once more. */
  | { readonly type: 'call.retry' };

// ── coordinator ───────────────────────────────────────────────────────────────────────────────────────────────────

/** Worker to coordinator. All carry the assignment they speak of; one that is not the worker's present one is ignored. */
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
  /** Pages that nothing happened to: surplus of a partial grant, cancelled, refused by a quota. They cost nothing. */
  | {
      readonly type: 'pages.returned';
      readonly workerId: string;
      readonly assignmentId: string;
      readonly pages: readonly Page[];
    }
  /** The database does not take what the worker's call has read: its pages wait where they are until `worker.retry`. */
  | {
      readonly type: 'batch.stalled';
      readonly workerId: string;
      readonly assignmentId: string;
      readonly away: Away;
      readonly chance: number;
    }
  /** The assignment is over; pages it still had are back with the coordinator. The worker is idle, or backing off. */
  | {
      readonly type: 'batch.ended';
      readonly workerId: string;
      readonly assignmentId: string;
      readonly outcome: BatchOutcome;
      readonly chance: number;
    }
  /** The backoff is over: the worker takes work again. */
  | { readonly type: 'worker.ready'; readonly workerId: string; readonly assignmentId: string }
  /** Nothing of this worker is under way, and it takes no more work. */
  | { readonly type: 'worker.halted'; readonly workerId: string; readonly assignmentId: string };

export type BatchOutcome =
  | CallOutcome
  /** Tokens were asked for and not used: paused, or a halt came first. */
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'denied'; readonly quota: QuotaKind };

/** From outside the system. */
export type ControlEvent =
  | { readonly type: 'halt'; readonly reason: HaltReason }
  | { readonly type: 'fail'; readonly fatal: Fatal }
  | { readonly type: 'pause' }
  | { readonly type: 'resume' }
  | { readonly type: 'concurrency.change'; readonly maxConcurrency: number };

/** Coordinator to the plan's actor. */
export type PlanOrder = { readonly type: 'plan.requested'; readonly count: number };

/** The plan's actor to the coordinator. Pages come in the order in which they should be fetched. */
export type PlanReport =
  | { readonly type: 'plan.supplied'; readonly pages: readonly Page[]; readonly more: MorePlan }
  | { readonly type: 'plan.failed'; readonly outcome: PlanFailure; readonly chance: number };

export type PlanFailure =
  | ({ readonly kind: 'databaseAway' } & Away)
  | { readonly kind: 'fatal'; readonly fatal: Fatal };

/**
 * `whenLow`: more can be asked for at any time. `whenQuiet`: what follows depends on these pages (the calendar does):
 * ask when none of them is waiting or under way. `none`: this was the last.
 */
export type MorePlan = 'whenLow' | 'whenQuiet' | 'none';
