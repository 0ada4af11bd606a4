/**
 * The coordinator's input, context and events, and pure functions over them. Its actions are in `setup.ts`, its
 * transitions in `coordinator.ts`.
 */

import type { DoneActorEvent, ErrorActorEvent } from 'xstate';
import type { AfterPage } from '../../domain/page-result.ts';
import type { BackoffRule } from '../backoff.ts';
import type { BatchWorkerInput } from '../batch-worker/batch-worker.ts';
import type {
  Away,
  Blame,
  ControlEvent,
  Fatal,
  HaltReason,
  LimiterEvent,
  MorePlan,
  Page,
  PlanReport,
  Recipient,
  WorkerReport,
} from '../messages.ts';
import {
  availableSlots,
  countHeld,
  countWaiting,
  createSlot,
  type DispatchRules,
  hasAssignment,
  type Queues,
  type WorkerSlot,
} from './dispatch.ts';

export interface CoordinatorInput {
  /** Unique among the runs that share a rate limiter. Assignment IDs start with it. */
  readonly runId: string;
  readonly limiter: Recipient<LimiterEvent>;
  readonly scopes: readonly string[];
  readonly maxConcurrency: number;
  readonly batchSize: number;
  /** Maximum attempts per page. After the last one its slice fails. */
  readonly maxAttempts: number;
  /** Consecutive calls, over all workers, with a refused access token before the run halts. */
  readonly maxConsecutiveCallFailures: number;
  /** Consecutive calls, over all workers, that fail and bring nothing before Google counts as down. */
  readonly callFailuresOfOutage: number;
  /**
   * Good answers needed before Google counts as well. Then a page that fails alone is to blame itself. Ending an outage
   * takes as many answered probes.
   */
  readonly soundAnswers: number;
  readonly maxGoogleProbes: number;
  /** Maximum worker restarts after crashes before the run fails. */
  readonly maxWorkerRestarts: number;
  readonly maxDatabaseProbes: number;
  readonly haltDeadlineMs: number;
  /** How long calls under way may take to finish once no more tokens will be granted. */
  readonly finishDeadlineMs: number;
  readonly retryBackoff: BackoffRule;
  readonly callBackoff: BackoffRule;
  readonly probeBackoff: BackoffRule;
  readonly googleBackoff: BackoffRule;
}

/** How the run will end once all work has stopped. */
export type Ending =
  | { readonly status: 'complete' }
  | { readonly status: 'completeWithFailures' }
  | { readonly status: 'halted'; readonly reason: HaltReason }
  | { readonly status: 'failed'; readonly fatal: Fatal };

export interface CoordinatorContext {
  readonly input: CoordinatorInput;
  readonly maxConcurrency: number;
  readonly queues: Queues;
  readonly workers: readonly WorkerSlot[];
  /** `asked`: the plan actor has not answered the last request yet. */
  readonly plan: MorePlan | 'asked';
  /** Consecutive calls that failed and brought nothing. */
  readonly callFailures: number;
  /** Calls with a refused token since the last page arrived. */
  readonly tokenRefusals: number;
  /** Good answers since the last failed call, capped at `soundAnswers`. */
  readonly sound: number;
  readonly googleProbes: number;
  readonly googleDelayMs: number;
  /** The assignment that probes Google. */
  readonly prober: string | null;
  readonly restarts: number;
  /** Consecutive failed attempts on the database, including those it answered without accepting anything. */
  readonly probes: number;
  readonly probeDelayMs: number;
  /** Why the database accepts nothing, as last reported. */
  readonly away: Away;
  /** How the run will end if nothing else happens. `completeWithFailures` once a slice has failed. */
  readonly ending: Ending;
}

/** What the reaper of a crashed worker found after the call had ended. */
export interface ReapInput {
  readonly workerId: string;
  readonly assignmentId: string;
  readonly pages: readonly Page[];
}
export interface ReapOutput {
  readonly workerId: string;
  /** Pages of the assignment that were committed but not reported. */
  readonly committed: readonly {
    readonly sliceId: string;
    readonly startRow: number;
    readonly rows: number;
    readonly next: AfterPage;
  }[];
}

type InternalEvent = { readonly type: 'retry.due'; readonly groupId: string };

export type CoordinatorEvent =
  | ControlEvent
  | WorkerReport
  | PlanReport
  | InternalEvent
  | DoneActorEvent<unknown, string>
  | ErrorActorEvent<unknown, string>;

/** Events for observers: counts and ids, added up in `progress.ts`. */
export type CoordinatorEmitted =
  | {
      readonly type: 'page.committed';
      readonly sliceId: string;
      readonly startRow: number;
      readonly rows: number;
      readonly next: AfterPage;
    }
  | {
      readonly type: 'page.failed';
      readonly sliceId: string;
      readonly startRow: number;
      readonly attempt: number;
      readonly reason: string;
      readonly final: boolean;
    }
  | { readonly type: 'retry.scheduled'; readonly pages: number; readonly delayMs: number }
  | {
      readonly type: 'call.failed';
      readonly workerId: string;
      readonly reason: string;
      readonly consecutive: number;
    }
  | { readonly type: 'worker.restarted'; readonly workerId: string }
  | { readonly type: 'database.away'; readonly reason: string }
  | { readonly type: 'database.back' }
  | { readonly type: 'google.away'; readonly reason: string }
  | { readonly type: 'google.back' }
  | { readonly type: 'concurrency.changed'; readonly maxConcurrency: number };

/** Slice ID of a probe of Google. It requests a few rows of one day; the answers are discarded. */
export const PROBE = 'probe';
export const probePages = ({ batchSize, soundAnswers }: CoordinatorInput): readonly Page[] =>
  Array.from({ length: Math.min(batchSize, soundAnswers) }, (_, startRow) => ({
    sliceId: PROBE,
    startRow,
    attempts: 0,
    callFailures: 0,
  }));

/**
 * Decides what to blame if all these pages fail. A page is blamed only if it failed before, goes alone, and Google is
 * well.
 */
export function blameFor({ input, sound }: CoordinatorContext, pages: readonly Page[]): Blame {
  const [page] = pages;
  const isSuspect = page !== undefined && pages.length === 1 && page.attempts + page.callFailures > 0;
  return isSuspect && sound >= input.soundAnswers ? 'page' : 'call';
}

const REAPER = 'reap:';
export const reaperId = (workerId: string): string => `${REAPER}${workerId}`;
export const assignmentIdOf = (context: CoordinatorContext, slot: WorkerSlot): string =>
  `${context.input.runId}:${slot.workerId}.${slot.serial}`;

export const isQuiet = ({ queues, workers }: CoordinatorContext): boolean =>
  countWaiting(queues) === 0 && queues.delayed.length === 0 && nobodyIsBusy(workers);

/** The slot a report belongs to. Undefined if its assignment is over. */
export function slotOf(context: CoordinatorContext, event: CoordinatorEvent): WorkerSlot | undefined {
  if (!('assignmentId' in event)) return undefined;
  const slot = context.workers.find(({ workerId }) => workerId === event.workerId);
  return slot !== undefined && assignmentIdOf(context, slot) === event.assignmentId ? slot : undefined;
}

/** The slot whose assignment ends with this event. An assignment ends once; later reports change nothing. */
export function endedSlot(context: CoordinatorContext, event: CoordinatorEvent): WorkerSlot | undefined {
  if (event.type !== 'batch.ended') return undefined;
  const slot = slotOf(context, event);
  return slot !== undefined && hasAssignment(slot) ? slot : undefined;
}

/** The slot whose worker just crashed. */
export function crashedSlot(context: CoordinatorContext, event: CoordinatorEvent): WorkerSlot | undefined {
  if (!('error' in event)) return undefined;
  return context.workers.find(({ workerId, status }) => workerId === event.actorId && status !== 'reaping');
}

/** The slot whose reaper has finished or failed. After a failure the ledger answers `alreadyCommitted` where needed. */
export function reapedSlot(context: CoordinatorContext, event: CoordinatorEvent): WorkerSlot | undefined {
  if (!('actorId' in event) || !event.actorId.startsWith(REAPER)) return undefined;
  return context.workers.find(({ workerId }) => reaperId(workerId) === event.actorId);
}

export function reapOutput(event: CoordinatorEvent): ReapOutput | undefined {
  return 'output' in event && isReapOutput(event.output) ? event.output : undefined;
}

const isReapOutput = (output: unknown): output is ReapOutput =>
  typeof output === 'object' && output !== null && 'committed' in output;

export const withSlot = (workers: readonly WorkerSlot[], changed: WorkerSlot): readonly WorkerSlot[] =>
  workers.map((slot) => (slot.workerId === changed.workerId ? changed : slot));

/** Whether the worker still owes a report on this page. Each page is reported once; repeats are ignored. */
export const holds = (slot: WorkerSlot, of: { sliceId: string; startRow: number }): boolean =>
  slot.pages.some((page) => page.sliceId === of.sliceId && page.startRow === of.startRow);

export const without = (
  pages: readonly Page[],
  gone: { sliceId: string; startRow: number },
): readonly Page[] =>
  pages.filter((page) => page.sliceId !== gone.sliceId || page.startRow !== gone.startRow);

/** Queues the next page after a commit, if there is one. Its slice has begun, so it goes out before new slices. */
export function afterCommit(queues: Queues, sliceId: string, next: AfterPage): Queues {
  if (next.kind !== 'page' && next.kind !== 'again') return queues;
  const page: Page =
    next.kind === 'page'
      ? { sliceId, startRow: next.startRow, attempts: 0, callFailures: 0 }
      : { sliceId: next.sliceId, startRow: 0, attempts: 0, callFailures: 0 };
  return { ...queues, begun: [...queues.begun, page] };
}

export const worse = (ending: Ending): Ending =>
  ending.status === 'complete' ? { status: 'completeWithFailures' } : ending;

export function initialContext(input: CoordinatorInput): CoordinatorContext {
  return {
    input,
    maxConcurrency: input.maxConcurrency,
    queues: { begun: [], ahead: [], delayed: [] },
    workers: Array.from({ length: input.maxConcurrency }, (_, index) => createSlot(`w${index}`)),
    plan: 'whenLow',
    callFailures: 0,
    tokenRefusals: 0,
    sound: 0,
    googleProbes: 0,
    googleDelayMs: 0,
    prober: null,
    restarts: 0,
    probes: 0,
    probeDelayMs: 0,
    away: { reason: 'the database did not come back' },
    ending: { status: 'complete' },
  };
}

/** Input for a worker of the pool. */
export function workerInput(
  context: CoordinatorContext,
  slot: WorkerSlot,
  coordinator: Recipient<WorkerReport>,
): BatchWorkerInput {
  const { limiter, scopes, callBackoff } = context.input;
  return {
    workerId: slot.workerId,
    assignmentId: assignmentIdOf(context, slot),
    coordinator,
    limiter,
    scopes,
    backoff: callBackoff,
  };
}

/** Longer than an unanswered request can be in flight, whatever the client's timeouts. */
const LOST_CALL_GRACE_MS = 300_000;

/**
 * Cleans up the tokens of a worker that is gone. Otherwise they would count for the limiter's lifetime. Requests for
 * tokens are cancelled. Granted tokens may have been used up to this moment.
 */
export function abandonedTokens(context: CoordinatorContext, slot: WorkerSlot): readonly LimiterEvent[] {
  const assignmentId = assignmentIdOf(context, slot);
  return [
    { type: 'tokens.cancel', requestId: assignmentId },
    {
      type: 'lease.settled',
      leaseId: assignmentId,
      // The maximum it can have had. The limiter knows the actual number.
      tokens: context.input.batchSize,
      accepted: 0,
      graceMs: LOST_CALL_GRACE_MS,
    },
  ];
}

export const dispatchRules = ({ input, plan, workers }: CoordinatorContext): DispatchRules => ({
  batchSize: input.batchSize,
  busy: workers.filter(hasAssignment).length,
  isEnd: plan === 'none' || plan === 'whenQuiet',
});

export const canDispatch = ({ queues, workers, maxConcurrency }: CoordinatorContext): boolean =>
  countWaiting(queues) > 0 && availableSlots(workers, maxConcurrency).length > 0;

/**
 * More of the plan is needed when the look-ahead is shorter than one round of full batches and retries have not piled
 * up. If all pages fail, the whole plan must not end up waiting for retries. Or the plan itself waits until its pages
 * are done.
 */
export const wantsPlan = (context: CoordinatorContext): boolean => {
  const { plan, queues, maxConcurrency } = context;
  const round = context.input.batchSize * maxConcurrency;
  return (
    (plan === 'whenLow' && queues.ahead.length < round && countHeld(queues) < 2 * round) ||
    (plan === 'whenQuiet' && isQuiet(context))
  );
};

/** Nothing is queued or under way except delayed retries. */
export const onlyRetriesAreLeft = ({ queues, workers }: CoordinatorContext): boolean =>
  queues.delayed.length > 0 && countWaiting(queues) === 0 && nobodyIsBusy(workers);

/** The first pages have arrived, or there are none. */
export const hasPlan = ({ queues, workers, plan }: CoordinatorContext): boolean =>
  plan === 'none' || countWaiting(queues) > 0 || queues.delayed.length > 0 || !nobodyIsBusy(workers);

export const nobodyIsBusy = (workers: readonly WorkerSlot[]): boolean =>
  workers.every((slot) => !hasAssignment(slot) && slot.status !== 'reaping');

/** No worker is active. Some may be stalled by the database. */
export const nobodyMoves = (workers: readonly WorkerSlot[]): boolean =>
  workers.every(({ status }) => status !== 'busy' && status !== 'retrying' && status !== 'reaping');

export const somebodyIs = (workers: readonly WorkerSlot[], wanted: 'stalled' | 'retrying'): boolean =>
  workers.some(({ status }) => status === wanted);

/**
 * Attempts before the run ends, for a cause that rarely passes by itself: about 15 seconds. Other causes get the
 * attempts in the input.
 */
const SHORT_PATIENCE = 5;

export const maxProbes = ({ input, away }: CoordinatorContext): number =>
  away.patience === 'short' ? Math.min(SHORT_PATIENCE, input.maxDatabaseProbes) : input.maxDatabaseProbes;

/** How the run ends after it has waited too long for the database. */
export const endOfPatience = ({ reason, ending }: Away): Ending =>
  ending === undefined
    ? { status: 'halted', reason: { kind: 'databaseAway', reason } }
    : { status: 'failed', fatal: ending };

/** The probe's rejection: the database still accepts nothing, and why. */
export class StillAway extends Error {
  override readonly name = 'StillAway';
  readonly away: Away;
  constructor(away: Away) {
    super(away.reason);
    this.away = away;
  }
}
