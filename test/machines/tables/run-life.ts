/** Every state of a run's life × every event. */
import { type DoneActorEvent, type ErrorActorEvent, initialTransition, transition } from 'xstate';
import type { Ending } from '../../../src/machines/coordinator/context.ts';
import type {
  OpeningStep,
  Question,
  QuestionAnswer,
  RunLifeEvent,
  RunLifeInput,
} from '../../../src/machines/run-life/context.ts';
import { type RunLifeSnapshot, runLifeMachine } from '../../../src/machines/run-life/run-life.ts';
import type { StateOf, Whole } from './table.ts';

type Machine = typeof runLifeMachine;
type Reached = StateOf<typeof runLifeMachine>;
/** Reached, and never left. */
export type End = 'closed';
export type State = Exclude<Reached, End>;

export const STEPS = [
  'credentials',
  'server',
  'database',
  'schema',
  'property',
  'run',
  'budgets',
] as const satisfies readonly OpeningStep[];

const limit = 60_000;
export const INPUT: RunLifeInput = {
  purpose: 'run',
  haltDeadlineMs: 5_000,
  limits: {
    credentials: limit,
    server: limit,
    database: limit,
    schema: limit,
    property: limit,
    run: limit,
    budgets: limit,
    record: limit,
    tidy: limit,
    read: limit,
    count: limit,
  },
  closing: { allMs: 5_000, oneMs: 1_000 },
  lastAnswersMs: 3_000,
  retryDelaysMs: [250, 500],
};

const done = (id: string, output?: QuestionAnswer): DoneActorEvent<QuestionAnswer | undefined> => ({
  type: `xstate.done.actor.${id}`,
  output,
  actorId: id,
});
const broke = (id: string): ErrorActorEvent => ({
  type: `xstate.error.actor.${id}`,
  error: new Error(`${id} broke`),
  actorId: id,
});
const timer = (delay: string, state: string) =>
  // The machine's own timer; XState keeps its type out of the events it takes from others.
  ({ type: `xstate.after.${delay}.runLife.${state}` }) as unknown as RunLifeEvent;

const COMPLETE: Ending = { status: 'complete' };
const QUOTA: Ending = { status: 'halted', reason: { kind: 'quota', quota: 'daily' } };
const FAILED: Ending = { status: 'failed', fatal: { code: 'FORBIDDEN', reason: 'no' } };
const away: QuestionAnswer = { kind: 'away', error: new Error('reset') };
const refused: QuestionAnswer = { kind: 'refused', error: new Error('read only') };
const answered: QuestionAnswer = { kind: 'answered' };

/** What the run is told from outside, by its machines, or by its own deadline: every state has to say what becomes of it. */
export const CONTROL = {
  start: { type: 'start', halt: undefined },
  'start: halted already': { type: 'start', halt: { kind: 'asked', reason: 'before' } },
  pause: { type: 'pause' },
  resume: { type: 'resume' },
  'concurrency.change': { type: 'concurrency.change', maxConcurrency: 5 },
  halt: { type: 'halt', reason: { kind: 'asked', reason: 'enough' } },
  close: { type: 'close' },
  'execution.ended': { type: 'execution.ended', ending: COMPLETE, isQuiet: true },
  'execution.ended: a commit hangs': { type: 'execution.ended', ending: COMPLETE, isQuiet: false },
  'execution.ended: halted, a commit hangs': { type: 'execution.ended', ending: QUOTA, isQuiet: false },
  'execution.ended: halted': { type: 'execution.ended', ending: QUOTA, isQuiet: true },
  'execution.ended: failed': { type: 'execution.ended', ending: FAILED, isQuiet: true },
  'execution.broke': { type: 'execution.broke', error: new Error('a bug') },
  'halt.near': { type: 'halt.near' },
  'halt.due': { type: 'halt.due' },
} as const satisfies Record<string, RunLifeEvent>;

/** What becomes of what it invokes. Each belongs to one state; for the others it is nothing. */
const INVOKED = {
  'xstate.done.actor: credentials': done('credentials'),
  'xstate.done.actor: server': done('server'),
  'xstate.done.actor: database': done('database'),
  'xstate.done.actor: schema': done('schema'),
  'xstate.done.actor: property': done('property'),
  'xstate.done.actor: run': done('run'),
  'xstate.done.actor: budgets': done('budgets'),
  'xstate.error.actor: credentials': broke('credentials'),
  'xstate.error.actor: server': broke('server'),
  'xstate.error.actor: database': broke('database'),
  'xstate.error.actor: schema': broke('schema'),
  'xstate.error.actor: property': broke('property'),
  'xstate.error.actor: run': broke('run'),
  'xstate.error.actor: budgets': broke('budgets'),
  'after credentials': timer('credentials', 'opening.credentials'),
  'after server': timer('server', 'opening.server'),
  'after database': timer('database', 'opening.database'),
  'after schema': timer('schema', 'opening.schema'),
  'after property': timer('property', 'opening.property'),
  'after run': timer('run', 'opening.run'),
  'after budgets': timer('budgets', 'opening.budgets'),
  'xstate.error.actor: execution': broke('execution'),
  'xstate.done.actor: record answered': done('record', answered),
  'xstate.done.actor: record away': done('record', away),
  'xstate.done.actor: record refused': done('record', refused),
  'xstate.error.actor: record': broke('record'),
  'after record': timer('record', 'finishing.recording'),
  'after retry: of the record': timer('retry', 'finishing.recordingLater'),
  'xstate.done.actor: tidy': done('tidy', answered),
  'xstate.error.actor: tidy': broke('tidy'),
  'after tidy': timer('tidy', 'finishing.tidying'),
  'xstate.done.actor: read answered': done('read', answered),
  'xstate.done.actor: read away': done('read', away),
  'xstate.done.actor: read refused': done('read', refused),
  'xstate.error.actor: read': broke('read'),
  'after read': timer('read', 'finishing.reading'),
  'after retry: of the reading': timer('retry', 'finishing.readingLater'),
  'xstate.done.actor: count answered': done('count', answered),
  'xstate.done.actor: count away': done('count', away),
  'xstate.error.actor: count': broke('count'),
  'after count': timer('count', 'counting'),
  'xstate.done.actor: closeAll': done('closeAll'),
  'xstate.error.actor: closeAll': broke('closeAll'),
  'after closeAll': timer('closeAll', 'closing'),
} as const satisfies Record<string, RunLifeEvent>;

export const CASES = { ...CONTROL, ...INVOKED };
export type Case = keyof typeof CASES;
export type ControlCase = keyof typeof CONTROL;
export type InvokedCase = keyof typeof INVOKED;

/** Does not compile when an event type has no case. @public */
export const WHOLE: Whole<RunLifeEvent, typeof CASES> = true;

export const sendTo = (
  machine: Machine,
  snapshot: RunLifeSnapshot,
  ...events: readonly RunLifeEvent[]
): RunLifeSnapshot => events.reduce((before, event) => transition(machine, before, event)[0], snapshot);

export const send = (snapshot: RunLifeSnapshot, ...events: readonly RunLifeEvent[]): RunLifeSnapshot =>
  sendTo(runLifeMachine, snapshot, ...events);

/** Ways to the states, for the machine, or for one that has been tampered with. */
export function statesOf(machine: Machine): {
  readonly states: Record<State, RunLifeSnapshot>;
  readonly variants: Record<string, RunLifeSnapshot>;
} {
  const send = (snapshot: RunLifeSnapshot, ...events: readonly RunLifeEvent[]) =>
    sendTo(machine, snapshot, ...events);

  const begin = (input: Partial<RunLifeInput> = {}): RunLifeSnapshot =>
    initialTransition(machine, { ...INPUT, ...input })[0];

  /** A life whose steps have come to a certain one. */
  const openedTo = (step: OpeningStep): RunLifeSnapshot =>
    send(begin(), CASES.start, ...STEPS.slice(0, STEPS.indexOf(step)).map((name) => done(name)));

  const asked = (snapshot: RunLifeSnapshot, question: Question, answer: QuestionAnswer): RunLifeSnapshot =>
    send(snapshot, done(question, answer));

  const running = send(openedTo('budgets'), done('budgets'));
  const recording = send(running, CASES['execution.ended']);
  const tidying = asked(recording, 'record', answered);
  const reading = asked(tidying, 'tidy', answered);
  const closing = asked(reading, 'read', answered);
  const states = {
    ready: begin(),
    'opening.credentials': openedTo('credentials'),
    'opening.server': openedTo('server'),
    'opening.database': openedTo('database'),
    'opening.schema': openedTo('schema'),
    'opening.property': openedTo('property'),
    'opening.run': openedTo('run'),
    'opening.budgets': openedTo('budgets'),
    running,
    'finishing.recording': recording,
    'finishing.recordingLater': asked(recording, 'record', away),
    'finishing.tidying': tidying,
    'finishing.reading': reading,
    'finishing.readingLater': asked(reading, 'read', away),
    counting: send(
      begin({ purpose: 'dryRun' }),
      CASES.start,
      done('server'),
      done('database'),
      done('schema'),
    ),
    closing,
    ended: send(closing, done('closeAll')),
  };

  // What the same states do when something else is known: a halt was asked for, attempts are used up.
  const halted = send(running, CASES.halt);
  const recordingHalted = send(halted, CASES['execution.ended: halted']);
  const recordingQuota = send(running, CASES['execution.ended: halted']);
  const lastAttempt = asked(
    send(asked(states['finishing.recording'], 'record', away), timer('retry', 'finishing.recordingLater')),
    'record',
    away,
  );
  const lastRead = asked(
    send(asked(states['finishing.reading'], 'read', away), timer('retry', 'finishing.readingLater')),
    'read',
    away,
  );
  const variants = {
    'ready, of a dry run': begin({ purpose: 'dryRun' }),
    'opening.schema, of a dry run': send(
      begin({ purpose: 'dryRun' }),
      CASES.start,
      done('server'),
      done('database'),
    ),
    'running, halting': halted,
    'finishing.recording, halting': recordingHalted,
    'finishing.recording, complete, halting': send(halted, CASES['execution.ended']),
    'finishing.recording, no quota is left': recordingQuota,
    'finishing.recording, failed': send(running, CASES['execution.ended: failed']),
    'finishing.recording, the last attempt': send(lastAttempt, timer('retry', 'finishing.recordingLater')),
    'finishing.reading, halting': asked(recordingHalted, 'record', answered),
    'finishing.reading, no quota is left': asked(recordingQuota, 'record', answered),
    'finishing.reading, the last attempt': send(lastRead, timer('retry', 'finishing.readingLater')),
    'closing, halting': send(states['opening.database'], CASES.halt),
    // These have no row in the table: what is done in them is written down beside it.
    'ready, paused': send(begin(), CASES.pause),
    'running, paused': send(running, CASES.pause),
    'finishing.recording, asked again': send(
      asked(recordingQuota, 'record', away),
      timer('retry', 'finishing.recordingLater'),
    ),
  };
  return { states, variants };
}
