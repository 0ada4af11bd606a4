/**
 * Every state × every event of the machines. The tables are `Record`s over the machines' own types: a new state or
 * event does not compile until somebody has said what is to happen.
 */
import { afterAll, describe, expect, test, vi } from 'vitest';
import { batchWorkerMachine } from '../../src/machines/batch-worker/batch-worker.ts';
import { concurrencyControllerMachine } from '../../src/machines/concurrency/concurrency-controller.ts';
import { coordinatorMachine } from '../../src/machines/coordinator/coordinator.ts';
import { leaseKeeperMachine } from '../../src/machines/lease-keeper/lease-keeper.ts';
import type { ControlEvent, GrantEvent, LimiterEvent, WorkerReport } from '../../src/machines/messages.ts';
import { rateLimiterMachine } from '../../src/machines/rate-limiter/rate-limiter.ts';
import { stateText } from './support/paths.ts';
import { createBystander } from './support/refs.ts';
import { failed, MachineSystem } from './support/system.ts';
import * as worker from './tables/batch-worker.ts';
import { TABLE as WORKER_TABLE } from './tables/batch-worker-table.ts';
import * as controller from './tables/concurrency-controller.ts';
import { TABLE as CONTROLLER_TABLE } from './tables/concurrency-controller-table.ts';
import * as coordinator from './tables/coordinator.ts';
import { TABLE as COORDINATOR_TABLE } from './tables/coordinator-table.ts';
import * as keeper from './tables/lease-keeper.ts';
import { TABLE as KEEPER_TABLE } from './tables/lease-keeper-table.ts';
import * as limiter from './tables/rate-limiter.ts';
import { TABLE as LIMITER_TABLE } from './tables/rate-limiter-table.ts';
import { outcomeOf, stateOf } from './tables/table.ts';

const toLimiter = createBystander<LimiterEvent>('limiter', () => {});
const toCoordinator = createBystander<WorkerReport>('coordinator', () => {});
const toControlled = createBystander<ControlEvent>('coordinator', () => {});
const toClient = createBystander<GrantEvent>('client', () => {});
afterAll(() => {
  for (const bystander of [toLimiter, toCoordinator, toControlled, toClient]) bystander.stop();
});

/** The keys of a record, with their types. */
const keysOf = <K extends string>(record: Readonly<Record<K, unknown>>): K[] => Object.keys(record) as K[];

test('every case is an event of the type that it is named after', () => {
  for (const cases of [
    worker.CASES,
    limiter.casesFor(toClient.ref),
    controller.CASES,
    keeper.CASES,
    coordinator.CASES,
  ]) {
    for (const [name, { type }] of Object.entries(cases)) {
      const named = name.replace(/: .*$/, '').replace(/^after /, 'xstate.after.');
      expect(`${type}.`.startsWith(`${named}.`)).toBe(true);
    }
  }
});

describe('batch worker', () => {
  const states = worker.fixture({
    workerId: 'w0',
    assignmentId: 'run:w0.0',
    coordinator: toCoordinator.ref,
    limiter: toLimiter.ref,
    scopes: ['site:a'],
    backoff: { baseMs: 100, maxMs: 1_000 },
  });
  describe.each(keysOf(WORKER_TABLE))('%s', (state) => {
    test('is the state it is called', () => expect(stateOf(states[state])).toBe(state));
    test.each(keysOf(worker.CASES))('%s', (name) => {
      const outcome = outcomeOf(batchWorkerMachine, states[state], worker.CASES[name]);
      expect(outcome).toEqual(WORKER_TABLE[state][name]);
    });
  });
});

describe('rate limiter', () => {
  const states = limiter.fixture(toClient.ref);
  const cases = limiter.casesFor(toClient.ref);
  describe.each(keysOf(LIMITER_TABLE))('%s', (state) => {
    test('is the state it is called', () => expect(stateOf(states[state])).toBe(state.replace(/,.*/, '')));
    test.each(keysOf(cases))('%s', (name) => {
      expect(outcomeOf(rateLimiterMachine, states[state], cases[name])).toEqual(LIMITER_TABLE[state][name]);
    });
  });
});

describe('concurrency controller', () => {
  const states = controller.fixture(controller.inputFor(toControlled.ref));
  describe.each(keysOf(CONTROLLER_TABLE))('%s', (state) => {
    test('is the state it is called', () => expect(stateOf(states[state])).toBe(state));
    test.each(keysOf(controller.CASES))('%s', (name) => {
      const outcome = outcomeOf(concurrencyControllerMachine, states[state], controller.CASES[name]);
      expect(outcome).toEqual(CONTROLLER_TABLE[state][name]);
    });
  });
});

describe('lease keeper', () => {
  const states = keeper.fixture();
  describe.each(keysOf(KEEPER_TABLE))('%s', (state) => {
    test('is the state it is called', () => expect(stateOf(states[state])).toBe(state));
    test.each(keysOf(keeper.CASES))('%s', (name) => {
      const outcome = outcomeOf(leaseKeeperMachine, states[state], keeper.CASES[name]);
      expect(outcome).toEqual(KEEPER_TABLE[state][name]);
    });
  });
});

describe('coordinator', () => {
  const input = coordinator.inputFor(toLimiter.ref);
  const states = coordinator.fixture(input);
  describe.each(keysOf(COORDINATOR_TABLE))('%s', (state) => {
    test('is the state it is called', () => expect(stateOf(states[state])).toBe(state));
    test.each(keysOf(coordinator.CASES))('%s', (name) => {
      const outcome = outcomeOf(coordinatorMachine, states[state], coordinator.CASES[name]);
      expect(outcome).toEqual(COORDINATOR_TABLE[state][name]);
    });
  });
});

/** Brings a real run to each of its ends. */
const ENDS: Record<coordinator.End, (system: MachineSystem) => void> = {
  complete: (system) => system.finish(),
  completeWithFailures: (system) => system.finish(() => failed(true)),
  halted: (system) => {
    system.coordinator.send(coordinator.CASES.halt);
    for (const call of [...system.open]) call.fail({ kind: 'aborted' });
  },
  failed: (system) => {
    system.coordinator.send(coordinator.CASES.fail);
    for (const call of [...system.open]) call.fail({ kind: 'aborted' });
  },
};

test.each(keysOf(ENDS))('coordinator %s: takes no event any more', (end) => {
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
  const system = new MachineSystem({ slices: 2 }).start();
  try {
    ENDS[end](system);
    expect(system.snapshot.value).toBe(end);
    const before = stateText(system.snapshot);
    for (const event of Object.values(coordinator.CASES)) system.coordinator.send(event);
    expect(stateText(system.snapshot)).toBe(before);
    expect(system.clock.pending).toEqual([]);
  } finally {
    system.stop();
    warn.mockRestore();
  }
});
