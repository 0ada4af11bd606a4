/**
 * The life of a run, from opening to closing. All work is done by actors that the machine invokes. Every phase therefore
 * has its own halt and time limit, and leaving a phase aborts its work.
 *
 *   ready ──start──► opening ─────────────────────────────────────┐
 *     │              credentials ► server ► database ► schema ►   │      a step that fails, or takes too long:
 *     │              property ► run ► budgets                     │      an error; open resources are closed
 *     │                     │ budgets are known                   │
 *     │                     ▼                                     │
 *     │              running  (the coordinator)                   │
 *     │                     │ execution.ended                     │
 *     │                     ▼                                     │
 *     │              finishing                                    │
 *     │              recording ⇄ recordingLater  how it ended     ├──► closing ──► ended ──close──► closed
 *     │              ▼         (the database was away)            │        all is closed,
 *     │              tidying                     if all is there  │        or its limit is over
 *     │              ▼                                            │
 *     │              reading ⇄ readingLater      the figures      │
 *     │                     │ they are read                       │
 *     │                     ▼─────────────────────────────────────┤
 *     │              counting: a dry run comes here from `schema` │
 *     └──close──► closed                                          │
 *                                                                 │
 *   halt   opening, counting ───────────────────────────────► closing, except
 *          opening.budgets ► finishing     the run already has a row, so its end is recorded
 *          running         the coordinator is told to halt
 *          recordingLater, readingLater    ask once more, immediately
 *          tidying ► reading               the next run tidies the rest
 *   halt.near   running, finishing ────────────────────────► closing: stops waiting for answers
 *   halt.due    closing ─► ended: resources still open are closed in the background
 *
 * The first halt sets both timers, whatever the phase. Later halts change nothing.
 */
import {
  type ActorRefFrom,
  assign,
  enqueueActions,
  fromCallback,
  fromPromise,
  type SnapshotFrom,
  sendTo,
  setup,
} from 'xstate';
import {
  answerIn,
  type CloseInput,
  closeInput,
  type ExecutionOrder,
  endsWell,
  haltShares,
  initialContext,
  mayAskAgain,
  type OpeningStep,
  type Question,
  type QuestionAnswer,
  type QuestionInput,
  type RunLifeContext,
  type RunLifeEvent,
  type RunLifeInput,
  retryDelayMs,
  type Wishes,
} from './context.ts';

const limit =
  (step: OpeningStep | Question) =>
  ({ context }: { readonly context: RunLifeContext }): number =>
    context.input.limits[step];

const missing = (name: string) => new Error(`${name} is provided by the composition root`);

export const runLifeMachine = setup({
  types: {
    context: {} as RunLifeContext,
    events: {} as RunLifeEvent,
    input: {} as RunLifeInput,
  },
  actors: {
    /** Opens one resource. If the step has been aborted, whatever it still opens is closed. */
    open: fromPromise<void, { readonly step: OpeningStep }>(() => Promise.reject(missing('open'))),
    /** Runs the coordinator. Sends `execution.ended` or `execution.broke`. */
    execute: fromCallback<ExecutionOrder, Wishes>(() => {
      throw missing('execute');
    }),
    ask: fromPromise<QuestionAnswer, QuestionInput>(() => Promise.reject(missing('ask'))),
    /** Closes all open resources. When aborted, it finishes in the background, without waiting. */
    closeAll: fromPromise<void, CloseInput>(() => Promise.reject(missing('closeAll'))),
  },
  delays: {
    credentials: limit('credentials'),
    server: limit('server'),
    database: limit('database'),
    schema: limit('schema'),
    property: limit('property'),
    run: limit('run'),
    budgets: limit('budgets'),
    record: limit('record'),
    tidy: limit('tidy'),
    read: limit('read'),
    count: limit('count'),
    closeAll: ({ context }) => context.input.closing.allMs,
    retry: ({ context }) => retryDelayMs(context),
  },
  guards: {
    isDryRun: ({ context }) => context.input.purpose === 'dryRun',
    isHalting: ({ context }) => context.halt !== undefined,
    endsWell: ({ context }) => endsWell(context),
    hasHungCommit: ({ event }) => event.type === 'execution.ended' && !event.isQuiet,
    endsWellWithHungCommit: ({ context, event }) =>
      event.type === 'execution.ended' && !event.isQuiet && endsWell(event) && context.halt === undefined,
    isHaltedAlready: ({ event }) => event.type === 'start' && event.halt !== undefined,
    isAnswered: ({ event }) => answerIn(event)?.kind === 'answered',
    mayTidy: ({ context, event }) =>
      answerIn(event)?.kind === 'answered' && endsWell(context) && context.halt === undefined,
    mayAskAgain: ({ context, event }) => answerIn(event)?.kind === 'away' && mayAskAgain(context),
  },
  actions: {
    notePause: assign(({ context }) => ({ wishes: { ...context.wishes, isPaused: true } })),
    noteResume: assign(({ context }) => ({ wishes: { ...context.wishes, isPaused: false } })),
    noteConcurrency: assign(({ context, event }) =>
      event.type === 'concurrency.change'
        ? { wishes: { ...context.wishes, maxConcurrency: event.maxConcurrency } }
        : {},
    ),
    passOn: sendTo('execution', ({ event }) => event),
    /** Stores the halt request and starts its deadline. */
    beginHalt: enqueueActions(({ context, event, enqueue }) => {
      const reason = event.type === 'start' ? event.halt : event.type === 'halt' ? event.reason : undefined;
      if (reason === undefined) return;
      enqueue.assign({ halt: reason });
      enqueue.cancel('near');
      enqueue.cancel('due');
      const { haltDeadlineMs } = context.input;
      enqueue.raise({ type: 'halt.near' }, { id: 'near', delay: haltShares(haltDeadlineMs).nearMs });
      enqueue.raise({ type: 'halt.due' }, { id: 'due', delay: haltDeadlineMs });
    }),
    endHalted: assign(({ context }) => {
      // A run that already failed or halted by itself keeps that ending.
      if (context.halt === undefined || (context.ending !== undefined && !endsWell(context))) return {};
      return { ending: { status: 'halted', reason: context.halt } as const };
    }),
    noteEnding: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'execution.ended') return;
      const { ending, isQuiet } = event;
      enqueue.assign({ ending, isQuiet });
      if (endsWell({ ending }) || context.halt !== undefined) return;
      const { lastAnswersMs, closing } = context.input;
      enqueue.raise({ type: 'halt.near' }, { id: 'near', delay: lastAnswersMs });
      enqueue.raise({ type: 'halt.due' }, { id: 'due', delay: lastAnswersMs + closing.allMs });
    }),
    noteFigures: assign({ figures: 'range' }),
    countFailure: assign(({ context }) => ({ failed: context.failed + 1 })),
    beginQuestion: assign({ failed: 0 }),
    /** A step threw an error, or there is a bug. */
    noteThrown: assign(({ event }) => ({
      fault: { kind: 'threw', error: 'error' in event ? event.error : undefined } as const,
    })),
    /** The database did not answer, and the outcome needs its answer. */
    noteUnanswered: assign(({ event }) => {
      const answer = answerIn(event);
      if (answer === undefined || answer.kind === 'answered') return {};
      return { fault: { kind: 'threw', error: answer.error } as const };
    }),
    noteLate: assign(({ context }, at: OpeningStep | Question) => ({
      fault: { kind: 'late', at, afterMs: context.input.limits[at] } as const,
    })),
    stopTimers: enqueueActions(({ enqueue }) => {
      enqueue.cancel('near');
      enqueue.cancel('due');
    }),
  },
}).createMachine({
  id: 'runLife',
  context: ({ input }) => initialContext(input),
  initial: 'ready',
  on: {
    pause: { actions: 'notePause' },
    resume: { actions: 'noteResume' },
    'concurrency.change': { actions: 'noteConcurrency' },
    // Late errors from abandoned actors are ignored.
    'xstate.error.actor.*': {},
  },
  states: {
    ready: {
      on: {
        start: [
          { guard: 'isHaltedAlready', target: 'closing', actions: ['beginHalt', 'endHalted'] },
          { guard: 'isDryRun', target: 'opening.server' },
          { target: 'opening.credentials' },
        ],
        close: 'closed',
      },
    },
    opening: {
      initial: 'credentials',
      on: { halt: { target: 'closing', actions: ['beginHalt', 'endHalted'] } },
      states: {
        credentials: {
          invoke: {
            id: 'credentials',
            src: 'open',
            input: { step: 'credentials' },
            onDone: 'server',
            onError: { target: '#runLife.closing', actions: 'noteThrown' },
          },
          after: {
            credentials: {
              target: '#runLife.closing',
              actions: { type: 'noteLate', params: 'credentials' },
            },
          },
        },
        server: {
          invoke: {
            id: 'server',
            src: 'open',
            input: { step: 'server' },
            onDone: 'database',
            onError: { target: '#runLife.closing', actions: 'noteThrown' },
          },
          after: {
            server: { target: '#runLife.closing', actions: { type: 'noteLate', params: 'server' } },
          },
        },
        database: {
          invoke: {
            id: 'database',
            src: 'open',
            input: { step: 'database' },
            onDone: 'schema',
            onError: { target: '#runLife.closing', actions: 'noteThrown' },
          },
          after: {
            database: { target: '#runLife.closing', actions: { type: 'noteLate', params: 'database' } },
          },
        },
        schema: {
          invoke: {
            id: 'schema',
            src: 'open',
            input: { step: 'schema' },
            onDone: [{ guard: 'isDryRun', target: '#runLife.counting' }, { target: 'property' }],
            onError: { target: '#runLife.closing', actions: 'noteThrown' },
          },
          after: {
            schema: { target: '#runLife.closing', actions: { type: 'noteLate', params: 'schema' } },
          },
        },
        property: {
          invoke: {
            id: 'property',
            src: 'open',
            input: { step: 'property' },
            onDone: 'run',
            onError: { target: '#runLife.closing', actions: 'noteThrown' },
          },
          after: {
            property: { target: '#runLife.closing', actions: { type: 'noteLate', params: 'property' } },
          },
        },
        run: {
          invoke: {
            id: 'run',
            src: 'open',
            input: { step: 'run' },
            onDone: 'budgets',
            onError: { target: '#runLife.closing', actions: 'noteThrown' },
          },
          after: {
            run: { target: '#runLife.closing', actions: { type: 'noteLate', params: 'run' } },
          },
        },
        budgets: {
          on: { halt: { target: '#runLife.finishing', actions: ['beginHalt', 'endHalted'] } },
          invoke: {
            id: 'budgets',
            src: 'open',
            input: { step: 'budgets' },
            onDone: '#runLife.running',
            onError: { target: '#runLife.closing', actions: 'noteThrown' },
          },
          after: {
            budgets: { target: '#runLife.closing', actions: { type: 'noteLate', params: 'budgets' } },
          },
        },
      },
    },
    running: {
      invoke: {
        id: 'execution',
        src: 'execute',
        input: ({ context }) => context.wishes,
        onError: { target: 'closing', actions: 'noteThrown' },
      },
      on: {
        pause: { actions: ['notePause', 'passOn'] },
        resume: { actions: ['noteResume', 'passOn'] },
        'concurrency.change': { actions: ['noteConcurrency', 'passOn'] },
        halt: [{ guard: 'isHalting' }, { actions: ['beginHalt', 'passOn'] }],
        'execution.ended': [
          { guard: 'endsWellWithHungCommit', target: 'finishing.tidying', actions: 'noteEnding' },
          { guard: 'hasHungCommit', target: 'finishing.reading', actions: 'noteEnding' },
          { target: 'finishing', actions: 'noteEnding' },
        ],
        'execution.broke': { target: 'closing', actions: 'noteThrown' },
        'halt.near': { target: 'closing', actions: 'endHalted' },
      },
    },
    finishing: {
      initial: 'recording',
      on: {
        halt: [{ guard: 'isHalting' }, { actions: 'beginHalt' }],
        'halt.near': { target: 'closing', actions: 'endHalted' },
      },
      states: {
        recording: {
          invoke: {
            id: 'record',
            src: 'ask',
            input: ({ context: { ending } }) => ({ question: 'record', ending }),
            onDone: [
              { guard: 'mayTidy', target: 'tidying', actions: 'beginQuestion' },
              { guard: 'isAnswered', target: 'reading', actions: 'beginQuestion' },
              { guard: 'mayAskAgain', target: 'recordingLater', actions: 'countFailure' },
              { guard: 'endsWell', target: '#runLife.closing', actions: 'noteUnanswered' },
              { target: '#runLife.closing' },
            ],
            onError: { target: '#runLife.closing', actions: 'noteThrown' },
          },
          after: {
            record: [
              {
                guard: 'endsWell',
                target: '#runLife.closing',
                actions: { type: 'noteLate', params: 'record' },
              },
              { target: '#runLife.closing' },
            ],
          },
        },
        recordingLater: {
          on: { halt: { target: 'recording', actions: 'beginHalt' } },
          after: { retry: 'recording' },
        },
        tidying: {
          on: { halt: { target: 'reading', actions: 'beginHalt' } },
          invoke: {
            id: 'tidy',
            src: 'ask',
            input: ({ context: { ending } }) => ({ question: 'tidy', ending }),
            // All rows have been fetched. Unfinished tidying is left to the next run.
            onDone: 'reading',
            onError: 'reading',
          },
          after: { tidy: 'reading' },
        },
        reading: {
          invoke: {
            id: 'read',
            src: 'ask',
            input: ({ context: { ending } }) => ({ question: 'read', ending }),
            onDone: [
              { guard: 'isAnswered', target: '#runLife.closing', actions: 'noteFigures' },
              { guard: 'mayAskAgain', target: 'readingLater', actions: 'countFailure' },
              { guard: 'endsWell', target: '#runLife.closing', actions: 'noteUnanswered' },
              { target: '#runLife.closing' },
            ],
            onError: { target: '#runLife.closing', actions: 'noteThrown' },
          },
          after: {
            read: [
              {
                guard: 'endsWell',
                target: '#runLife.closing',
                actions: { type: 'noteLate', params: 'read' },
              },
              { target: '#runLife.closing' },
            ],
          },
        },
        readingLater: {
          on: { halt: { target: 'reading', actions: 'beginHalt' } },
          after: { retry: 'reading' },
        },
      },
    },
    counting: {
      on: { halt: { target: 'closing', actions: ['beginHalt', 'endHalted'] } },
      invoke: {
        id: 'count',
        src: 'ask',
        input: { question: 'count', ending: undefined },
        onDone: { target: 'closing', actions: 'noteUnanswered' },
        onError: { target: 'closing', actions: 'noteThrown' },
      },
      after: { count: { target: 'closing', actions: { type: 'noteLate', params: 'count' } } },
    },
    closing: {
      on: {
        halt: [{ guard: 'isHalting' }, { actions: 'beginHalt' }],
        'halt.due': 'ended',
      },
      invoke: {
        id: 'closeAll',
        src: 'closeAll',
        input: ({ context }) => closeInput(context),
        onDone: 'ended',
        onError: 'ended',
      },
      after: { closeAll: 'ended' },
    },
    ended: {
      entry: 'stopTimers',
      on: { close: 'closed' },
    },
    closed: { type: 'final' },
  },
});

export type RunLifeActor = ActorRefFrom<typeof runLifeMachine>;
export type RunLifeSnapshot = SnapshotFrom<typeof runLifeMachine>;
