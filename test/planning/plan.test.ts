import { describe, expect, test } from 'vitest';
import { addDays } from '../../src/domain/day.ts';
import type { SearchType, SliceKey } from '../../src/domain/slice.ts';
import { keysOf, trustedKeys } from '../../src/planning/plan.ts';

const today = '2026-06-30';
const missing = (days: number, searchTypes: readonly SearchType[] = ['web']): SliceKey[] =>
  keysOf({ from: addDays(today, 1 - days), to: today, searchTypes, datasets: ['page', 'query'] });
const trusted = (keys: readonly SliceKey[], maxConcurrency: number, batchSize: number) =>
  trustedKeys(keys, { maxConcurrency, batchSize, today });

describe('what begins on trust', () => {
  test('is a batch for each worker but those with a calendar, newest first, ten days old at least', () => {
    const keys = trusted(missing(400), 4, 50);
    expect(keys).toHaveLength(150);
    expect(keys[0]).toEqual({ searchType: 'web', dataset: 'page', date: '2026-06-20' });
    expect(keys.at(-1)).toEqual({ searchType: 'web', dataset: 'query', date: '2026-04-07' });
    expect(trusted(missing(400, ['web', 'image']), 4, 50)).toHaveLength(100);
  });

  test('is a batch even where there are as many calendars as workers', () => {
    expect(trusted(missing(400, ['web', 'image', 'video']), 2, 50)).toHaveLength(50);
  });

  test('is half of what is missing at most', () => {
    expect(trusted(missing(600), 12, 50)).toHaveLength(550);
    expect(trusted(missing(599), 12, 50)).toEqual([]);
  });

  test('is of web alone', () => {
    expect(
      new Set(trusted(missing(400, ['image', 'web']), 4, 50).map(({ searchType }) => searchType)),
    ).toEqual(new Set(['web']));
    expect(trusted(missing(400, ['image', 'news']), 4, 50)).toEqual([]);
  });

  test('is nothing in less than two rounds, with one worker, or where no day is old enough', () => {
    expect(trusted(missing(80), 4, 20)).toHaveLength(60);
    expect(trusted(missing(79), 4, 20)).toEqual([]);
    expect(trusted(missing(400), 1, 50)).toEqual([]);
    expect(trusted(missing(10), 2, 1)).toEqual([]);
  });
});
