/** What a run's life does with every event in every state. */
import type { OpeningStep } from '../../../src/machines/run-life/context.ts';
import type { ControlCase, End, InvokedCase, State } from './run-life.ts';
import type { Expected } from './table.ts';

type To = Expected<State | End>;
/** Wishes and deadlines have to be answered for one by one; of what is invoked, whatever is not named is ignored. */
export type Row = Readonly<Record<ControlCase, To> & Partial<Record<InvokedCase, To>>>;

const SET = ['set halt.near', 'set halt.due'] as const;
const ARM = ['cancel near', 'cancel due', ...SET] as const;
const DISARM = ['cancel near', 'cancel due'] as const;

/** In most states the machines have not begun, or have ended; and only what was halted has deadlines. */
const WISHES = { pause: ['stay'], resume: 'ignored', 'concurrency.change': ['stay'] } as const;
const UNSTARTED = {
  'execution.ended': 'ignored',
  'execution.ended: a commit hangs': 'ignored',
  'execution.ended: halted, a commit hangs': 'ignored',
  'execution.ended: halted': 'ignored',
  'execution.ended: failed': 'ignored',
  'execution.broke': 'ignored',
} as const;
const STARTED = { start: 'ignored', 'start: halted already': 'ignored' } as const;
const NO_DEADLINE = { 'halt.near': 'ignored', 'halt.due': 'ignored' } as const;

/** One step of opening: what it leads to, and what ends it. */
function step(name: OpeningStep, next: To, onHalt: To): Row {
  const toClosing = [
    'closing',
    `stop ${name}`,
    'start closeAll',
    `cancel after ${name}`,
    'set after closeAll',
  ] as const;
  return {
    ...WISHES,
    ...UNSTARTED,
    ...STARTED,
    ...NO_DEADLINE,
    close: 'ignored',
    halt: onHalt,
    [`xstate.done.actor: ${name}`]: next,
    [`xstate.error.actor: ${name}`]: toClosing,
    [`after ${name}`]: toClosing,
  };
}

/** A halt while a step is under way: it is given up. */
const givesUp = (name: OpeningStep): To => [
  'closing',
  `stop ${name}`,
  'start closeAll',
  `cancel after ${name}`,
  ...ARM,
  'set after closeAll',
];
const follows = (name: OpeningStep, next: OpeningStep): To => [
  `opening.${next}`,
  `stop ${name}`,
  `start ${next}`,
  `cancel after ${name}`,
  `set after ${next}`,
];

/** The end of a question, whatever its answer. */
const closes = (question: string): To => [
  'closing',
  `stop ${question}`,
  'start closeAll',
  `cancel after ${question}`,
  'set after closeAll',
];
const asks = (state: State, question: string, next: string, ...more: readonly string[]): To => [
  state,
  `stop ${question}`,
  `start ${next}`,
  `cancel after ${question}`,
  ...more,
  `set after ${next}`,
];
const waits = (state: State, question: string): To => [
  state,
  `stop ${question}`,
  `cancel after ${question}`,
  'set after retry',
];
const asksAgain = (state: State, question: string, ...more: readonly string[]): To => [
  state,
  `start ${question}`,
  'cancel after retry',
  ...more,
  `set after ${question}`,
];

const RUNNING: Row = {
  ...STARTED,
  pause: ['stay', 'execution pause'],
  resume: ['stay', 'execution resume'],
  'concurrency.change': ['stay', 'execution concurrency.change'],
  halt: ['stay', 'execution halt', ...ARM],
  close: 'ignored',
  'execution.ended': ['finishing.recording', 'stop execution', 'start record', 'set after record'],
  'execution.ended: a commit hangs': ['finishing.tidying', 'stop execution', 'start tidy', 'set after tidy'],
  'execution.ended: halted, a commit hangs': [
    'finishing.reading',
    'stop execution',
    'start read',
    ...SET,
    'set after read',
  ],
  'execution.ended: halted': [
    'finishing.recording',
    'stop execution',
    'start record',
    ...SET,
    'set after record',
  ],
  'execution.ended: failed': [
    'finishing.recording',
    'stop execution',
    'start record',
    ...SET,
    'set after record',
  ],
  'execution.broke': ['closing', 'stop execution', 'start closeAll', 'set after closeAll'],
  'halt.near': ['closing', 'stop execution', 'start closeAll', 'set after closeAll'],
  'halt.due': 'ignored',
  'xstate.error.actor: execution': ['closing', 'stop execution', 'start closeAll', 'set after closeAll'],
};

const FINISHING = {
  ...WISHES,
  ...UNSTARTED,
  ...STARTED,
  close: 'ignored',
  'halt.due': 'ignored',
} as const;

const RECORDING: Row = {
  ...FINISHING,
  halt: ['stay', ...ARM],
  'halt.near': closes('record'),
  'xstate.done.actor: record answered': asks('finishing.tidying', 'record', 'tidy'),
  'xstate.done.actor: record away': waits('finishing.recordingLater', 'record'),
  'xstate.done.actor: record refused': closes('record'),
  'xstate.error.actor: record': closes('record'),
  'after record': closes('record'),
};

const READING: Row = {
  ...FINISHING,
  halt: ['stay', ...ARM],
  'halt.near': closes('read'),
  'xstate.done.actor: read answered': closes('read'),
  'xstate.done.actor: read away': waits('finishing.readingLater', 'read'),
  'xstate.done.actor: read refused': closes('read'),
  'xstate.error.actor: read': closes('read'),
  'after read': closes('read'),
};

const ENDED = ['ended', 'stop closeAll', 'cancel after closeAll', ...DISARM] as const;
const CLOSING: Row = {
  ...FINISHING,
  halt: ['stay', ...ARM],
  'halt.near': 'ignored',
  'halt.due': ENDED,
  'xstate.done.actor: closeAll': ENDED,
  'xstate.error.actor: closeAll': ENDED,
  'after closeAll': ENDED,
};

const READY: Row = {
  ...WISHES,
  ...UNSTARTED,
  ...NO_DEADLINE,
  start: ['opening.credentials', 'start credentials', 'set after credentials'],
  'start: halted already': ['closing', 'start closeAll', ...ARM, 'set after closeAll'],
  // There is nothing to halt.
  halt: 'ignored',
  close: ['closed'],
};

const SCHEMA = step('schema', follows('schema', 'property'), givesUp('schema'));

export const TABLE: Readonly<Record<State, Row>> = {
  ready: READY,
  'opening.credentials': step('credentials', follows('credentials', 'server'), givesUp('credentials')),
  'opening.server': step('server', follows('server', 'database'), givesUp('server')),
  'opening.database': step('database', follows('database', 'schema'), givesUp('database')),
  'opening.schema': SCHEMA,
  'opening.property': step('property', follows('property', 'run'), givesUp('property')),
  'opening.run': step('run', follows('run', 'budgets'), givesUp('run')),
  'opening.budgets': step(
    'budgets',
    ['running', 'stop budgets', 'start execution', 'cancel after budgets'],
    // The run has its row by now.
    asks('finishing.recording', 'budgets', 'record', ...ARM),
  ),
  running: RUNNING,
  'finishing.recording': RECORDING,
  'finishing.recordingLater': {
    ...FINISHING,
    halt: asksAgain('finishing.recording', 'record', ...ARM),
    'halt.near': ['closing', 'start closeAll', 'cancel after retry', 'set after closeAll'],
    'after retry: of the record': asksAgain('finishing.recording', 'record'),
  },
  'finishing.tidying': {
    ...FINISHING,
    halt: asks('finishing.reading', 'tidy', 'read', ...ARM),
    'halt.near': closes('tidy'),
    'xstate.done.actor: tidy': asks('finishing.reading', 'tidy', 'read'),
    'xstate.error.actor: tidy': asks('finishing.reading', 'tidy', 'read'),
    'after tidy': asks('finishing.reading', 'tidy', 'read'),
  },
  'finishing.reading': READING,
  'finishing.readingLater': {
    ...FINISHING,
    halt: asksAgain('finishing.reading', 'read', ...ARM),
    'halt.near': ['closing', 'start closeAll', 'cancel after retry', 'set after closeAll'],
    'after retry: of the reading': asksAgain('finishing.reading', 'read'),
  },
  counting: {
    ...FINISHING,
    halt: ['closing', 'stop count', 'start closeAll', 'cancel after count', ...ARM, 'set after closeAll'],
    'halt.near': 'ignored',
    'xstate.done.actor: count answered': closes('count'),
    'xstate.done.actor: count away': closes('count'),
    'xstate.error.actor: count': closes('count'),
    'after count': closes('count'),
  },
  closing: CLOSING,
  ended: { ...FINISHING, halt: 'ignored', 'halt.near': 'ignored', close: ['closed'] },
};

/** Who is halting already is not halted again, asks no second time, and tidies nothing. */
const RECORDING_HALTING: Row = {
  ...RECORDING,
  halt: 'ignored',
  'xstate.done.actor: record answered': asks('finishing.reading', 'record', 'read'),
  'xstate.done.actor: record away': closes('record'),
};
/** A run that has not ended well has nothing to tidy. */
const RECORDING_UNWELL: Row = {
  ...RECORDING,
  'xstate.done.actor: record answered': asks('finishing.reading', 'record', 'read'),
};

export const VARIANTS: Readonly<Record<string, Row>> = {
  'ready, of a dry run': { ...READY, start: ['opening.server', 'start server', 'set after server'] },
  'opening.schema, of a dry run': {
    ...SCHEMA,
    'xstate.done.actor: schema': [
      'counting',
      'stop schema',
      'start count',
      'cancel after schema',
      'set after count',
    ],
  },
  'running, halting': {
    ...RUNNING,
    halt: 'ignored',
    'execution.ended: a commit hangs': [
      'finishing.reading',
      'stop execution',
      'start read',
      'set after read',
    ],
    'execution.ended: halted, a commit hangs': [
      'finishing.reading',
      'stop execution',
      'start read',
      'set after read',
    ],
    // Its deadline counts already.
    'execution.ended: halted': RUNNING['execution.ended'],
    'execution.ended: failed': RUNNING['execution.ended'],
  },
  'finishing.recording, halting': RECORDING_HALTING,
  'finishing.recording, complete, halting': RECORDING_HALTING,
  'finishing.recording, no quota is left': RECORDING_UNWELL,
  'finishing.recording, failed': RECORDING_UNWELL,
  'finishing.recording, the last attempt': {
    ...RECORDING,
    'xstate.done.actor: record away': closes('record'),
  },
  'finishing.reading, halting': {
    ...READING,
    halt: 'ignored',
    'xstate.done.actor: read away': closes('read'),
  },
  'finishing.reading, no quota is left': READING,
  'finishing.reading, the last attempt': { ...READING, 'xstate.done.actor: read away': closes('read') },
  'closing, halting': { ...CLOSING, halt: 'ignored' },
};
