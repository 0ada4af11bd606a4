/**
 * Names in the charts. XState ignores an action it does not know, fires a delay it does not know at once, and says
 * nothing of either; its types let a wrong initial state or target through.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { AnyStateMachine, AnyStateNode } from 'xstate';
import { batchWorkerMachine } from '../../src/machines/batch-worker/batch-worker.ts';
import { concurrencyControllerMachine } from '../../src/machines/concurrency/concurrency-controller.ts';
import { coordinatorMachine } from '../../src/machines/coordinator/coordinator.ts';
import { leaseKeeperMachine } from '../../src/machines/lease-keeper/lease-keeper.ts';
import { rateLimiterMachine } from '../../src/machines/rate-limiter/rate-limiter.ts';
import { runLifeMachine } from '../../src/machines/run-life/run-life.ts';
import { verificationMachine } from '../../src/machines/verification/verification.ts';
import { importsOf } from '../support/imports.ts';

const MACHINES: readonly (readonly [string, AnyStateMachine])[] = [
  ['coordinator', coordinatorMachine],
  ['batch worker', batchWorkerMachine],
  ['rate limiter', rateLimiterMachine],
  ['lease keeper', leaseKeeperMachine],
  ['concurrency controller', concurrencyControllerMachine],
  ['run life', runLifeMachine],
  ['verification', verificationMachine],
];

interface Names {
  readonly actions: Set<string>;
  readonly guards: Set<string>;
  readonly delays: Set<string>;
  readonly actors: Set<string>;
}

function nodesOf(node: AnyStateNode): AnyStateNode[] {
  return [node, ...Object.values(node.states).flatMap((child) => nodesOf(child))];
}

/** `name`, `{ type: 'name' }`, a function written in place, or one made by `and` / `or` / `not` out of others. */
function collect(reference: unknown, names: Set<string>): void {
  if (typeof reference === 'string') names.add(reference);
  else if (typeof reference === 'function') {
    const parts: unknown = Reflect.get(reference, 'guards');
    if (Array.isArray(parts)) for (const part of parts) collect(part, names);
  } else if (typeof reference === 'object' && reference !== null && 'type' in reference) {
    collect(reference.type, names);
  }
}

function namesIn(machine: AnyStateMachine): Names {
  const names: Names = { actions: new Set(), guards: new Set(), delays: new Set(), actors: new Set() };
  for (const node of nodesOf(machine.root)) {
    const transitions = [...[...node.transitions.values()].flat(), ...(node.always ?? [])];
    for (const action of [...node.entry, ...node.exit, ...transitions.flatMap(({ actions }) => actions)]) {
      collect(action, names.actions);
    }
    for (const { guard } of transitions) collect(guard, names.guards);
    for (const { delay } of node.after) if (typeof delay === 'string') names.delays.add(delay);
    for (const { src } of node.invoke) if (typeof src === 'string') names.actors.add(src);
  }
  return names;
}

const isOwn = (name: string): boolean => !name.startsWith('xstate.');
const sorted = (names: Iterable<string>): string[] => [...names].filter(isOwn).sort();
/** Spawned by an action, not invoked by a state. */
const SPAWNED: Record<string, readonly string[]> = { coordinator: ['batchWorker', 'reapWorker'] };

describe.each(MACHINES)('%s', (title, machine) => {
  const used = namesIn(machine);
  const { actions, guards, delays, actors } = machine.implementations;

  test('every action, guard, delay and actor that the chart names is there, and none is there for nothing', () => {
    expect(sorted(used.actions)).toEqual(sorted(Object.keys(actions ?? {})));
    expect(sorted(used.guards)).toEqual(sorted(Object.keys(guards ?? {})));
    expect(sorted(used.delays)).toEqual(sorted(Object.keys(delays ?? {})));
    const everyActor = [...used.actors, ...(SPAWNED[title] ?? [])];
    expect(sorted(everyActor)).toEqual(sorted(Object.keys(actors ?? {})));
    expect(used.actions.size).toBeGreaterThan(5);
  });

  test('every state that has states begins in one of them, and every target exists', () => {
    for (const node of nodesOf(machine.root)) {
      if (Object.keys(node.states).length > 0)
        expect(Object.keys(node.states)).toContain(node.config.initial);
      for (const { target } of [...node.transitions.values()].flat()) {
        for (const state of target ?? []) expect(machine.getStateNodeById(state.id)).toBe(state);
      }
    }
  });

  test('every state can be left or is an end', () => {
    for (const node of nodesOf(machine.root)) {
      if (node.type !== 'atomic' || title !== 'coordinator') continue;
      const ways = [...node.transitions.values(), node.always ?? []].flat();
      expect(ways.length + (node.parent?.transitions.size ?? 0)).toBeGreaterThan(0);
    }
  });
});

describe('purity', () => {
  const folder = new URL('../../src/machines/', import.meta.url);
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  );

  test.each(files)('%s imports nothing but xstate, its neighbours and the words of the domain', (name) => {
    for (const { path } of importsOf(new URL(name, folder))) {
      // Days, slices and thresholds are pure words; the clock is not.
      if (path === 'xstate') continue;
      const target = new URL(path, new URL(name, folder)).pathname;
      expect(target).toMatch(
        /\/src\/(machines\/.+|domain\/(day|slice|quota-kind|page-result|coverage|thresholds)\.ts)$/,
      );
    }
  });

  test.each(files)('%s asks no clock and draws no lots', (name) => {
    const code = readFileSync(new URL(name, folder), 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
    expect(code).not.toMatch(
      /\b(Math\.random|Date\.now|new Date\(\)|performance|setTimeout|setInterval|setImmediate|process\.|crypto|fetch\()/,
    );
    // An assign that spawns shows no action, and sendParent throws, in a pure transition.
    expect(code).not.toMatch(/\bsendParent\b|\bspawn\(/);
  });
});
