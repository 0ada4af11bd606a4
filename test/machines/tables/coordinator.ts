/** Every state of the coordinator × every event: the events, and a run brought into each state. */
import { initialTransition, transition } from 'xstate';
import {
  type CoordinatorEvent,
  type CoordinatorInput,
  PROBE,
  StillAway,
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

/** Events that have no column in the table: what is done about them is written down beside it. */
export const FURTHER: Readonly<Record<string, CoordinatorEvent>> = {
  'xstate.done.actor: a reaper': done('reap:w0', {
    committed: [{ sliceId: 'a', startRow: 0, rows: 1, next: { kind: 'sealed' } }],
  }),
  'xstate.done.actor: a reaper, the slice had failed': done('reap:w0', {
    committed: [{ sliceId: 'a', startRow: 0, rows: 1, next: { kind: 'failed', reason: 'shrunk' } }],
  }),
  'xstate.error.actor: a reaper': crashed('reap:w0'),
  'xstate.error.actor: the probe, still away': {
    type: 'xstate.error.actor.probe',
    actorId: 'probe',
    error: new StillAway({ reason: 'read only' }),
  },
  'batch.ended: unauthorized': ended({ kind: 'unauthorized' }),
  'batch.ended: denied, the next one': nextEnded({ kind: 'denied', quota: 'daily' }),
  'batch.ended: fatal, the next one': nextEnded(FATAL),
  'page.committed: there is more': { ...CASES['page.committed'], next: { kind: 'page', startRow: 25_000 } },
  'page.committed: the slice has failed': {
    ...CASES['page.committed'],
    next: { kind: 'failed', reason: 'shrunk' },
  },
  'page.failed: for good': { ...CASES['page.failed'], final: true },
};

/** Worker `w0` has page `a` (in `waitingForRetry` and `paused`: had it), `w1` page `b`; in `dispatching` `c` waits. */
export function fixture(input: CoordinatorInput): Record<string, CoordinatorSnapshot> {
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
  /** The same, when something else is known. */
  const knowing = (
    snapshot: CoordinatorSnapshot,
    context: Partial<CoordinatorSnapshot['context']>,
  ): CoordinatorSnapshot => ({ ...snapshot, context: { ...snapshot.context, ...context } });
  const halting = send(draining, CASES.halt);
  const lastToHalt = send(halting, { type: 'worker.halted', workerId: 'w1', assignmentId: 'run:w1.1' });
  const bothRetry = send(
    draining,
    CASES['batch.stalled'],
    { ...CASES['batch.stalled'], workerId: 'w1', assignmentId: 'run:w1.1' },
    CASES['after probe'],
  );
  const retrying = send(draining, CASES['batch.stalled'], CASES['after probe']);
  const probing = send(sleeping, CASES['after probe']);
  // `w1` fails twice, while `w0` has its page.
  const outage = send(
    draining,
    returned('w1', 'b'),
    ended(lost, 'w1'),
    ready('w1'),
    { type: 'pages.returned', workerId: 'w1', assignmentId: 'run:w1.2', pages: [page('b')] },
    { type: 'batch.ended', workerId: 'w1', assignmentId: 'run:w1.2', outcome: lost, chance: 0.5 },
  );
  const secondProbe = send(
    choosing,
    ready('w1'),
    { type: 'batch.ended', workerId: 'w1', assignmentId: 'run:w1.2', outcome: lost, chance: 0.5 },
    CASES['after googleProbe'],
    ready('w0'),
  );
  const reaping = send(draining, crashed('w0'));
  const drainingForQuota = send(
    draining,
    returned('w1', 'b'),
    ended({ kind: 'denied', quota: 'daily' }, 'w1'),
  );
  /** These have no row in the table: what is done in them is written down beside it. */
  const further = {
    'running.working.draining, a worker is reaped': reaping,
    'running.working.draining, a worker is reaped, for the last time': knowing(reaping, { restarts: 1 }),
    'running.working.draining, one page is left': send(draining, committed, ended(answered, 'w1')),
    'running.working.draining, nothing is left': send(
      draining,
      committed,
      ended(answered, 'w1'),
      CASES['page.committed'],
    ),
    'running.working.draining, a page has failed': send(draining, CASES['page.failed']),
    'running.working.dispatching, a call has failed': send(draining, returned('w1', 'b'), ended(lost, 'w1')),
    'running.working.draining, a token was refused': send(
      draining,
      returned('w1', 'b'),
      ended({ kind: 'unauthorized' }, 'w1'),
    ),
    'running.working.draining, tokens were refused': knowing(draining, { tokenRefusals: 2 }),
    'running.working.draining, the database was away': knowing(draining, { probes: 2 }),
    'running.working.draining, Google has answered': knowing(draining, { sound: 1, callFailures: 1 }),
    'running.working.draining, a page is to blame': knowing(draining, {
      workers: draining.context.workers.map((slot) => ({ ...slot, blame: 'page' as const })),
    }),
    'running.working.draining, pages have failed': knowing(draining, {
      callFailures: 2,
      googleProbes: 1,
      sound: 1,
    }),
    'running.working.dispatching, a page has failed, the plan is asked': send(
      knowing(draining, { plan: 'asked' }),
      CASES['page.failed'],
      committed,
      ended(answered, 'w1'),
    ),
    'running.waitingForGoogle.sleeping, a call is under way': outage,
    'running.waitingForGoogle.sleeping, a probe was answered': knowing(outage, { sound: 1 }),
    'running.waitingForDatabase.sleeping, somebody has stalled': send(draining, CASES['batch.stalled']),
    'running.waitingForGoogle.sleeping, a page has come': send(outage, CASES['page.committed']),
    'running.waitingForGoogle.sleeping, a worker is reaped': send(outage, crashed('w0')),
    'running.waitingForGoogle.probing, the last time': secondProbe,
    'running.waitingForDatabase.retrying, the last time': knowing(retrying, { probes: 2 }),
    'running.waitingForDatabase.retrying, two of them': bothRetry,
    'running.waitingForDatabase.retrying, two of them, the last time': knowing(bothRetry, { probes: 2 }),
    'running.waitingForDatabase.probing, the last time': knowing(probing, { probes: 2 }),
    'running.waitingForDatabase.probing, too often': knowing(probing, { probes: 3 }),
    'drainingForQuota, a worker is reaped': send(drainingForQuota, crashed('w1')),
    'halting, the last one': lastToHalt,
    'halting, all is there': knowing(lastToHalt, { ending: { status: 'complete' } }),
    'halting, all is there but failures': knowing(lastToHalt, { ending: { status: 'completeWithFailures' } }),
    'halting, it has failed': send(lastToHalt, CASES.fail),
    'halting, a worker is reaped': send(halting, crashed('w0')),
    'halting, two of them, all is there': knowing(halting, { ending: { status: 'complete' } }),
    'halting, two of them, all is there but failures': knowing(halting, {
      ending: { status: 'completeWithFailures' },
    }),
  };
  const tabled: Record<State, CoordinatorSnapshot> = {
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
    'running.waitingForDatabase.retrying': retrying,
    'running.waitingForDatabase.probing': probing,
    pausing,
    paused,
    drainingForQuota,
    halting,
  };
  return { ...tabled, ...further };
}
