/**
 * What the coordinator knows: its input, its context, its events, and pure questions about them. What it does is in
 * `setup.ts`, when it does it in `coordinator.ts`.
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
  /** Unique among the runs that share a rate limiter: the ids of assignments begin with it. */
  readonly runId: string;
  readonly limiter: Recipient<LimiterEvent>;
  readonly scopes: readonly string[];
  readonly maxConcurrency: number;
  readonly batchSize: number;
  /** Attempts a page has; after the last its slice fails. */
  readonly maxAttempts: number;
  /** Calls in a row, over all workers, whose token may be refused before the run halts. */
  readonly maxConsecutiveCallFailures: number;
  /** Calls in a row, over all workers, that fail and bring nothing, after which Google is taken to be away. */
  readonly callFailuresOfOutage: number;
  /** Good answers that show that Google is well: then a page that fails alone has itself to blame. A probe asks for as many. */
  readonly soundAnswers: number;
  readonly maxGoogleProbes: number;
  /** Crashes of workers that are mended before the run fails. */
  readonly maxWorkerRestarts: number;
  readonly maxDatabaseProbes: number;
  readonly haltDeadlineMs: number;
  /** How long calls under way may take to finish when no further token will come. */
  readonly finishDeadlineMs: number;
  readonly retryBackoff: BackoffRule;
  readonly callBackoff: BackoffRule;
  readonly probeBackoff: BackoffRule;
  readonly googleBackoff: BackoffRule;
}

/** How the run is to end, once everything is quiet. */
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
  /** `asked`: the plan's actor owes an answer. */
  readonly plan: MorePlan | 'asked';
  /** Calls in a row that failed and brought nothing. */
  readonly callFailures: number;
  /** Calls whose token was refused since a page came last. */
  readonly tokenRefusals: number;
  /** Good answers since the last such call, as far as they are counted. */
  readonly sound: number;
  readonly googleProbes: number;
  readonly googleDelayMs: number;
  /** Who has the probe of Google. */
  readonly prober: string | null;
  readonly restarts: number;
  /** How often the database was tried, or answered, in vain since it last took anything. */
  readonly probes: number;
  readonly probeDelayMs: number;
  /** What was last heard of a database that takes nothing. */
  readonly away: Away;
  /** How the run will end if nothing else happens: with failures, once a slice has failed. */
  readonly ending: Ending;
}

/** What the reaper of a crashed worker found when its call had ended. */
export interface ReapInput {
  readonly workerId: string;
  readonly assignmentId: string;
  readonly pages: readonly Page[];
}
export interface ReapOutput {
  readonly workerId: string;
  /** Pages of the assignment that are committed although nobody was left to say so. */
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

/** Facts for those who listen: counts and ids, summed by `progress.ts`. */
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
      readonly inARow: number;
    }
  | { readonly type: 'worker.restarted'; readonly workerId: string }
  | { readonly type: 'database.away'; readonly reason: string }
  | { readonly type: 'database.back' }
  | { readonly type: 'google.away'; readonly reason: string }
  | { readonly type: 'google.back' }
  | { readonly type: 'concurrency.changed'; readonly maxConcurrency: number };

/** What a probe of Google asks for: a few rows of one day, wanted by nobody. The answers are thrown away. */
export const PROBE = 'probe';
export const probePages = ({ batchSize, soundAnswers }: CoordinatorInput): readonly Page[] =>
  Array.from({ length: Math.min(batchSize, soundAnswers) }, (_, startRow) => ({
    sliceId: PROBE,
    startRow,
    attempts: 0,
    callFailures: 0,
  }));

/** Who is to blame if all of these fail: a page that has failed before, goes alone, and while Google is well. */
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

/** The slot a report speaks of, or undefined when it is of an assignment that is no more. */
export function slotOf(context: CoordinatorContext, event: CoordinatorEvent): WorkerSlot | undefined {
  if (!('assignmentId' in event)) return undefined;
  const slot = context.workers.find(({ workerId }) => workerId === event.workerId);
  return slot !== undefined && assignmentIdOf(context, slot) === event.assignmentId ? slot : undefined;
}

/** The slot whose assignment ends with this event. An assignment ends once: what is said of it afterwards changes nothing. */
export function endedSlot(context: CoordinatorContext, event: CoordinatorEvent): WorkerSlot | undefined {
  if (event.type !== 'batch.ended') return undefined;
  const slot = slotOf(context, event);
  return slot !== undefined && hasAssignment(slot) ? slot : undefined;
}

/** The slot of a worker that crashed just now. */
export function crashedSlot(context: CoordinatorContext, event: CoordinatorEvent): WorkerSlot | undefined {
  if (!('error' in event)) return undefined;
  return context.workers.find(({ workerId, status }) => workerId === event.actorId && status !== 'reaping');
}

/** The slot whose reaper is done, or failed: then the ledger will say `alreadyCommitted` where it matters. */
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

/** Whether the worker owes word of this page. Whatever it says of another was said before: pages are spoken of once. */
export const holds = (slot: WorkerSlot, of: { sliceId: string; startRow: number }): boolean =>
  slot.pages.some((page) => page.sliceId === of.sliceId && page.startRow === of.startRow);

export const without = (
  pages: readonly Page[],
  gone: { sliceId: string; startRow: number },
): readonly Page[] =>
  pages.filter((page) => page.sliceId !== gone.sliceId || page.startRow !== gone.startRow);

/** The page that a committed one leads to, if any: it is of a begun slice, and goes out before new ones. */
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

/** What a worker of the pool is born with. */
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

/** Longer than a request without an answer can be on its way, whatever the client's timeouts are. */
const LOST_CALL_GRACE_MS = 300_000;

/**
 * A worker is gone, and with it whoever would settle its tokens: without this they would count for as long as the limiter
 * lives. What it waited for is cancelled; what it was granted may have been sent, a moment ago at the latest.
 */
export function abandonedTokens(context: CoordinatorContext, slot: WorkerSlot): readonly LimiterEvent[] {
  const assignmentId = assignmentIdOf(context, slot);
  return [
    { type: 'tokens.cancel', requestId: assignmentId },
    {
      type: 'lease.settled',
      leaseId: assignmentId,
      // All it can have had; the limiter knows how many it really had.
      tokens: context.input.batchSize,
      accepted: 0,
      graceMs: LOST_CALL_GRACE_MS,
    },
  ];
}

export const dispatchRules = ({ input, plan, workers }: CoordinatorContext): DispatchRules => ({
  batchSize: input.batchSize,
  busy: workers.filter(hasAssignment).length,
  isEnd: plan === 'none',
});

export const canDispatch = ({ queues, workers, maxConcurrency }: CoordinatorContext): boolean =>
  countWaiting(queues) > 0 && availableSlots(workers, maxConcurrency).length > 0;

/**
 * The look-ahead is shorter than one round of full batches, and retries have not piled up: when all pages fail, the plan
 * must not be drawn whole into those that wait. Or the plan itself waits for what it gave to be done.
 */
export const wantsPlan = (context: CoordinatorContext): boolean => {
  const { plan, queues, maxConcurrency } = context;
  const round = context.input.batchSize * maxConcurrency;
  return (
    (plan === 'whenLow' && queues.ahead.length < round && countHeld(queues) < 2 * round) ||
    (plan === 'whenQuiet' && isQuiet(context))
  );
};

/** Nothing waits and nothing is under way; only retries, later. */
export const onlyRetriesAreLeft = ({ queues, workers }: CoordinatorContext): boolean =>
  queues.delayed.length > 0 && countWaiting(queues) === 0 && nobodyIsBusy(workers);

/** Pages are known, or there are none. */
export const hasPlan = ({ queues, workers, plan }: CoordinatorContext): boolean =>
  plan === 'none' || countWaiting(queues) > 0 || queues.delayed.length > 0 || !nobodyIsBusy(workers);

export const nobodyIsBusy = (workers: readonly WorkerSlot[]): boolean =>
  workers.every((slot) => !hasAssignment(slot) && slot.status !== 'reaping');

/** Nobody does anything, though the pages of some may wait for the database. */
export const nobodyMoves = (workers: readonly WorkerSlot[]): boolean =>
  workers.every(({ status }) => status !== 'busy' && status !== 'retrying' && status !== 'reaping');

export const somebodyIs = (workers: readonly WorkerSlot[], wanted: 'stalled' | 'retrying'): boolean =>
  workers.some(({ status }) => status === wanted);

/** What passes by itself is waited for as the input says; what hardly does, for a quarter of a minute. */
const SHORT_PATIENCE = 5;

export const mostProbes = ({ input, away }: CoordinatorContext): number =>
  away.patience === 'short' ? Math.min(SHORT_PATIENCE, input.maxDatabaseProbes) : input.maxDatabaseProbes;

/** How a run ends that has waited for the database in vain. */
export const endOfPatience = ({ reason, ending }: Away): Ending =>
  ending === undefined
    ? { status: 'halted', reason: { kind: 'databaseAway', reason } }
    : { status: 'failed', fatal: ending };

/** What a probe rejects with: the database still takes nothing, and why. */
export class StillAway extends Error {
  override readonly name = 'StillAway';
  readonly away: Away;
  constructor(away: Away) {
    super(away.reason);
    this.away = away;
  }
}
