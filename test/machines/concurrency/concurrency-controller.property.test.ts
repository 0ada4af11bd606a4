// Holds invariants 8 of SPEC.md.
// @module-tag sized
/** Properties of the concurrency controller, around a simulated server. A failure prints the plan that replays it. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sized } from '../../support/size.ts';
import { type ConcurrencyPlan, ConcurrencyWorld } from '../support/concurrency-world.ts';

const anyPlan = fc.record({
  seed: fc.nat(),
  knee: fc.integer({ min: 1, max: 24 }),
  latencyMs: fc.constantFrom(5, 200, 2_500, 20_000),
  jitter: fc.constantFrom(0, 0.2, 0.5),
  calls: fc.integer({ min: 1, max: 600 }),
  start: fc.integer({ min: 1, max: 4 }),
  most: fc.integer({ min: 4, max: 16 }),
  soakMs: fc.constantFrom(1, 1_000, 60_000),
  slowStart: fc.boolean(),
});

const steadyPlan = { latencyMs: 2_500, start: 3, most: 16, soakMs: 1_000, slowStart: true } as const;

function inWorld<T>(plan: ConcurrencyPlan, look: (world: ConcurrencyWorld) => T): T {
  const world = new ConcurrencyWorld(plan);
  try {
    return look(world);
  } finally {
    world.close();
  }
}

/** The median over so many seeds: one run is a matter of luck. */
function median(seeds: number, measure: (seed: number) => number): number {
  const found = Array.from({ length: seeds }, (_, seed) => measure(seed + 1)).sort((a, b) => a - b);
  return found[Math.floor(seeds / 2)] ?? Number.NaN;
}

test('between 1 and the most, whatever happens; each decision begins where the one before ended', () => {
  const refusing = fc.option(fc.integer({ min: 0, max: 12 }), { nil: undefined });
  const quota = fc.constantFrom(0, 0.79, 0.8, 1);
  fc.assert(
    fc.property(anyPlan, refusing, quota, (plan, above, share) => {
      const refuseAbove = above === undefined ? {} : { refuseAbove: () => above };
      inWorld({ ...plan, ...refuseAbove, quotaShare: () => share }, (world) => {
        world.run();
        expect(world.isDone).toBe(true);
        let level = plan.start;
        for (const { from, to } of world.decisions) {
          expect(from).toBe(level);
          expect(to).toBeGreaterThanOrEqual(1);
          expect(to).toBeLessThanOrEqual(plan.most);
          // Up by one, always; down by any number.
          expect(to - from).toBeLessThanOrEqual(1);
          level = to;
        }
        expect(world.level).toBe(level);
        if (share >= 0.8) expect(Math.max(...world.levels)).toBe(plan.start);
      });
    }),
    { numRuns: sized(30, 150) },
  );
});

test('it waits for a soak before it raises by one, without slow start', () => {
  fc.assert(
    fc.property(anyPlan, (plan) => {
      inWorld({ ...plan, slowStart: false }, (world) => {
        let raisedMs = 0;
        world.controller.on('concurrency.decided', ({ from, to }) => {
          if (to > from) expect(world.clock.now() - raisedMs).toBeGreaterThanOrEqual(plan.soakMs);
          raisedMs = world.clock.now();
        });
        world.run();
      });
    }),
    { numRuns: sized(10, 50) },
  );
});

describe.each([0, 0.2, 0.5])('throughput that grows up to a knee, calls that vary by %d', (jitter) => {
  test.each([3, 5, 8, 12])('of %d: it comes near, and stays', (knee) => {
    const levels = (seed: number) =>
      inWorld({ ...steadyPlan, jitter, knee, seed, calls: 2_000 }, (world) => {
        world.run(300);
        world.meanLevel();
        return world.run().meanLevel();
      });
    const level = median(sized(3, 9), levels);
    expect(level).toBeGreaterThanOrEqual(Math.max(3, 0.8 * knee));
    expect(level).toBeLessThanOrEqual(1.25 * knee + 1.5);
  });

  test('a server that is full from the beginning: it goes no further than a round', () => {
    const level = median(sized(3, 9), (seed) =>
      inWorld({ ...steadyPlan, jitter, knee: 2, seed, calls: 100 }, (world) =>
        Math.max(...world.run().levels),
      ),
    );
    expect(level).toBeLessThanOrEqual(7);
  });

  test('a short job with a server for all: five times as fast as one at a time', () => {
    const speedup = median(sized(5, 15), (seed) =>
      inWorld({ ...steadyPlan, jitter, knee: 100, seed, calls: 24 }, (world) => {
        world.run();
        return (24 * steadyPlan.latencyMs) / world.clock.now();
      }),
    );
    expect(speedup).toBeGreaterThan(5);
  });
});

test('refusals: down at once, to 1 when they go on, and up again when they are over', () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 1, max: 40 }), (seed, calm) => {
      let limit = Number.POSITIVE_INFINITY;
      const plan = { ...steadyPlan, jitter: 0.3, knee: 100, seed, calls: 4_000, refuseAbove: () => limit };
      inWorld(plan, (world) => {
        world.run(calm);
        const before = world.level;
        limit = 0;
        // The calls under way end well, the next ones are refused.
        while (world.refusals === 0) world.run(1);
        expect(world.level).toBeLessThan(Math.max(before, world.levels.at(-2) ?? before));
        world.run(3 * 16);
        expect(world.level).toBe(1);
        const refusals = world.refusals;
        limit = Number.POSITIVE_INFINITY;
        world.run(3_000);
        expect(world.refusals).toBeLessThanOrEqual(refusals + 16);
        expect(world.level).toBeGreaterThan(3);
      });
    }),
    { numRuns: sized(5, 25) },
  );
});

test('a server that refuses more than so many at once is asked for more ever more seldom', () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 2, max: 10 }), (seed, limit) => {
      const plan = { ...steadyPlan, jitter: 0.3, knee: 100, seed, calls: 1_500, refuseAbove: () => limit };
      inWorld(plan, (world) => {
        world.run();
        // A fall takes along who began before it; so a few refusals a fall, and falls far apart.
        expect(world.refusals).toBeLessThan(45);
        const falls = world.decisions.filter(({ reason }) => reason === 'refused' || reason === 'repeated');
        expect(falls.length).toBeLessThan(40);
      });
    }),
    { numRuns: sized(5, 25) },
  );
});
