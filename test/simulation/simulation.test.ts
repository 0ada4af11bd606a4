// Holds invariants 1, 2, 3, 4, 5, 6, 7, 8, 10 of SPEC.md.
import { describe, expect, test } from 'vitest';
import { sized } from '../support/size.ts';
import { SOUND } from './planted.ts';
import { BUGS } from './planted-bugs.ts';
import { REGRESSIONS } from './regressions.ts';
import { runSeeds } from './run-seeds.ts';
import { drawScenario, FAULTS } from './scenario.ts';
import { shrink } from './shrink.ts';
import { tellStory } from './story.ts';

const FULL_SEEDS = 1_000;
const SEEDS = sized(40, FULL_SEEDS);
/** Ends that a few seeds come to, and those that it takes many to see. */
const FREQUENT_ENDS = ['complete', 'completeWithFailures', 'killed'];
const RARE_ENDS = [
  'notOpened',
  'halted: asked',
  'halted: quota',
  'failed: UNAUTHORIZED',
  // Also of whoever is replaced: it finds out by its lease before its commits would be refused.
  'failed: LOCK_LOST',
  'failed: DATABASE_DISK_FULL',
  'failed: UNEXPECTED_ANSWER',
];
/** So many seeds are enough to find a planted bug. */
const SEEDS_TO_FIND = 400;
/** Found once in a thousand seeds or so: a scenario that shows it is kept. */
const RARE = 'bytes-of-the-dead-forgotten';

test('many seeds, and all that can happen in them does', { timeout: 600_000, tags: ['sized'] }, async () => {
  const { seeds, failed, speculative, ends } = await runSeeds(0, SEEDS, SOUND);
  const replays = failed.map(({ seed, check }) => `${check}: npm run simulate -- --seed ${seed}`);
  expect(replays).toEqual([]);
  expect(seeds).toBe(SEEDS);
  // A simulation in which nothing goes wrong would prove nothing.
  const isFull = SEEDS === FULL_SEEDS;
  for (const end of [...FREQUENT_ENDS, ...(isFull ? RARE_ENDS : [])]) {
    expect(ends, end).toHaveProperty(end);
  }
  expect(speculative).toBeGreaterThan(isFull ? SEEDS / 20 : 0);
  // To draw a scenario costs nothing: these are always so many.
  const drawn = Array.from({ length: FULL_SEEDS }, (_, seed) => Object.keys(drawScenario(seed).faults));
  for (const fault of FAULTS) {
    const isOn = drawn.filter((faults) => faults.includes(fault)).length;
    expect(isOn, fault).toBeGreaterThan(FULL_SEEDS / 20);
  }
});

test('a seed is one story, however often it is told', async () => {
  for (const seed of [3, 38, 114, 235]) {
    const lines: string[][] = [[], []];
    for (const told of lines) await tellStory(drawScenario(seed), { trace: (line) => told.push(line) });
    expect(lines[0]?.length).toBeGreaterThan(3);
    expect(lines[1]).toEqual(lines[0]);
  }
});

describe('bugs that are planted are found', { tags: ['long'] }, () => {
  for (const [name, bug] of Object.entries(BUGS)) {
    if (name === RARE) continue;
    test(name, { timeout: 600_000 }, async () => {
      const { failed } = await runSeeds(0, SEEDS_TO_FIND, bug, (figures) => figures.failed.length > 0);
      const [first] = failed;
      if (first === undefined) throw new Error(`${SEEDS_TO_FIND} seeds did not find it`);
      const scenario = drawScenario(first.seed);
      const replayed = await tellStory(scenario, { planted: bug });
      expect(replayed.violations[0]).toEqual({ check: first.check, detail: first.detail });
      expect((await tellStory(scenario)).violations, 'without the bug').toEqual([]);
    });
  }

  test('and their scenario shrinks to what it takes', { timeout: 600_000 }, async () => {
    const bug = BUGS['sealed-before-the-last-page'] ?? SOUND;
    const { failed } = await runSeeds(0, SEEDS_TO_FIND, bug, (figures) => figures.failed.length > 0);
    const [first] = failed;
    if (first === undefined) throw new Error('not found');
    const { scenario } = await shrink(drawScenario(first.seed), first.check, { planted: bug });
    expect(Object.keys(scenario.faults).length).toBeLessThanOrEqual(1);
    expect(scenario.lives).toHaveLength(1);
    expect(scenario.days).toBeLessThanOrEqual(2);
    expect((await tellStory(scenario, { planted: bug })).violations[0]?.check).toBe(first.check);
  });
});

describe('scenarios that once failed', () => {
  test('and fail again when the bug is back', async () => {
    const scenario = REGRESSIONS['requests of a dead process arrive late'];
    if (scenario === undefined) throw new Error('no such scenario');
    const { violations } = await tellStory(scenario, { planted: BUGS[RARE] ?? SOUND });
    expect(violations[0]?.check).toBe('the server sees no more than the quota');
  });

  test.each(Object.entries(REGRESSIONS))('%s', async (_name, scenario) => {
    expect((await tellStory(scenario)).violations).toEqual([]);
  });
});
