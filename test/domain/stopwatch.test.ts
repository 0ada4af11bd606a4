import { expect, test } from 'vitest';
import { createStopwatch } from '../../src/domain/stopwatch.ts';

function clocks() {
  const now = { monotonic: 1_000, timeOfDay: 1_700_000_000_000 };
  const elapsed = createStopwatch(
    () => now.monotonic,
    () => now.timeOfDay,
  );
  const pass = (monotonic: number, timeOfDay = monotonic) => {
    now.monotonic += monotonic;
    now.timeOfDay += timeOfDay;
  };
  return { elapsed, pass };
}

test('both clocks go: their time', () => {
  const { elapsed, pass } = clocks();
  expect(elapsed()).toBe(0);
  pass(250);
  expect(elapsed()).toBe(250);
  pass(50);
  expect(elapsed()).toBe(300);
});

test('a machine sleeps: the monotonic clock stands still, and the time of day tells', () => {
  const { elapsed, pass } = clocks();
  pass(10, 600_000);
  expect(elapsed()).toBe(600_000);
});

test('the time of day is set back: the monotonic clock tells, also of what follows', () => {
  const { elapsed, pass } = clocks();
  pass(500, -3_600_000);
  expect(elapsed()).toBe(500);
  pass(500);
  expect(elapsed()).toBe(1_000);
});

test('it never goes back, whatever the clocks do', () => {
  const { elapsed, pass } = clocks();
  let before = elapsed();
  for (const [monotonic, timeOfDay] of [
    [0, -5_000],
    [0, 5_000],
    [100, -100],
    [0, 0],
    [1, 60_000],
  ]) {
    pass(monotonic ?? 0, timeOfDay);
    const now = elapsed();
    expect(now).toBeGreaterThanOrEqual(before);
    before = now;
  }
});

test('without clocks of its own it uses those of the process', () => {
  const elapsed = createStopwatch();
  const first = elapsed();
  expect(first).toBeGreaterThanOrEqual(0);
  expect(elapsed()).toBeGreaterThanOrEqual(first);
});
