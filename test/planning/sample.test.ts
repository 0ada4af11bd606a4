import { describe, expect, test } from 'vitest';
import {
  absentShare,
  drawAbsent,
  drawRows,
  type SampleSlice,
  seededChance,
} from '../../src/planning/sample.ts';

const slice = (id: number, rows: number, more: Partial<SampleSlice> = {}): SampleSlice => ({
  id: String(id),
  searchType: 'web',
  dataset: 'page',
  date: `2026-01-${String(id + 1).padStart(2, '0')}`,
  version: 1,
  fetchedAt: '2026-02-01T00:00:00Z',
  rows,
  part: '',
  capped: false,
  replacedCharacters: 0,
  ...more,
});

describe('rows', () => {
  test('each is as likely, whatever its slice: one of 9,000 rows is drawn nine times as often as one of 1,000', () => {
    const slices = [slice(0, 1_000), slice(1, 0), slice(2, 9_000)];
    const chance = seededChance(5);
    const counts = new Map<string, number>();
    for (let turn = 0; turn < 400; turn += 1) {
      for (const { slice: from, count } of drawRows(slices, 10, chance)) {
        counts.set(from.id, (counts.get(from.id) ?? 0) + count);
      }
    }
    expect(counts.get('1')).toBeUndefined();
    // 4,000 draws: the expected 400, within five standard deviations.
    expect(Math.abs((counts.get('0') ?? 0) - 400)).toBeLessThan(95);
    expect((counts.get('0') ?? 0) + (counts.get('2') ?? 0)).toBe(4_000);
  });

  test('none is drawn twice: as many as there are is all of them, and no more', () => {
    const slices = [slice(0, 3), slice(1, 7), slice(2, 1)];
    const draws = drawRows(slices, 50, seededChance(1));
    expect(draws.map(({ slice: { id }, count }) => [id, count])).toEqual([
      ['0', 3],
      ['1', 7],
      ['2', 1],
    ]);
    expect(drawRows([], 5, seededChance(1))).toEqual([]);
  });

  test('the same seed draws the same, another does not', () => {
    const slices = Array.from({ length: 30 }, (_, index) => slice(index, 100 + index));
    const drawn = (seed: number) => JSON.stringify(drawRows(slices, 20, seededChance(seed)));
    expect(drawn(3)).toBe(drawn(3));
    expect(drawn(3)).not.toBe(drawn(4));
  });
});

describe('keys that the table does not have', () => {
  test('a tenth of the sample, and one of two', () => {
    expect([1, 2, 10, 19, 100].map(absentShare)).toEqual([0, 1, 1, 1, 10]);
  });

  test('come from another day of the same kind; empty days are asked for, capped ones and totals are not', () => {
    const slices = [
      slice(0, 10),
      slice(1, 0),
      slice(2, 50_000, { capped: true }),
      slice(3, 10, { dataset: 'query' }),
      slice(4, 1, { dataset: 'date' }),
    ];
    const draws = drawAbsent(slices, 200, seededChance(2));
    const pairs = new Set(draws.map(({ slice: { id }, donor }) => `${id} from ${donor.id}`));
    // Of "query" there is one day alone.
    expect([...pairs].sort()).toEqual(['0 from 2', '1 from 0', '1 from 2']);
  });

  test('none where there is nothing to ask for', () => {
    expect(drawAbsent([slice(0, 5, { dataset: 'date' })], 3, seededChance(1))).toEqual([]);
    expect(drawAbsent([], 3, seededChance(1))).toEqual([]);
  });
});

test('chances are spread over all of [0, 1)', () => {
  const chance = seededChance(0);
  const tenths = Array.from({ length: 10 }, () => 0);
  for (let turn = 0; turn < 10_000; turn += 1) {
    const tenth = Math.floor(chance() * 10);
    tenths[tenth] = (tenths[tenth] ?? 0) + 1;
  }
  for (const count of tenths) expect(Math.abs(count - 1_000)).toBeLessThan(150);
});
