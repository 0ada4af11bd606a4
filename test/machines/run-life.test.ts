/**
 * The life of a run: every state × every event, what it keeps in mind, every edge on the real machine, and whether a
 * transition that is left out would be noticed.
 */
import { describe, expect, test } from 'vitest';
import { type AnyStateMachine, createMachine, fromCallback, fromPromise, type MachineConfig } from 'xstate';
import { type RunLifeSnapshot, runLifeMachine } from '../../src/machines/run-life.ts';
import { closeInput, haltShares, type RunLifeEvent } from '../../src/machines/run-life-context.ts';
import { type World, walkEveryEdge } from './support/paths.ts';
import { createRig, Mailboxes } from './support/rig.ts';
import * as life from './tables/run-life.ts';
import { type Row, TABLE, VARIANTS } from './tables/run-life-table.ts';
import { outcomeOf, stateOf } from './tables/table.ts';

const keysOf = <K extends string>(record: Readonly<Record<K, unknown>>): K[] => Object.keys(record) as K[];
const states: Readonly<Record<string, RunLifeSnapshot>> = { ...life.fixture(), ...life.variants() };
const stateNamed = (name: string): RunLifeSnapshot => {
  const state = states[name];
  if (state === undefined) throw new Error(`there is no state ${name}`);
  return state;
};
const table: Readonly<Record<string, Row>> = { ...TABLE, ...VARIANTS };
const expected = (state: string, name: life.Case) => table[state]?.[name] ?? 'ignored';

test('every case is an event of the type that it is named after', () => {
  for (const [name, { type }] of Object.entries(life.CASES)) {
    const named = name.replace(/: .*$/, '').replace(/^after /, 'xstate.after.');
    expect(`${type}.`.startsWith(`${named}.`)).toBe(true);
  }
  expect(Object.keys(states).sort()).toEqual(Object.keys(table).sort());
});

/** The events that a machine does something else with than the table says, in one state. */
function differences(machine: typeof runLifeMachine, state: string): readonly life.Case[] {
  return keysOf(life.CASES).filter((name) => {
    const outcome = outcomeOf(machine, stateNamed(state), life.CASES[name]);
    return JSON.stringify(outcome) !== JSON.stringify(expected(state, name));
  });
}

test.each(keysOf(states))('%s, with every event', (state) => {
  expect(stateOf(stateNamed(state))).toBe(state.replace(/, .*/, ''));
  for (const name of differences(runLifeMachine, state)) {
    const outcome = outcomeOf(runLifeMachine, stateNamed(state), life.CASES[name]);
    expect({ name, outcome }).toEqual({ name, outcome: expected(state, name) });
  }
});

describe('what is told of it in the end', () => {
  const { halt, close } = life.CASES;
  const asked = halt.reason;
  const at = (state: string, ...events: readonly RunLifeEvent[]) =>
    closeInput(life.send(stateNamed(state), ...events).context);

  test('halted while it opens: halted, with what the run has done, which is nothing', () => {
    for (const step of life.STEPS) {
      const told = at(`opening.${step}`, halt);
      expect(told).toMatchObject({
        ending: { status: 'halted', reason: asked },
        figures: 'own',
        fault: undefined,
      });
    }
    const told = at('ready', life.CASES['start: halted already']);
    expect(told.ending).toEqual({ status: 'halted', reason: { kind: 'asked', reason: 'before' } });
  });

  test('a step that throws, or takes too long, is a fault', () => {
    for (const step of life.STEPS) {
      const { error } = life.CASES[`xstate.error.actor: ${step}`];
      expect(at(`opening.${step}`, life.CASES[`xstate.error.actor: ${step}`]).fault).toEqual({
        kind: 'threw',
        error,
      });
      const late = { kind: 'late', at: step, afterMs: life.INPUT.limits[step] };
      expect(at(`opening.${step}`, life.CASES[`after ${step}`]).fault).toEqual(late);
    }
  });

  test('the first halt counts, and what has ended otherwise before stays so', () => {
    const other = { type: 'halt', reason: { kind: 'asked', reason: 'another' } } as const;
    expect(at('running', halt, other, life.CASES['halt.near']).ending).toEqual({
      status: 'halted',
      reason: asked,
    });
    const failed = at('finishing.recording, failed', halt, life.CASES['halt.near']);
    expect(failed.ending).toMatchObject({ status: 'failed' });
    const quota = at('finishing.recording, no quota is left', halt, life.CASES['halt.near']);
    expect(quota.ending).toMatchObject({ status: 'halted', reason: { kind: 'quota' } });
  });

  test('all is there, and the database has not said so: with a halt halted, without one a fault', () => {
    expect(at('finishing.reading', halt, life.CASES['halt.near'])).toMatchObject({
      ending: { status: 'halted', reason: asked },
      figures: 'own',
    });
    expect(
      at('finishing.reading, the last attempt', life.CASES['xstate.done.actor: read away']).fault,
    ).toEqual({
      kind: 'threw',
      error: new Error('reset'),
    });
    expect(at('finishing.recording', life.CASES['after record']).fault).toMatchObject({ kind: 'late' });
  });

  test('a run that halted or failed by itself does without the table’s word', () => {
    for (const state of ['finishing.recording, failed', 'finishing.recording, no quota is left'] as const) {
      for (const name of ['xstate.done.actor: record refused', 'after record'] as const) {
        expect(at(state, life.CASES[name])).toMatchObject({ fault: undefined, figures: 'own' });
      }
    }
  });

  test('the figures are the range’s once they are read', () => {
    expect(at('finishing.reading', life.CASES['xstate.done.actor: read answered'])).toMatchObject({
      ending: { status: 'complete' },
      figures: 'range',
      fault: undefined,
    });
  });

  test('what was asked for before there was anybody to ask is kept', () => {
    const { context } = life.send(
      stateNamed('opening.database'),
      life.CASES.pause,
      life.CASES['concurrency.change'],
    );
    expect(context.wishes).toEqual({ isPaused: true, maxConcurrency: 5 });
    expect(life.send(stateNamed('ready'), life.CASES.pause, life.CASES.resume).context.wishes.isPaused).toBe(
      false,
    );
  });

  test('a closed life has ended for good', () => {
    expect(life.send(stateNamed('ended'), close).status).toBe('done');
  });

  test('a halt’s deadline is shared out: less is left for each next thing, and nothing is over', () => {
    const { executionMs, nearMs, closingMs } = haltShares(5_000);
    expect(executionMs).toBeLessThan(nearMs);
    expect(nearMs + closingMs).toBe(5_000);
    expect(at('closing, halting').withinMs).toBeLessThanOrEqual(closingMs);
  });
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

/** How often somebody may still wish something: each wish multiplies the states. */
interface Notes {
  readonly wishes: number;
}

test.each(['run', 'dryRun'] as const)('every edge of a %s, walked by the real machine', async (purpose) => {
  const input = { ...life.INPUT, purpose, retryDelaysMs: [250] };
  // The other wishes are kept or passed on wherever it is, and change nothing else.
  const wishes = ['start', 'start: halted already', 'halt', 'close'] as const;
  const walk = await walkEveryEdge({
    machine: walked,
    input,
    notes: { wishes: 0 } as Notes,
    events: ({ machine, notes }: World<RunLifeSnapshot, Notes>) => {
      const state = stateOf(machine);
      return keysOf(life.CASES)
        .filter((name) => !name.startsWith('after ') && !name.startsWith('halt.'))
        .filter((name) => name === 'start' || notes.wishes < 2 || !wishes.some((wish) => wish === name))
        .filter((name) => !['pause', 'resume', 'concurrency.change'].includes(name))
        .filter((name) => name in life.CONTROL || isDue(machine, name))
        .filter((name) => !name.startsWith('execution.') || state === 'running')
        .map((name) => life.CASES[name] as RunLifeEvent);
    },
    note: (notes, event) => ({
      wishes: notes.wishes + (wishes.some((wish) => life.CASES[wish].type === event?.type) ? 1 : 0),
    }),
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
  expect(walk.values.size).toBe(purpose === 'run' ? 18 : 8);
});

/** Whether what says so is under way. */
const isDue = (machine: RunLifeSnapshot, name: string): boolean => {
  const event: RunLifeEvent = life.CASES[name as life.Case];
  return 'actorId' in event && event.actorId in machine.children;
};

/** A chart as written, as far as it is read here. */
interface Chart {
  readonly on?: object;
  readonly after?: object;
  readonly invoke?: Chart;
  readonly states?: Readonly<Record<string, Chart>>;
  readonly onDone?: unknown;
  readonly onError?: unknown;
}

/** The same machine out of another chart: its names mean the same. */
function rebuilt(config: Chart): typeof runLifeMachine {
  const { StateMachine } = { StateMachine: runLifeMachine.constructor };
  return Reflect.construct(StateMachine, [config, runLifeMachine.implementations]);
}

describe('a transition that is left out', () => {
  /** The chart without its `skip`th way, and that way's name; undefined behind the last one. */
  function without(skip: number): { readonly name: string; readonly machine: AnyStateMachine } | undefined {
    let seen = 0;
    let name: string | undefined;
    const isSkipped = (what: string): boolean => {
      seen += 1;
      if (seen - 1 !== skip) return false;
      name = what;
      return true;
    };
    const ways = (given: unknown, what: string): unknown => {
      if (Array.isArray(given)) return given.filter((_, index) => !isSkipped(`${what} ${index}`));
      return given === undefined || isSkipped(what) ? undefined : given;
    };
    const each = (given: unknown, what: string): object =>
      Object.fromEntries(
        Object.entries(given ?? {})
          .map(([key, way]) => [key, ways(way, `${what} ${key}`)] as const)
          .filter(([, way]) => way !== undefined),
      );
    const node = (config: Chart, path: string): Chart => ({
      ...config,
      ...(config.on === undefined ? {} : { on: each(config.on, `${path} on`) }),
      ...(config.after === undefined ? {} : { after: each(config.after, `${path} after`) }),
      ...(config.invoke === undefined ? {} : { invoke: invoked(config.invoke, path) }),
      ...(config.states === undefined
        ? {}
        : {
            states: Object.fromEntries(
              Object.entries(config.states).map(([key, child]) => [key, node(child, `${path}.${key}`)]),
            ),
          }),
    });
    const invoked = ({ onDone, onError, ...rest }: Chart, path: string): Chart => {
      const done = ways(onDone, `${path} done`);
      const error = ways(onError, `${path} error`);
      return {
        ...rest,
        ...(done === undefined ? {} : { onDone: done }),
        ...(error === undefined ? {} : { onError: error }),
      };
    };
    const config = node(runLifeMachine.config, '');
    if (name === undefined) return undefined;
    const machine = createMachine(
      config as MachineConfig<never, never>,
      runLifeMachine.implementations as never,
    );
    return { name, machine };
  }

  test('each one is noticed by the table', () => {
    const missed: string[] = [];
    let count = 0;
    for (let mutant = without(0); mutant !== undefined; mutant = without(count)) {
      const { machine, name } = mutant;
      count += 1;
      // States of the whole chart are told to the one with a hole: they have the same names.
      const found = keysOf(states).some((state) => differences(machine, state).length > 0);
      if (!found) missed.push(name);
    }
    console.info(`${count} transitions`);
    expect(count).toBeGreaterThan(80);
    expect(missed).toEqual([]);
  });
});
