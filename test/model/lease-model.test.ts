// Holds invariants 6, 11 of SPEC.md.
import { getShortestPaths } from '@xstate/graph';
import { describe, expect, test } from 'vitest';
import {
  createLeaseModel,
  explore,
  LEASE_INVARIANTS,
  type LeaseModel,
  pathOf,
} from '../../src/model/index.ts';
import { type LeaseSize, SMALL_LEASE_SIZES } from './lease-sizes.ts';

/** Their walks take several seconds each. */
const TAKES_LONG = [
  'leases: a presence is lost, or says too much',
  'leases: a process stands still',
  'leases: a message comes late, or never',
];
const isQuick = ({ name }: LeaseSize): boolean => !TAKES_LONG.includes(name);

// A busy machine is no fault of the model's.
describe('every state of the small worlds of leases', { timeout: 300_000 }, () => {
  const evaluated = LEASE_INVARIANTS.map(() => 0);

  const walkAndCheck = ({ leases }: LeaseSize): void => {
    const { violation, finished, ends, evaluations } = explore(createLeaseModel(leases));
    if (violation !== undefined) {
      const path = violation.path.map((event) => JSON.stringify(event)).join('\n');
      expect.fail(`${violation.name}: ${violation.what}\n${path}`);
    }
    expect(finished).toBe(true);
    expect(ends).toBeGreaterThan(0);
    for (const [index, { states }] of evaluations.entries()) {
      evaluated[index] = (evaluated[index] ?? 0) + states;
    }
  };

  test.each(SMALL_LEASE_SIZES.filter(isQuick))('$name', { tags: ['sized'] }, walkAndCheck);
  test.each(SMALL_LEASE_SIZES.filter((size) => !isQuick(size)))('$name', { tags: ['long'] }, walkAndCheck);

  test('no invariant goes unasked', { tags: ['long'] }, () => {
    expect(LEASE_INVARIANTS.filter((_, index) => evaluated[index] === 0).map(({ name }) => name)).toEqual([]);
  });
});

describe('a violation', () => {
  const real = createLeaseModel();

  test('ends the search with a shortest path to it, which can be replayed', () => {
    const model: LeaseModel = {
      ...real,
      invariants: [
        {
          number: 11,
          name: 'nobody ever sends',
          check: ({ flying }) => (flying.length > 0 ? 'somebody does' : undefined),
        },
      ],
    };
    const { violation } = explore(model);
    expect(violation?.path.map(({ type }) => type)).toEqual([
      'process.starts',
      'run.looks',
      'message.arrives',
      'message.arrives',
      'run.records',
      'message.arrives',
      'message.arrives',
      'run.sends',
    ]);
    expect(pathOf(model, violation?.choices ?? [])).toEqual(violation?.path);
  });

  test('a state without a way to an end is one', () => {
    const stuck: LeaseModel = {
      ...real,
      events: (world) => real.events(world).filter(({ type }) => type !== 'run.ends'),
    };
    expect(explore(stuck).violation).toMatchObject({ invariant: 6, what: 'no end is reachable from here' });
  });
});

test('@xstate/graph finds the same states', () => {
  const model = createLeaseModel({ runs: { a: 1, b: 0 } });
  const states = new Set(
    getShortestPaths(model.logic, model).map(({ state }) => model.serializeState(state)),
  );
  expect(states.size).toBe(explore(model).states);
});
