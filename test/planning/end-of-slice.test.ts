import { expect, test } from 'vitest';
import type { SliceKey } from '../../src/domain/slice.ts';
import { createSliceEnds, type EndingPage } from '../../src/planning/end-of-slice.ts';

const page: EndingPage = { dataset: 'page+query', startRow: 0, rows: 37, rowLimit: 25_000 };
const slice = { id: '7', searchType: 'web', dataset: 'page+query', date: '2026-03-01' } as const;
const UNLUCKY = 0.5;

test('one short page of each dataset is looked behind, then two of a hundred', () => {
  const ends = createSliceEnds('auto', () => undefined);
  expect(ends.endOf(page, UNLUCKY)).toBe('empty');
  expect(ends.endOf({ ...page, dataset: 'page' }, UNLUCKY)).toBe('empty');
  const drawn = Array.from({ length: 1_000 }, (_, index) => ends.endOf(page, index / 1_000));
  expect(drawn.filter((end) => end === 'empty')).toHaveLength(20);
  expect(drawn.filter((end) => end === 'unlessDistrusted')).toHaveLength(980);
});

test('a count that looks like a limit is always looked behind; totals, full and empty pages never', () => {
  const ends = createSliceEnds('auto', () => undefined);
  ends.endOf(page, UNLUCKY);
  const endOf = (change: Partial<EndingPage>): string => ends.endOf({ ...page, ...change }, UNLUCKY);
  expect(endOf({ rows: 5_000 })).toBe('empty');
  expect(endOf({ rows: 1_000 })).toBe('empty');
  expect(endOf({ startRow: 25_000, rows: 2_000 })).toBe('empty');
  expect(endOf({ rows: 5_001 })).toBe('unlessDistrusted');
  expect(endOf({ rows: 25_000 })).toBe('unlessDistrusted');
  expect(endOf({ rows: 0 })).toBe('unlessDistrusted');
  expect(createSliceEnds('auto', () => undefined).endOf({ ...page, dataset: 'date', rows: 1 }, 0)).toBe(
    'unlessDistrusted',
  );
});

test('once rows have come after a short page, only an empty page is an end; each slice is told of once', () => {
  const told: SliceKey[] = [];
  const ends = createSliceEnds('auto', (key) => told.push(key));
  ends.endOf(page, UNLUCKY);
  ends.shortPageSeen(slice);
  ends.shortPageSeen(slice);
  ends.shortPageSeen({ ...slice, id: '8', date: '2026-03-02' });
  expect(ends.shortPages()).toBe(2);
  expect(told.map(({ date }) => date)).toEqual(['2026-03-01', '2026-03-02']);
  expect(ends.endOf({ ...page, rows: 38 }, UNLUCKY)).toBe('empty');
});

test.each(['short', 'empty'] as const)('"%s" leaves nothing to chance', (mode) => {
  const ends = createSliceEnds(mode, () => undefined);
  for (const chance of [0, 0.5])
    for (const rows of [0, 37, 5_000]) expect(ends.endOf({ ...page, rows }, chance)).toBe(mode);
});
