import { describe, expect, test } from 'vitest';
import { addDays } from '../../src/domain/day.ts';
import type { SearchType, SliceKey } from '../../src/domain/slice.ts';
import { keysOf, speculativeKeys } from '../../src/planning/plan.ts';

const today = '2026-06-30';
const missing = (days: number, searchTypes: readonly SearchType[] = ['web']): SliceKey[] =>
  keysOf({ from: addDays(today, 1 - days), to: today, searchTypes, datasets: ['page', 'query'] });
const speculative = (keys: readonly SliceKey[], maxConcurrency: number, batchSize: number) =>
  speculativeKeys(keys, { maxConcurrency, batchSize, today });

describe('speculative slices', () => {
  test('is a batch for each worker but those with a calendar, newest first, ten days old at least', () => {
    const keys = speculative(missing(400), 4, 50);
    expect(keys).toHaveLength(150);
    expect(keys[0]).toEqual({ searchType: 'web', dataset: 'page', date: '2026-06-20' });
    expect(keys.at(-1)).toEqual({ searchType: 'web', dataset: 'query', date: '2026-04-07' });
    expect(speculative(missing(400, ['web', 'image']), 4, 50)).toHaveLength(100);
  });

  test('is a batch even where there are as many calendars as workers', () => {
    expect(speculative(missing(400, ['web', 'image', 'video']), 2, 50)).toHaveLength(50);
  });

  test('is half of what is missing at most', () => {
    expect(speculative(missing(600), 12, 50)).toHaveLength(550);
    expect(speculative(missing(599), 12, 50)).toEqual([]);
  });

  test('is of web alone', () => {
    expect(
      new Set(speculative(missing(400, ['image', 'web']), 4, 50).map(({ searchType }) => searchType)),
    ).toEqual(new Set(['web']));
    expect(speculative(missing(400, ['image', 'news']), 4, 50)).toEqual([]);
  });

  test('is nothing in less than two rounds, with one worker, or where no day is old enough', () => {
    expect(speculative(missing(80), 4, 20)).toHaveLength(60);
    expect(speculative(missing(79), 4, 20)).toEqual([]);
    expect(speculative(missing(400), 1, 50)).toEqual([]);
    expect(speculative(missing(10), 2, 1)).toEqual([]);
  });
});
