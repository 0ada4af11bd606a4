import { expect, test } from 'vitest';
import {
  ENDED_STATUSES,
  FIRST_STATUSES,
  mayFollow,
  SLICE_LIFE,
  SLICE_STATUSES,
} from '../../src/domain/slice-life.ts';

const after = (status: (typeof SLICE_STATUSES)[number]) =>
  SLICE_STATUSES.filter((next) => mayFollow(status, next));

test('every status is reached from a first one', () => {
  const reached = new Set(FIRST_STATUSES);
  for (const status of reached) for (const next of after(status)) reached.add(next);
  expect([...reached].sort()).toEqual([...SLICE_STATUSES].sort());
});

test('a life ends: no status comes back', () => {
  const reach = (from: (typeof SLICE_STATUSES)[number], seen: readonly string[]): void => {
    expect(seen).not.toContain(from);
    for (const next of after(from)) reach(next, [...seen, from]);
  };
  for (const first of FIRST_STATUSES) reach(first, []);
});

test('rows are deleted only where no reader will ever see them', () => {
  for (const ended of ENDED_STATUSES) expect(after(ended)).not.toContain('complete');
  expect(ENDED_STATUSES).not.toContain('complete');
});

test('each step has its cause', () => {
  for (const causes of Object.values(SLICE_LIFE)) {
    for (const cause of Object.values(causes)) expect(cause).toMatch(/^\S.{20}/);
  }
});
