/** Faults seen in the field, one test each: coordinator, workers and limiter are real. */
import { afterEach, describe, expect, test } from 'vitest';
import type { Page, PageResult } from '../../src/machines/messages.ts';
import { committed, failed, MachineSystem, type SystemOptions } from './support/system.ts';

const MINUTE_MS = 60_000;
const systems: MachineSystem[] = [];
afterEach(() => {
  for (const system of systems.splice(0)) system.stop();
});

function start(options?: SystemOptions): MachineSystem {
  const system = new MachineSystem(options).start();
  systems.push(system);
  return system;
}

describe('work', () => {
  test('a wave that fits one batch leaves no worker idle', () => {
    const system = start({ slices: 30, batchSize: 50, maxConcurrency: 3 });
    expect(system.calls.map(({ ids }) => ids.length)).toEqual([10, 10, 10]);
    expect(system.calls[0]?.ids[0]).toBe('s0');
    system.finish();
    expect(system.snapshot.value).toBe('complete');
    expect(system.committed).toEqual(system.all);
  });

  test('pages of begun slices go out before new ones', () => {
    const system = start({ slices: 6, batchSize: 1, maxConcurrency: 1 });
    system.open[0]?.answer(() => committed({ kind: 'page', startRow: 25_000 }, 25_000));
    expect(system.open[0]?.input.pages).toMatchObject([{ sliceId: 's0', startRow: 25_000 }]);
    // Exactly 25,000 rows: one more call, which comes back empty, and the day is done.
    system.open[0]?.answer(() => committed({ kind: 'sealed' }, 0));
    expect(system.open[0]?.ids).toEqual(['s1']);
  });

  test('the plan is asked for more as the look-ahead runs low, and never held whole', () => {
    const system = start({ slices: 500, batchSize: 5, maxConcurrency: 2 });
    while (system.snapshot.status === 'active') {
      expect(system.left.length).toBeLessThanOrEqual(4 * 5 * 2);
      system.open[0]?.answer();
    }
    expect(system.committed).toEqual(system.all);
  });

  test('when every page fails the plan is not drawn whole into the pile of retries', () => {
    const system = start({ slices: 500, batchSize: 5, maxConcurrency: 2, maxAttempts: 100 });
    let held = 0;
    for (let calls = 0; calls < 200 && system.open.length > 0; calls += 1) {
      system.open[0]?.answer(() => failed());
      held = Math.max(held, system.left.length);
    }
    expect(held).toBeLessThanOrEqual(60);
    system.finish();
    expect(system.committed).toEqual(system.all);
  });

  test('a plan that depends on its first pages is asked again only when none of them is under way', () => {
    const system = new MachineSystem({ slices: 6, planChunk: 2, maxConcurrency: 2 });
    systems.push(system);
    system.planAnswers = false;
    system.start();
    system.supply('whenQuiet');
    system.open[0]?.answer(() => failed());
    expect(system.planOrders).toEqual([]);
    system.open[0]?.answer();
    // One of them waits for its retry.
    expect([system.planOrders, system.open]).toEqual([[], []]);
    system.clock.advance(500);
    expect(system.planOrders).toEqual([]);
    system.planAnswers = true;
    system.finish();
    expect(system.committed).toEqual(system.all);
  });

  test('no pages at all: complete', () => {
    const system = start({ slices: 0 });
    expect(system.snapshot.value).toBe('complete');
    expect(system.calls).toEqual([]);
  });
});

describe('failed pages', () => {
  test('one failing part costs an attempt to itself alone, and waits for its backoff', () => {
    const system = start({ slices: 8, maxConcurrency: 2 });
    system.open[0]?.answer(({ sliceId }) => (sliceId === 's1' ? failed() : committed()));
    expect(system.committed).toEqual(['s0', 's2', 's3']);
    expect(system.emitted).toContainEqual({ type: 'retry.scheduled', pages: 1, delayMs: 500 });
    system.open[0]?.answer();
    expect(system.snapshot.value).toEqual({ running: { working: 'waitingForRetry' } });
    system.clock.advance(499);
    expect(system.open).toEqual([]);
    system.clock.advance(1);
    expect(system.open.map(({ input }) => input.pages)).toEqual([
      [{ sliceId: 's1', startRow: 0, attempts: 1, callFailures: 0 }],
    ]);
    // The second backoff is twice the first.
    system.open[0]?.answer(() => failed());
    expect(system.emitted).toContainEqual({ type: 'retry.scheduled', pages: 1, delayMs: 1_000 });
    system.finish();
    expect(system.snapshot.output).toEqual({ status: 'complete' });
    expect(system.committed).toEqual(system.all);
  });

  test('pages that failed in one batch wait together, on one timer, and are spread when it is over', () => {
    const system = start({ slices: 8 });
    for (const call of [...system.open]) call.answer(() => failed());
    expect(system.clock.pending.length).toBe(2);
    system.clock.advance(500);
    expect(system.open.map(({ ids }) => ids.length)).toEqual([2, 2]);
    expect(
      system
        .slot('w0')
        .pages.concat(system.slot('w1').pages)
        .map(({ sliceId }) => sliceId),
    ).toEqual(['s0', 's1', 's2', 's3']);
  });

  test('after its last attempt a page ends its slice, and the rest goes on', () => {
    const system = start({ slices: 4, maxAttempts: 2 });
    const lastFails = ({ sliceId, attempts }: Page): PageResult =>
      sliceId === 's2' ? failed(attempts + 1 >= 2) : committed();
    system.finish(lastFails);
    expect(system.snapshot.output).toEqual({ status: 'completeWithFailures' });
    expect(system.committed).toEqual(['s0', 's1', 's3']);
    const failures = system.emitted.filter(({ type }) => type === 'page.failed');
    expect(failures).toMatchObject([
      { attempt: 1, final: false },
      { attempt: 2, final: true },
    ]);
    expect(system.left).toEqual([]);
  });
});

describe('failed calls', () => {
  test('cost no page an attempt, and the pages do not wait for the worker that backs off', () => {
    const system = start({ slices: 8, maxConcurrency: 2 });
    const [first, second] = system.open;
    first?.fail();
    expect(system.slot('w0').status).toBe('backingOff');
    expect(system.left.length).toBe(8);
    second?.answer();
    expect(system.open.map(({ input }) => input.workerId)).toEqual(['w1']);
    expect(system.open[0]?.input.pages.every(({ attempts }) => attempts === 0)).toBe(true);
    system.finish();
    expect(system.committed).toEqual(system.all);
  });

  test('twice in a row: resent in halves, then quarters', () => {
    const system = start({ slices: 16, batchSize: 16, maxConcurrency: 1, callFailuresOfOutage: 9 });
    const sizes: number[] = [];
    for (let calls = 0; calls < 4; calls += 1) {
      sizes.push(system.open[0]?.ids.length ?? 0);
      system.open[0]?.fail();
      system.clock.runUntil(() => system.open.length > 0);
    }
    expect(sizes).toEqual([16, 16, 8, 4]);
    system.finish();
    expect(system.committed).toEqual(system.all);
  });

  test('a token that is refused too often in a row, over all workers, halts the run, with every page kept', () => {
    const system = start({ slices: 8, maxConcurrency: 2, maxConsecutiveCallFailures: 3 });
    system.open[0]?.fail({ kind: 'unauthorized' });
    system.open[0]?.answer();
    for (let calls = 0; calls < 3; calls += 1) {
      expect(system.snapshot.status).toBe('active');
      system.open[0]?.fail({ kind: 'unauthorized' });
    }
    for (const call of [...system.open]) call.fail({ kind: 'aborted' });
    expect(system.snapshot.output).toEqual({
      status: 'halted',
      reason: { kind: 'callFailures', reason: 'Google refuses the access token' },
    });
    expect([...system.committed, ...system.left].sort()).toEqual(system.all);
  });

  test('something that no retry mends fails the run', () => {
    const system = start({ slices: 8, maxConcurrency: 2 });
    const fatal = { code: 'FORBIDDEN', reason: 'no permission' };
    system.open[0]?.fail({ kind: 'fatal', fatal });
    expect(system.open.map(({ aborted }) => aborted)).toEqual([true]);
    system.open[0]?.fail({ kind: 'aborted' });
    expect(system.snapshot.output).toEqual({ status: 'failed', fatal });
  });
});

describe('quota', () => {
  test('a batch larger than the quota goes out in parts, and nothing is lost or stuck', () => {
    const system = start({
      slices: 20,
      batchSize: 50,
      maxConcurrency: 1,
      rules: [{ scopeKind: 'site', limit: 6, windowMs: MINUTE_MS }],
    });
    expect(system.open[0]?.ids.length).toBe(6);
    expect(system.left.length).toBe(20);
    system.finish();
    expect(system.snapshot.value).toBe('complete');
    expect(system.committed).toEqual(system.all);
    expect(system.clock.now()).toBeLessThan(4 * MINUTE_MS);
  });

  test('a denial loses nothing: the call under way finishes, the run halts and has every other page', () => {
    const system = start({ slices: 8, maxConcurrency: 2 });
    const [first, second] = system.open;
    first?.answer(() => ({ kind: 'refused', quota: 'daily', retryAfterMs: null }));
    expect([second?.aborted, system.snapshot.value]).toEqual([false, 'drainingForQuota']);
    const paid = second?.ids ?? [];
    second?.answer();
    expect(system.snapshot.output).toEqual({ status: 'halted', reason: { kind: 'quota', quota: 'daily' } });
    expect([system.committed, system.left]).toEqual([paid, system.all.filter((id) => !paid.includes(id))]);
  });

  test('a page refused by a minute quota costs no attempt, and goes out again after the cooling', () => {
    const system = start({
      slices: 4,
      maxConcurrency: 1,
      rules: [{ scopeKind: 'site', limit: 100, windowMs: MINUTE_MS }],
    });
    system.open[0]?.answer(({ sliceId }) =>
      sliceId === 's0' ? committed() : { kind: 'refused', quota: 'qps', retryAfterMs: 7_000 },
    );
    expect(system.open).toEqual([]);
    system.clock.advance(6_999);
    expect(system.open).toEqual([]);
    system.clock.advance(1);
    expect(system.open[0]?.input.pages).toMatchObject(
      ['s1', 's2', 's3'].map((sliceId) => ({ sliceId, attempts: 0 })),
    );
    system.finish();
    expect(system.committed).toEqual(system.all);
  });
});
