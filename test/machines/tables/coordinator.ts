/** Every state of the coordinator × every event: the events, and a run brought into each state. */
import { initialTransition, transition } from 'xstate';
import {
  type CoordinatorEvent,
  type CoordinatorInput,
  PROBE,
} from '../../../src/machines/coordinator/context.ts';
import {
  type CoordinatorSnapshot,
  coordinatorMachine,
} from '../../../src/machines/coordinator/coordinator.ts';
import type { BatchOutcome, LimiterEvent, Page, Recipient } from '../../../src/machines/messages.ts';
import type { StateOf, Whole } from './table.ts';

/** A run that has ended takes no event at all: that is XState's, and tested apart. */
export const ENDS = ['complete', 'completeWithFailures', 'halted', 'failed'] as const;
type AnyState = StateOf<typeof coordinatorMachine>;
export type End = Extract<AnyState, (typeof ENDS)[number]>;
export type State = Exclude<AnyState, End>;

const page = (sliceId: string): Page => ({ sliceId, startRow: 0, attempts: 0, callFailures: 0 });
const aboutWorker = { workerId: 'w0', assignmentId: 'run:w0.1' } as const;
const aboutPage = { ...aboutWorker, sliceId: 'a', startRow: 0 } as const;
const ended = (outcome: BatchOutcome, workerId = 'w0'): CoordinatorEvent => ({
  type: 'batch.ended',
  workerId,
  assignmentId: `run:${workerId}.1`,
  outcome,
  chance: 0.5,
});
const nextEnded = (outcome: BatchOutcome): CoordinatorEvent => ({
  type: 'batch.ended',
  workerId: 'w0',
  assignmentId: 'run:w0.2',
  outcome,
  chance: 0.5,
});
const AWAY = { kind: 'databaseAway', reason: 'gone' } as const;
const FATAL = { kind: 'fatal', fatal: { code: 'FORBIDDEN', reason: 'no' } } as const;
const done = (actorId: string, output?: unknown): CoordinatorEvent => ({
  type: `xstate.done.actor.${actorId}`,
  actorId,
  output,
});
const crashed = (actorId: string): CoordinatorEvent => ({
  type: `xstate.error.actor.${actorId}`,
  actorId,
  error: new Error('a bug'),
});
const timer = (delay: string, state: string) =>
  // The machine's own timer; XState keeps its type out of the events it takes from others.
  ({ type: `xstate.after.${delay}.coordinator.${state}` }) as unknown as CoordinatorEvent;

export const CASES = {
  halt: { type: 'halt', reason: { kind: 'asked', reason: 'enough' } },
  fail: { type: 'fail', fatal: { code: 'LOCK_LOST', reason: 'lost' } },
  pause: { type: 'pause' },
  resume: { type: 'resume' },
  'concurrency.change': { type: 'concurrency.change', maxConcurrency: 3 },
  'page.committed': { type: 'page.committed', ...aboutPage, rows: 1, next: { kind: 'sealed' } },
  'page.committed: of an assignment before': {
    ...{ type: 'page.committed', ...aboutPage, rows: 1, next: { kind: 'sealed' } },
    assignmentId: 'run:w0.0',
  },
  'page.failed': { type: 'page.failed', ...aboutPage, reason: 'truncated', final: false },
  'page.committed: of the probe': {
    ...{ type: 'page.committed', ...aboutPage, rows: 0, next: { kind: 'sealed' } },
    assignmentId: 'run:w0.2',
    sliceId: PROBE,
  },
  'pages.returned': { type: 'pages.returned', ...aboutWorker, pages: [page('a')] },
  'batch.stalled': { type: 'batch.stalled', ...aboutWorker, away: { reason: 'gone' }, chance: 0.5 },
  'batch.ended: answered': ended({ kind: 'answered' }),
  'batch.ended: failed': ended({ kind: 'failed', reason: 'reset' }),
  'batch.ended: database away': ended(AWAY),
  'batch.ended: denied': ended({ kind: 'denied', quota: 'daily' }),
  'batch.ended: fatal': ended(FATAL),
  // In `probing` this is the probe's assignment.
  'batch.ended: answered, the next one': nextEnded({ kind: 'answered' }),
  'batch.ended: failed, the next one': nextEnded({ kind: 'failed', reason: 'reset' }),
  'batch.ended: of nobody': ended({ kind: 'answered' }, 'w9'),
  'worker.ready': { type: 'worker.ready', ...aboutWorker },
  'worker.halted': { type: 'worker.halted', ...aboutWorker },
  'plan.supplied': { type: 'plan.supplied', pages: [page('p')], more: 'none' },
  'plan.failed: database away': { type: 'plan.failed', outcome: AWAY, chance: 0.5 },
  'plan.failed: fatal': { type: 'plan.failed', outcome: FATAL, chance: 0.5 },
  'retry.due': { type: 'retry.due', groupId: 'run:w0.1' },
  'xstate.error.actor: a worker': crashed('w0'),
  'xstate.error.actor: the plan': crashed('plan'),
  'xstate.error.actor: the probe': crashed('probe'),
  'xstate.done.actor: the probe': done('probe'),
  'after probe': timer('probe', 'running.waitingForDatabase.sleeping'),
  'after googleProbe': timer('googleProbe', 'running.waitingForGoogle.sleeping'),
  'after haltDeadline': timer('haltDeadline', 'halting'),
  'after finishDeadline': timer('finishDeadline', 'drainingForQuota'),
} as const satisfies Record<string, CoordinatorEvent>;
export type Case = keyof typeof CASES;

/** Does not compile when an event type has no case. @public */
export const WHOLE: Whole<CoordinatorEvent, typeof CASES> = true;

const backoff = { baseMs: 100, maxMs: 1_000 };
export const inputFor = (limiter: Recipient<LimiterEvent>): CoordinatorInput => ({
  runId: 'run',
  limiter,
  scopes: ['site:a'],
  maxConcurrency: 2,
  batchSize: 1,
  maxAttempts: 3,
  maxConsecutiveCallFailures: 3,
  callFailuresOfOutage: 2,
  soundAnswers: 1,
  maxGoogleProbes: 2,
  googleBackoff: backoff,
  maxWorkerRestarts: 1,
  maxDatabaseProbes: 3,
  haltDeadlineMs: 5_000,
  finishDeadlineMs: 180_000,
  retryBackoff: backoff,
  callBackoff: backoff,
  probeBackoff: backoff,
});

/** Worker `w0` has page `a` (in `waitingForRetry` and `paused`: had it), `w1` page `b`; in `dispatching` `c` waits. */
export function fixture(input: CoordinatorInput): Record<State, CoordinatorSnapshot> {
  const send = (snapshot: CoordinatorSnapshot, ...events: readonly CoordinatorEvent[]): CoordinatorSnapshot =>
    events.reduce((before, event) => transition(coordinatorMachine, before, event)[0], snapshot);
  const supplied = (...sliceIds: readonly string[]): CoordinatorEvent => ({
    type: 'plan.supplied',
    pages: sliceIds.map(page),
    more: 'none',
  });
  const returned = (workerId: string, sliceId: string): CoordinatorEvent => ({
    type: 'pages.returned',
    workerId,
    assignmentId: `run:${workerId}.1`,
    pages: [page(sliceId)],
  });
  const [planning] = initialTransition(coordinatorMachine, input);
  const draining = send(planning, supplied('a', 'b'));
  const sleeping = send(draining, returned('w0', 'a'), ended(AWAY));
  const lost = { kind: 'failed', reason: 'reset' } as const;
  const ready = (workerId: string): CoordinatorEvent => ({
    type: 'worker.ready',
    workerId,
    assignmentId: `run:${workerId}.1`,
  });
  // Both calls fail; `w1` is ready again, and has the probe.
  const asleep = send(draining, returned('w0', 'a'), ended(lost), returned('w1', 'b'), ended(lost, 'w1'));
  const choosing = send(asleep, CASES['after googleProbe']);
  const pausing = send(draining, CASES.pause);
  const cancelled = { kind: 'cancelled' } as const;
  const paused = send(
    pausing,
    returned('w0', 'a'),
    ended(cancelled),
    returned('w1', 'b'),
    ended(cancelled, 'w1'),
  );
  const committed = {
    ...CASES['page.committed'],
    workerId: 'w1',
    assignmentId: 'run:w1.1',
    sliceId: 'b',
  };
  const answered = { kind: 'answered' } as const;
  return {
    'running.working.planning': planning,
    'running.working.dispatching': send(planning, supplied('a', 'b', 'c')),
    'running.working.draining': draining,
    'running.working.waitingForRetry': send(
      draining,
      CASES['page.failed'],
      ended(answered),
      committed,
      ended(answered, 'w1'),
    ),
    'running.waitingForGoogle.sleeping': asleep,
    'running.waitingForGoogle.choosing': choosing,
    'running.waitingForGoogle.probing': send(choosing, ready('w0')),
    'running.waitingForDatabase.sleeping': sleeping,
    'running.waitingForDatabase.retrying': send(draining, CASES['batch.stalled'], CASES['after probe']),
    'running.waitingForDatabase.probing': send(sleeping, CASES['after probe']),
    pausing,
    paused,
    drainingForQuota: send(draining, returned('w1', 'b'), ended({ kind: 'denied', quota: 'daily' }, 'w1')),
    halting: send(draining, CASES.halt),
  };
}
