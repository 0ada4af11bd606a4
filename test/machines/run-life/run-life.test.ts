// Holds invariants 5 of SPEC.md.
/** The life of a run: what is told of it in the end, what it keeps in mind, and every edge on the real machine. */
import { expect, test } from 'vitest';
import { fromCallback, fromPromise } from 'xstate';
import {
  closeInput,
  haltShares,
  type LifeResult,
  type OpeningStep,
  type Question,
  type RunLifeEvent,
} from '../../../src/machines/run-life/context.ts';
import { type RunLifeSnapshot, runLifeMachine } from '../../../src/machines/run-life/run-life.ts';
import { type World, walkEveryEdge } from '../support/paths.ts';
import { createRig, Mailboxes } from '../support/rig.ts';
import * as life from '../tables/run-life.ts';
import { stateOf } from '../tables/table.ts';

const keysOf = <K extends string>(record: Readonly<Record<K, unknown>>): K[] => Object.keys(record) as K[];
const built = life.statesOf(runLifeMachine);
const states: Readonly<Record<string, RunLifeSnapshot>> = { ...built.states, ...built.variants };
const stateNamed = (name: string): RunLifeSnapshot => {
  const state = states[name];
  if (state === undefined) throw new Error(`there is no state ${name}`);
  return state;
};

const ASKED = { status: 'halted', reason: life.CASES.halt.reason } as const;
const BEFORE = { status: 'halted', reason: life.CASES['start: halted already'].halt } as const;
const COMPLETE = { status: 'complete' } as const;
const away = { kind: 'threw', error: new Error('reset') } as const;
const refused = { kind: 'threw', error: new Error('read only') } as const;
const late = (at: OpeningStep | Question) => ({ kind: 'late', at, afterMs: life.INPUT.limits[at] }) as const;
const OWN = { figures: 'own', fault: undefined } as const;
const { 'execution.ended: halted': quota, 'execution.ended: failed': failed } = life.CASES;

/** What is told in the end, by the state it was in and what came. */
const TOLD: readonly (readonly [
  what: string,
  state: string,
  came: readonly life.Case[],
  told: LifeResult,
])[] = [
  ['halted before it began', 'ready', ['start: halted already'], { ...OWN, ending: BEFORE }],
  ...life.STEPS.flatMap((step) => [
    // What has begun is recorded first.
    ...(step === 'budgets'
      ? ([
          [
            'halted at its last step',
            `opening.${step}`,
            ['halt', 'xstate.done.actor: record answered', 'xstate.done.actor: read answered'],
            { ending: ASKED, figures: 'range', fault: undefined },
          ],
        ] as const)
      : ([
          [
            'halted while it opens: what it has done, nothing',
            `opening.${step}`,
            ['halt'],
            { ...OWN, ending: ASKED },
          ],
        ] as const)),
    [
      'a step throws',
      `opening.${step}`,
      [`xstate.error.actor: ${step}`],
      { ending: undefined, figures: 'own', fault: { kind: 'threw', error: new Error(`${step} broke`) } },
    ] as const,
    [
      'a step takes too long',
      `opening.${step}`,
      [`after ${step}`],
      { ending: undefined, figures: 'own', fault: late(step) },
    ] as const,
  ]),
  ['its machines are not to be halted', 'running, halting', ['halt.near'], { ...OWN, ending: ASKED }],
  [
    'all is there',
    'finishing.reading',
    ['xstate.done.actor: read answered'],
    { ending: COMPLETE, figures: 'range', fault: undefined },
  ],
  [
    'all is there, a halt came last',
    'finishing.reading',
    ['halt', 'xstate.done.actor: read answered'],
    { ending: COMPLETE, figures: 'range', fault: undefined },
  ],
  [
    'all may be there, but a halt came and the database said nothing',
    'finishing.reading',
    ['halt', 'halt.near'],
    { ...OWN, ending: ASKED },
  ],
  [
    'nothing is recorded',
    'finishing.recording',
    ['after record'],
    { ending: COMPLETE, figures: 'own', fault: late('record') },
  ],
  [
    'recording is refused',
    'finishing.recording',
    ['xstate.done.actor: record refused'],
    { ending: COMPLETE, figures: 'own', fault: refused },
  ],
  [
    'recording is in vain',
    'finishing.recording, the last attempt',
    ['xstate.done.actor: record away'],
    { ending: COMPLETE, figures: 'own', fault: away },
  ],
  [
    'nothing is read',
    'finishing.reading',
    ['after read'],
    { ending: COMPLETE, figures: 'own', fault: late('read') },
  ],
  [
    'reading is refused',
    'finishing.reading',
    ['xstate.done.actor: read refused'],
    { ending: COMPLETE, figures: 'own', fault: refused },
  ],
  [
    'reading is in vain',
    'finishing.reading, the last attempt',
    ['xstate.done.actor: read away'],
    { ending: COMPLETE, figures: 'own', fault: away },
  ],
  ...(['after record', 'xstate.done.actor: record refused', 'halt.near'] as const).flatMap((name) => [
    [
      'a failed run does without the table’s word',
      'finishing.recording, failed',
      [name],
      { ...OWN, ending: failed.ending },
    ] as const,
    [
      'so does one that halted by itself',
      'finishing.recording, no quota is left',
      [name],
      { ...OWN, ending: quota.ending },
    ] as const,
  ]),
  [
    'a halt changes nothing about a failure',
    'finishing.recording, failed',
    ['halt', 'halt.near'],
    { ...OWN, ending: failed.ending },
  ],
  [
    'nor about a quota',
    'finishing.recording, no quota is left',
    ['halt', 'halt.near'],
    { ...OWN, ending: quota.ending },
  ],
  [
    'nothing is read of a run that halted by itself',
    'finishing.reading, no quota is left',
    ['after read'],
    { ...OWN, ending: quota.ending },
  ],
  [
    'reading is refused to it',
    'finishing.reading, no quota is left',
    ['xstate.done.actor: read refused'],
    { ...OWN, ending: quota.ending },
  ],
  ['a dry run has counted', 'counting', ['xstate.done.actor: count answered'], { ...OWN, ending: undefined }],
  [
    'a dry run has not',
    'counting',
    ['xstate.done.actor: count away'],
    { ending: undefined, figures: 'own', fault: away },
  ],
  [
    'a dry run waits in vain',
    'counting',
    ['after count'],
    { ending: undefined, figures: 'own', fault: late('count') },
  ],
];

function told(snapshot: RunLifeSnapshot, came: readonly life.Case[]): LifeResult {
  const events = came.map((name): RunLifeEvent => life.CASES[name]);
  const { ending, figures, fault } = closeInput(life.send(snapshot, ...events).context);
  return { ending, figures, fault };
}

test.each(TOLD)('%s (%s)', (_, state, came, expectedToBeTold) => {
  expect(told(stateNamed(state), came)).toEqual(expectedToBeTold);
});

/** Wishes that are kept until there is somebody to ask. */
const wishesAfter = (state: RunLifeSnapshot) =>
  (['pause', 'concurrency.change', 'resume'] as const).map(
    (_, index, all) =>
      life.send(state, ...all.slice(0, index + 1).map((name) => life.CASES[name])).context.wishes,
  );
const WISHES = [
  { isPaused: true, maxConcurrency: undefined },
  { isPaused: true, maxConcurrency: 5 },
  { isPaused: false, maxConcurrency: 5 },
];
test.each(['ready', 'opening.database', 'running'])('what is asked for is kept: %s', (state) => {
  expect(wishesAfter(stateNamed(state))).toEqual(WISHES);
});

test('a closed life has ended for good', () => {
  expect(life.send(stateNamed('ended'), life.CASES.close).status).toBe('done');
});

test('a halt’s deadline is shared out: less is left for each next thing, and nothing is over', () => {
  const { executionMs, nearMs, closingMs } = haltShares(5_000);
  expect(executionMs).toBeLessThan(nearMs);
  expect(nearMs + closingMs).toBe(5_000);
  expect(closeInput(stateNamed('closing, halting').context).withinMs).toBeLessThanOrEqual(closingMs);
});

const mailboxes = new Mailboxes();
const never = <T>(): Promise<T> => new Promise(() => undefined);
/** Nobody works: what becomes of what is invoked is said by the walk. */
const walked = runLifeMachine.provide({
  actors: {
    open: fromPromise(({ input, self }) => {
      mailboxes.noteStart(self.id, input);
      return never();
    }),
    ask: fromPromise(({ input, self }) => {
      mailboxes.noteStart(self.id, input);
      return never();
    }),
    closeAll: fromPromise(({ input, self }) => {
      mailboxes.noteStart(self.id, input);
      return never();
    }),
    execute: fromCallback(({ input, self, receive }) => {
      mailboxes.noteStart(self.id, input);
      receive((event) => mailboxes.note({ to: self.id, event }));
    }),
  },
});

/** The other wishes are kept or passed on, wherever it is, and change nothing else. */
interface Notes {
  readonly halts: number;
}

test.each(['run', 'dryRun'] as const)('every edge of a %s, walked by the real machine', async (purpose) => {
  const input = { ...life.INPUT, purpose, retryDelaysMs: [250] };
  const walk = await walkEveryEdge({
    machine: walked,
    input,
    notes: { halts: 0 } as Notes,
    events: ({ machine, notes }: World<RunLifeSnapshot, Notes>) => {
      const state = stateOf(machine);
      const mayCome = (name: life.Case): boolean => {
        if (name.startsWith('after ')) return false;
        if (name.startsWith('start')) return state === 'ready';
        if (name === 'close') return state === 'ready' || state === 'ended';
        if (name === 'halt') return notes.halts === 0;
        if (name.startsWith('execution.')) return state === 'running';
        return isDue(machine, name);
      };
      return keysOf(life.CASES)
        .filter(mayCome)
        .map((name): RunLifeEvent => life.CASES[name]);
    },
    note: (notes, event) => ({ halts: notes.halts + (event?.type === 'halt' ? 1 : 0) }),
    check: ({ machine, timers }) => {
      const { halt, ending, fault } = machine.context;
      const isOver = machine.matches('ended') || machine.matches('closed');
      // A deadline that nobody counts, and one that is counted when all is over.
      if (halt !== undefined && !isOver) expect(timers.length).toBeGreaterThan(0);
      if (isOver) expect(timers).toEqual([]);
      // Something is to be told in the end.
      if (machine.matches('ended') && purpose === 'run') expect(ending ?? fault).toBeDefined();
      // Nothing is opened, asked or run any more by one that closes.
      if (machine.matches('closing')) expect(Object.keys(machine.children)).toEqual(['closeAll']);
      if (isOver) expect(Object.keys(machine.children)).toEqual([]);
    },
    createRig: () => createRig(walked, input, mailboxes),
  });
  console.info(`${purpose}: ${walk.states} states, ${walk.edges} edges`);
  expect(walk.values.size).toBe(purpose === 'run' ? 17 : 8);
});

/** Whether what says so is under way. */
const isDue = (machine: RunLifeSnapshot, name: string): boolean => {
  const event: RunLifeEvent = life.CASES[name as life.Case];
  return 'actorId' in event && event.actorId in machine.children;
};
