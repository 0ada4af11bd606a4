import { expect, it } from 'vitest';
import { mostIn } from '../../bench/parts/quota.ts';
import { idealMs, type ServedCall, steadily } from '../../bench/support/schedule.ts';
import { median, percentile } from '../../bench/support/statistics.ts';

const call = (latencyMs: number, isCalendar = false, isSpeculative = false): ServedCall => ({
  number: 1,
  parts: 1,
  latencyMs,
  isCalendar,
  isSpeculative,
});

it('the critical path: calendars, then each call as soon as a worker is free', () => {
  const calls = [call(5, true), call(10), call(20), call(30), call(40)];
  expect(idealMs(calls, steadily(1))).toBe(105);
  // 10 and 20 at once; 30 follows 10, 40 follows 20.
  expect(idealMs(calls, steadily(2))).toBe(65);
  expect(idealMs(calls, steadily(4))).toBe(45);
});

it('what does not wait for the calendar goes beside it', () => {
  const calls = [call(5, true), call(10, false, true), call(20), call(30), call(40)];
  expect(idealMs(calls, steadily(1))).toBe(105);
  // 20 follows the calendar, 30 follows 10, 40 follows 20.
  expect(idealMs(calls, steadily(2))).toBe(65);
  // 10 beside the calendar; 20 and 30 when it is there, 40 follows 10.
  expect(idealMs(calls, steadily(3))).toBe(50);
});

it('workers that are added on the way take up calls from then on', () => {
  const workers = [
    { atMs: 0, workers: 1 },
    { atMs: 4, workers: 2 },
  ];
  expect(idealMs([call(10), call(10), call(10)], workers)).toBe(20);
});

it('what came a window ago counts no more', () => {
  expect(mostIn([0, 1, 2, 100, 101], 100)).toBe(3);
  expect(mostIn([0, 1, 2, 99, 101], 100)).toBe(4);
});

it('medians and percentiles', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  expect(percentile([1, 2, 3, 4], 0.99)).toBe(4);
  expect(percentile([1, 2, 3, 4], 0.5)).toBe(2);
});
