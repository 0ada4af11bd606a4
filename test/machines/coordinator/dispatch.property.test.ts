// Holds invariants 4, 8 of SPEC.md.
/** Who gets which pages, and how long a backoff is. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { backoffMs } from '../../../src/machines/backoff.ts';
import {
  assignPages,
  availableSlots,
  createSlot,
  putBack,
  type Queues,
} from '../../../src/machines/coordinator/dispatch.ts';
import type { Page } from '../../../src/machines/messages.ts';

const anyPages = (name: string, maxLength: number, maxFailures: number): fc.Arbitrary<readonly Page[]> =>
  fc.array(fc.nat({ max: maxFailures }), { maxLength }).map((failures) =>
    failures.map((callFailures, index) => ({
      sliceId: `${name}${index}`,
      startRow: name === 'begun' ? 25_000 : 0,
      attempts: 0,
      callFailures,
    })),
  );

const anyDispatch = (maxFailures: number) =>
  fc.record({
    begun: anyPages('begun', 30, maxFailures),
    ahead: anyPages('ahead', 120, maxFailures),
    workers: fc.integer({ min: 1, max: 12 }),
    rules: fc.record({
      batchSize: fc.integer({ min: 1, max: 60 }),
      busy: fc.nat({ max: 8 }),
      isEnd: fc.boolean(),
    }),
  });

const slots = (count: number) => Array.from({ length: count }, (_, index) => createSlot(`w${index}`));
const queuesOf = (begun: readonly Page[], ahead: readonly Page[]): Queues => ({ begun, ahead, delayed: [] });

describe('assignPages', () => {
  test('loses no page, doubles none, keeps the order in each line', () => {
    fc.assert(
      fc.property(anyDispatch(4), ({ begun, ahead, workers, rules }) => {
        const { assignments, queues } = assignPages(queuesOf(begun, ahead), slots(workers), rules);
        const given = assignments.flatMap(({ pages }) => pages);
        for (const [line, left] of [
          [begun, queues.begun],
          [ahead, queues.ahead],
        ] as const) {
          const gone = line.filter((page) => given.includes(page));
          expect([...gone, ...left]).toEqual(line);
          expect(given.filter((page) => line.includes(page))).toEqual(gone);
        }
        expect(given.length + queues.begun.length + queues.ahead.length).toBe(begun.length + ahead.length);
      }),
    );
  });

  test('while the plan has more, begun slices go first', () => {
    fc.assert(
      fc.property(anyDispatch(4), ({ begun, ahead, workers, rules }) => {
        const { assignments } = assignPages(queuesOf(begun, ahead), slots(workers), {
          ...rules,
          isEnd: false,
        });
        const given = assignments.flatMap(({ pages }) => pages);
        expect(given).toEqual([...begun, ...ahead].slice(0, given.length));
      }),
    );
  });

  test('gives nobody more than a batch, nobody nothing, and nobody twice', () => {
    fc.assert(
      fc.property(anyDispatch(4), ({ begun, ahead, workers, rules }) => {
        const { assignments } = assignPages(queuesOf(begun, ahead), slots(workers), rules);
        for (const { pages } of assignments) {
          expect(pages.length).toBeGreaterThan(0);
          expect(pages.length).toBeLessThanOrEqual(rules.batchSize);
        }
        expect(new Set(assignments.map(({ slot }) => slot.workerId)).size).toBe(assignments.length);
      }),
    );
  });

  test('leaves no worker without work while there are as many pages as workers, and shares evenly', () => {
    fc.assert(
      fc.property(anyDispatch(0), ({ begun, ahead, workers, rules: anyRules }) => {
        const rules = { ...anyRules, busy: 0 };
        const waiting = begun.length + ahead.length;
        const { assignments } = assignPages(queuesOf(begun, ahead), slots(workers), rules);
        expect(assignments.length).toBe(Math.min(workers, waiting));
        const sizes = assignments.map(({ pages }) => pages.length);
        if (sizes.length > 0) expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
        // What fits into one round goes out in one round.
        if (!rules.isEnd) {
          expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(
            Math.min(waiting, workers * rules.batchSize),
          );
        }
      }),
    );
    // Failures make batches smaller, but leave nobody idle either.
    fc.assert(
      fc.property(anyDispatch(4), ({ begun, ahead, workers, rules }) => {
        const { assignments } = assignPages(queuesOf(begun, ahead), slots(workers), rules);
        expect(assignments.length).toBe(Math.min(workers, begun.length + ahead.length));
      }),
    );
  });

  test('a wave that fits one batch is spread over all workers', () => {
    const pages = Array.from({ length: 40 }, (_, index): Page => {
      return { sliceId: `s${index}`, startRow: 0, attempts: 0, callFailures: 0 };
    });
    const { assignments } = assignPages(queuesOf([], pages), slots(3), {
      batchSize: 50,
      busy: 0,
      isEnd: true,
    });
    expect(assignments.map(({ pages }) => pages.length)).toEqual([14, 13, 13]);
  });

  test('where the plan ends, what is left costs no call more than it must, and is shared evenly over them', () => {
    const first = Array.from({ length: 160 }, (_, index): Page => {
      return { sliceId: `s${index}`, startRow: 0, attempts: 0, callFailures: 0 };
    });
    const sizes: number[] = [];
    let queues = queuesOf([], first);
    while (queues.ahead.length > 0) {
      // One worker is free, two are busy.
      const dispatched = assignPages(queues, slots(1), { batchSize: 50, busy: 2, isEnd: true });
      sizes.push(...dispatched.assignments.map(({ pages }) => pages.length));
      queues = dispatched.queues;
    }
    expect(sizes).toEqual([40, 40, 40, 40]);
  });

  test('further pages of slices are left for those who are about to be free', () => {
    const begun = Array.from({ length: 45 }, (_, index): Page => {
      return { sliceId: `s${index}`, startRow: 25_000, attempts: 0, callFailures: 0 };
    });
    const rules = { batchSize: 50, busy: 2, isEnd: true };
    const { assignments, queues } = assignPages(queuesOf(begun, []), slots(1), rules);
    expect(assignments.map(({ pages }) => pages.length)).toEqual([15]);
    expect(queues.begun).toEqual(begun.slice(15));
    // While the plan has more nobody will be without work: fewer calls are better.
    const early = assignPages(queuesOf(begun, []), slots(1), { ...rules, isEnd: false });
    expect(early.assignments.map(({ pages }) => pages.length)).toEqual([45]);
  });

  test('after two failed calls in a row a page goes out in half a batch, then in a quarter', () => {
    fc.assert(
      fc.property(anyDispatch(9), ({ begun, ahead, workers, rules }) => {
        const { assignments } = assignPages(queuesOf(begun, ahead), slots(workers), rules);
        for (const { pages } of assignments) {
          const failures = Math.max(...pages.map(({ callFailures }) => callFailures));
          const { batchSize } = rules;
          const largest = failures < 2 ? batchSize : Math.max(1, Math.floor(batchSize / 2 ** (failures - 1)));
          expect(pages.length).toBeLessThanOrEqual(largest);
        }
      }),
    );
  });
});

test('putBack puts pages at the head of the line they came from, in their order', () => {
  fc.assert(
    fc.property(anyDispatch(1), fc.nat({ max: 20 }), ({ begun, ahead, rules, workers }, count) => {
      const { assignments, queues } = assignPages(queuesOf(begun, ahead), slots(workers), rules);
      const given = assignments.flatMap(({ pages }) => pages).slice(0, count);
      const back = putBack(queues, given);
      expect([...back.begun, ...back.ahead].length).toBe(
        queues.begun.length + queues.ahead.length + given.length,
      );
      expect([...back.begun, ...back.ahead].filter((page) => given.includes(page)).length).toBe(given.length);
      expect(back.begun.slice(back.begun.length - queues.begun.length)).toEqual(queues.begun);
      expect(back.ahead.slice(back.ahead.length - queues.ahead.length)).toEqual(queues.ahead);
    }),
  );
});

test('availableSlots never lets more than maxConcurrency be busy', () => {
  const anyStatus = fc.constantFrom('idle', 'busy', 'backingOff', 'reaping', 'halted' as const);
  fc.assert(
    fc.property(fc.array(anyStatus, { maxLength: 12 }), fc.nat({ max: 12 }), (statuses, maxConcurrency) => {
      const pool = statuses.map((status, index) => ({ ...createSlot(`w${index}`), status }));
      const busy = statuses.filter((status) => status === 'busy' || status === 'reaping').length;
      const idle = statuses.filter((status) => status === 'idle').length;
      const available = availableSlots(pool, maxConcurrency);
      expect(available.every(({ status }) => status === 'idle')).toBe(true);
      expect(available.length).toBe(Math.min(idle, Math.max(0, maxConcurrency - busy)));
    }),
  );
});

test('a backoff is between nothing and its ceiling, which doubles up to the cap', () => {
  const anyRule = fc.record({
    baseMs: fc.integer({ min: 1, max: 10_000 }),
    maxMs: fc.integer({ min: 1, max: 600_000 }),
  });
  const anyChance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(anyRule, fc.integer({ min: 1, max: 2_000 }), anyChance, (rule, failures, chance) => {
      const delayMs = backoffMs(rule, failures, chance);
      const ceilingMs = Math.min(rule.maxMs, rule.baseMs * 2 ** (failures - 1));
      expect(Number.isInteger(delayMs)).toBe(true);
      expect(delayMs).toBeGreaterThanOrEqual(0);
      expect(delayMs).toBeLessThanOrEqual(Math.ceil(ceilingMs));
      // Full jitter: chance alone decides where, so that workers do not come back together.
      expect(Math.abs(delayMs - ceilingMs * chance)).toBeLessThanOrEqual(0.5);
    }),
  );
  // The first retry: a wrong exponent made it crash, once.
  expect(backoffMs({ baseMs: 1_000, maxMs: 60_000 }, 1, 0.5)).toBe(500);
  expect(backoffMs({ baseMs: 1_000, maxMs: 60_000 }, 0, 0.5)).toBe(500);
});
