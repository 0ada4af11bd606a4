import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  HIGH_BITS,
  KeyPacker,
  type PageKeys,
  PlacePool,
  ROWS_PER_PAGE,
} from '../../../src/postgres/duplicates/packed-keys.ts';

type Key = readonly [low: number, high: number];

/** Also the ends of the range, where shifts go wrong. */
const word = fc.oneof(
  fc.nat(0xffffffff),
  fc.constantFrom(0, 1, 0x1ffff, 0x20000, 0x7fffffff, 0x80000000, 0xffffffff),
);
const key: fc.Arbitrary<Key> = fc.tuple(word, fc.nat(2 ** HIGH_BITS - 1));

const keysOf = (keys: readonly Key[]): PageKeys => ({
  low: Int32Array.from(keys, ([low]) => low),
  high: Uint8Array.from(keys, ([, high]) => high),
  rows: keys.length,
});
const arrays = () => ({ low: new Int32Array(ROWS_PER_PAGE), high: new Uint8Array(ROWS_PER_PAGE) });

function sorted({ low, high, rows }: PageKeys): number[] {
  return Array.from({ length: rows }, (_, row) => (high[row] ?? 0) * 2 ** 32 + ((low[row] ?? 0) >>> 0)).sort(
    (one, other) => one - other,
  );
}

test('keys come back as they were, in any order, from a place that others have used, beside others', () => {
  const packer = new KeyPacker();
  const pool = new PlacePool();
  fc.assert(
    fc.property(fc.array(fc.array(key, { maxLength: 200 }), { minLength: 2, maxLength: 4 }), (pages) => {
      const kept = pages.map((page) => ({ page: keysOf(page), place: pool.take() }));
      for (const { page, place } of kept) packer.pack(page, place);
      for (const { page, place } of kept)
        expect(sorted(packer.unpack(place, page.rows, arrays()))).toEqual(sorted(page));
      for (const { place } of kept) pool.give(place);
    }),
    { numRuns: 60 },
  );
});

test.each([
  ['spread over all buckets', (row: number): Key => [Math.imul(row, 0x9e3779b1) >>> 0, row % 16]],
  ['in the first bucket', (row: number): Key => [row % 1_000, row % 16]],
  ['in the last bucket, all ones', (): Key => [0xffffffff, 15]],
])('a full page fits, its keys %s, and leaves its neighbours alone', (_, keyOf) => {
  const packer = new KeyPacker();
  const pool = new PlacePool();
  const page = keysOf(Array.from({ length: ROWS_PER_PAGE }, (_unused, row) => keyOf(row)));
  const other = keysOf([[0x12345678, 9]]);
  const places = [pool.take(), pool.take(), pool.take()] as const;
  packer.pack(other, places[0]);
  packer.pack(other, places[2]);
  packer.pack(page, places[1]);
  expect(sorted(packer.unpack(places[1], page.rows, arrays()))).toEqual(sorted(page));
  for (const place of [places[0], places[2]])
    expect(sorted(packer.unpack(place, 1, arrays()))).toEqual(sorted(other));
});
