import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import {
  createSystemModel,
  describePath,
  edgeTours,
  type ModelOptions,
  type SystemModel,
  type Timer,
  type World,
  type WorldEvent,
} from '../../src/model/index.ts';
import { startRealSystem } from './support/real-system.ts';
import { viewOfModel, viewOfReal } from './support/views.ts';

/** Much longer than any of them takes: a busy machine is no fault of the model's. */
const TIMEOUT_MS = 300_000;

/** The model is worth as much as it is true: what it says the machines do is what real actors do, on every edge. */
const QUICK_SIZES: readonly Partial<ModelOptions>[] = [
  {
    workers: 1,
    slices: [2],
    rare: { databaseAway: 2, unauthorized: 1, fatal: 1 },
    maxRare: 2,
    maxAttempts: 1,
  },
  { workers: 2, slices: [1, 1], maxAttempts: 1, calendar: true, speculative: 1 },
];
const SIZES: readonly Partial<ModelOptions>[] = [
  ...QUICK_SIZES,
  { workers: 2, slices: [2, 1] },
  { workers: 2, slices: [1, 1], rare: { pause: 1, halt: 1 }, maxRare: 1 },
  { workers: 2, slices: [1, 1], planChunk: 2, rare: { workerCrash: 1 }, maxRare: 1 },
  { workers: 1, slices: [1], rare: { workerCrash: 2, reaperFailed: 1, halt: 1 }, maxRare: 3 },
  { workers: 2, slices: [2], quota: 1, rare: { refused: 2, callFailed: 1 }, maxRare: 2, maxAttempts: 1 },
  { workers: 2, slices: [2], rare: { concurrency: 2, pause: 1 }, maxRare: 2, concurrencies: [1, 3] },
  { workers: 1, slices: [2], rare: { again: 1, shrunk: 1, fail: 1 }, maxRare: 2, calendar: true },
];

describe('every edge of the model, on real actors', () => {
  const replayAll = async (options: Partial<ModelOptions>): Promise<void> => {
    const model = createSystemModel({ ...options, semantics: 'sync' });
    let paths = 0;
    for (const path of edgeTours(model)) {
      paths += 1;
      await replay(model, path);
    }
    expect(paths).toBeGreaterThan(10);
  };
  const isQuick = (options: Partial<ModelOptions>): boolean => QUICK_SIZES.includes(options);
  test.each(SIZES.filter(isQuick))('%j', { timeout: TIMEOUT_MS }, replayAll);
  test.each(SIZES.filter((size) => !isQuick(size)))('%j', { timeout: TIMEOUT_MS, tags: ['long'] }, replayAll);
});

async function replay(model: SystemModel, path: readonly WorldEvent[]): Promise<void> {
  const real = startRealSystem(model.options);
  try {
    let world = model.logic.getInitialSnapshot(NO_SCOPE, undefined);
    for (const [index, event] of path.entries()) {
      await happen(real, model, world, event);
      world = model.logic.transition(world, event, NO_SCOPE);
      const expected = viewOfModel(world);
      const found = viewOfReal(real);
      if (found !== expected) {
        expect.soft(JSON.parse(found)).toEqual(JSON.parse(expected));
        expect.fail(describePath(model, path.slice(0, index + 1)));
      }
    }
  } finally {
    real.stop();
  }
}

async function happen(
  real: ReturnType<typeof startRealSystem>,
  model: SystemModel,
  world: World,
  event: WorldEvent,
): Promise<void> {
  if (event.type === 'worker.crashes') {
    real.crash(event.worker);
    return;
  }
  if (event.type === 'timer') {
    const isIt = ({ owner, name }: Timer): boolean => owner === event.owner && name === event.timer;
    const place = world.timers.filter(({ owner }) => owner === event.owner).findIndex(isIt);
    real.timers.ownedBy(event.owner)[place]?.fire();
    return;
  }
  // A call that nobody listens to ends all the same.
  if (event.type === 'call.ends' && world.calls[event.worker]?.orphaned === true)
    real.calls.delete(event.worker);
  for (const { from, to, event: said } of model.messages(world, event)) {
    if (from === undefined) real.happen(to, said);
  }
  // Probe and reaper are promises: what they come to arrives a moment later.
  if (event.type === 'probe.answers' || event.type === 'reaper.ends') await setImmediate();
}

/** The world's logic needs no actor around it. */
const NO_SCOPE = undefined as never;
