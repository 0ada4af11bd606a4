// Holds invariants 1, 3, 4, 5, 6, 8 of SPEC.md.
import { getShortestPaths, TestModel } from '@xstate/graph';
import { describe, expect, test } from 'vitest';
import {
  createSystemModel,
  describePath,
  explore,
  INVARIANTS,
  pathOf,
  type SystemModel,
  walk,
} from '../../src/model/index.ts';
import { type Size, SMALL_SIZES } from './sizes.ts';

/** Their walks take several seconds each. */
const TAKES_LONG = [
  'sync 2×5',
  'sync 1×1, an outage of Google’s',
  'sync 1×2, two of everything rare',
  'sync 2×2, begun on trust',
  'sync 2×2, one of everything rare',
];
const isQuick = ({ name }: Size): boolean => !TAKES_LONG.includes(name);

// A busy machine is no fault of the model's.
describe('every state of the small worlds', { timeout: 300_000 }, () => {
  const evaluated = INVARIANTS.map(() => 0);

  const walkAndCheck = ({ options }: Size): void => {
    const model = createSystemModel(options);
    const { violation, finished, ends, evaluations } = explore(model);
    if (violation !== undefined) {
      expect.fail(`${violation.name}: ${violation.what}\n${describePath(model, violation.path)}`);
    }
    expect(finished).toBe(true);
    expect(ends).toBeGreaterThan(0);
    for (const [index, { states }] of evaluations.entries())
      evaluated[index] = (evaluated[index] ?? 0) + states;
  };

  test.each(SMALL_SIZES.filter(isQuick))('$name', { tags: ['sized'] }, walkAndCheck);
  test.each(SMALL_SIZES.filter((size) => !isQuick(size)))('$name', { tags: ['long'] }, walkAndCheck);

  test('no invariant goes unasked', { tags: ['long'] }, () => {
    expect(INVARIANTS.filter((_, index) => evaluated[index] === 0).map(({ name }) => name)).toEqual([]);
  });
});

describe('a violation', () => {
  const never = {
    number: 1,
    name: 'no page is ever committed',
    check: ({ database }: Parameters<(typeof INVARIANTS)[number]['check']>[0]) =>
      Object.values(database).some(({ committed }) => committed > 0) ? 'one is' : undefined,
  };
  const model: SystemModel = { ...createSystemModel({ slices: [1] }), invariants: [never] };

  test('ends the search with a shortest path to it, which can be replayed and read', () => {
    const { violation, finished } = explore(model);
    expect(finished).toBe(false);
    expect(violation?.path.map(({ type }) => type)).toEqual(['plan.answers', 'call.commits']);
    expect(pathOf(model, violation?.choices ?? [])).toEqual(violation?.path);
    const text = describePath(model, violation?.path ?? []);
    expect(text).toContain('coordinator → w0: batch.assign');
    expect(text).toContain('limiter → w0: tokens.granted');
    expect(text).toContain('w0 → coordinator: page.committed');
  });

  test('a state without a way to an end is one', () => {
    const real = createSystemModel({ slices: [1] });
    const stuck: SystemModel = {
      ...real,
      // Nobody's call ever ends.
      events: (world) => real.events(world).filter(({ type }) => type !== 'call.ends'),
    };
    expect(explore(stuck).violation).toMatchObject({ invariant: 6, what: 'no end is reachable from here' });
  });
});

describe('the state key', () => {
  const model = createSystemModel({ workers: 1, slices: [1], maxAttempts: 3, quota: 5 });

  test('does not tell worlds apart that differ in serials alone', () => {
    const once = [
      { type: 'plan.answers', how: 'supplied' },
      { type: 'call.pageFails', worker: 'w0', sliceId: 'a', startRow: 0 },
      { type: 'call.ends', worker: 'w0', how: 'answered' },
      { type: 'timer', owner: 'limiter', timer: 'lease.expired in 61000 ms' },
    ] as const;
    const world = walk(model, once);
    expect(world.coordinator.context.workers).toMatchObject([{ serial: 0, status: 'idle' }]);
  });

  test('tells worlds apart that may still differ in what happens', () => {
    const rare = createSystemModel({ workers: 1, slices: [1], rare: { pause: 2 }, maxRare: 2 });
    const keys = [0, 1, 2].map((times) => {
      const path = Array.from(
        { length: times },
        () => [{ type: 'pause' }, { type: 'resume' }] as const,
      ).flat();
      return rare.serializeState(walk(rare, path));
    });
    expect(new Set(keys).size).toBe(3);
  });
});

describe('with @xstate/graph', () => {
  const model = createSystemModel({ workers: 1, slices: [1] });

  test('finds the same states', () => {
    const states = new Set(
      getShortestPaths(model.logic, model).map(({ state }) => model.serializeState(state)),
    );
    expect(states.size).toBe(explore(model).states);
  });

  test('makes a test model', () => {
    const paths = new TestModel(model.logic, model).getShortestPaths();
    expect(paths.length).toBeGreaterThan(3);
    expect(paths.every(({ state }) => state.status === 'active')).toBe(true);
  });
});
