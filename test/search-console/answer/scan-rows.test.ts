// @module-tag sized
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { plainRows, rowBlock } from '../../../src/rows/row-block.ts';
import { decodeRows } from '../../../src/search-console/answer/decode-rows.ts';
import { scanRows } from '../../../src/search-console/answer/scan-rows.ts';
import { sized } from '../../support/size.ts';

/** What JSON.parse makes of an answer, as plain rows. */
function parsed(json: string) {
  const { rows } = JSON.parse(json) as {
    rows: { keys?: string[]; clicks: number; impressions: number; position?: number | null }[];
  };
  return rows.map(({ keys = [], clicks, impressions, position = null }) => ({
    keys,
    clicks,
    impressions,
    position,
  }));
}

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 30 }),
  fc.string({ unit: 'binary', maxLength: 30 }),
  fc.string({
    unit: fc.constantFrom(
      '"',
      '\\',
      '/',
      '\b',
      '\f',
      '\n',
      '\r',
      '\t',
      '\0',
      '{',
      ']',
      ',',
      'é',
      '😀',
      '\ud83d',
    ),
    maxLength: 12,
  }),
);
const field = fc.record({
  keys: fc.tuple(text, text),
  clicks: fc.nat(),
  impressions: fc.nat(),
  ctr: fc.double({ min: 1e-9, max: 1, noNaN: true }),
  position: fc.oneof(fc.double({ min: 1e-9, max: 1e6, noNaN: true }), fc.constant(1e-7), fc.constant(0)),
});
/** Fields in any order, and a row without a position. */
const row = fc
  .tuple(field, fc.array(fc.nat(), { minLength: 5, maxLength: 5 }), fc.boolean())
  .map(([fields, order, bare]) => {
    const entries = Object.entries(fields).filter(
      ([name]) => !(bare && (name === 'position' || name === 'ctr')),
    );
    const ranked = entries
      .map((entry, index) => ({ entry, rank: order[index] ?? 0 }))
      .sort((a, b) => a.rank - b.rank);
    return Object.fromEntries(ranked.map(({ entry }) => entry));
  });
const answer = fc.record({
  rows: fc.array(row, { maxLength: 12 }),
  responseAggregationType: fc.constant('byPage'),
});
const indent = fc.constantFrom(undefined, 1, 2, '\t', ' \n\r\t'.slice(0, 1));

describe('rows found where they lie', () => {
  it('are those that JSON.parse finds, whatever the texts, the order of fields and the white space', () => {
    fc.assert(
      fc.property(answer, indent, (value, space) => {
        const json = JSON.stringify(value, null, space);
        const scanned = scanRows(Buffer.from(json), 2, 25_000);
        expect(scanned).toBeDefined();
        if (scanned === undefined) return;
        const rows = parsed(json);
        expect(plainRows(scanned.block)).toEqual(rows);
        expect(scanned.block.clicks).toBe(rows.reduce((sum, { clicks }) => sum + clicks, 0));
        expect(scanned.block.impressions).toBe(rows.reduce((sum, { impressions }) => sum + impressions, 0));
      }),
      { numRuns: sized(100, 500) },
    );
  });

  it('are never others than those of JSON.parse when a byte of the answer is changed, lost or doubled', () => {
    fc.assert(
      fc.property(
        answer,
        indent,
        fc.nat(),
        fc.nat(255),
        fc.constantFrom('change', 'drop', 'double'),
        (value, space, where, byte, how) => {
          const whole = Buffer.from(JSON.stringify(value, null, space));
          const at = where % whole.length;
          const middle =
            how === 'change'
              ? Buffer.from([byte])
              : how === 'drop'
                ? Buffer.alloc(0)
                : whole.subarray(at, at + 2);
          const damaged = Buffer.concat([whole.subarray(0, at), middle, whole.subarray(at + 1)]);
          const decoded = decodeRows(damaged, { keyCount: 2, rowLimit: 25_000 });
          if ('problem' in decoded) return;
          // Accepted: then JSON.parse accepts it, and finds the same.
          expect(plainRows(decoded.answer.rows)).toEqual(
            ((JSON.parse(damaged.toString()) as { rows?: unknown }).rows ?? null) === null
              ? []
              : parsed(damaged.toString()),
          );
        },
      ),
      { numRuns: sized(300, 3_000) },
    );
  });

  const good = '{"keys":["a"],"clicks":1,"impressions":2,"ctr":0.5,"position":1.5}';
  it.each([
    ['a count with a fraction', good.replace('"clicks":1', '"clicks":1.0')],
    ['a count of too many digits', good.replace('"clicks":1', '"clicks":1234567890123456')],
    ['a count with a leading zero', good.replace('"clicks":1', '"clicks":01')],
    ['a negative count', good.replace('"clicks":1', '"clicks":-1')],
    ['a field it does not know', good.replace('"ctr"', '"cost"')],
    ['a field that comes twice', good.replace('"ctr":0.5', '"clicks":2')],
    ['a key that is no text', good.replace('["a"]', '[1]')],
    ['too many keys', good.replace('["a"]', '["a","b"]')],
    ['a control character', good.replace('["a"]', '["\u0001"]')],
    ['an escape that JSON has not', good.replace('["a"]', String.raw`["\x41"]`)],
    ['no clicks', good.replace('"clicks":1,', '')],
    ['a comma too many', `${good},`],
    ['an end too early', good.slice(0, -1)],
  ])('gives up at %s', (_, text) => {
    expect(scanRows(Buffer.from(`{"rows":[${text}]}`), 1, 10)).toBeUndefined();
    expect(scanRows(Buffer.from(`{"rows":[${good}]}`), 1, 10)?.block.count).toBe(1);
  });

  it('gives up where rows are not the outermost object’s own, or come twice, or are too many', () => {
    const inner = `{"metadata":{"rows":[${good}]},"rows":[${good},${good}]}`;
    const decoded = decodeRows(Buffer.from(inner), { keyCount: 1, rowLimit: 10 });
    expect('answer' in decoded && decoded.answer.rows.count).toBe(2);
    expect(scanRows(Buffer.from(`{"rows":[${good}],"rows":[]}`), 1, 10)).toBeUndefined();
    expect(scanRows(Buffer.from(`{"rows":[${good},${good}]}`), 1, 1)).toBeUndefined();
  });

  it('hold more rows than their bytes let expect, and rows without keys', () => {
    const rows = Array.from({ length: 5_000 }, (_, index) => ({ clicks: index, impressions: index }));
    const scanned = scanRows(Buffer.from(JSON.stringify({ rows })), 0, 25_000);
    expect(scanned?.block.count).toBe(5_000);
    expect(scanned === undefined ? [] : plainRows(scanned.block)[4_999]).toEqual({
      keys: [],
      clicks: 4_999,
      impressions: 4_999,
      position: null,
    });
  });

  it('come back from a block of plain rows as they went in', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            keys: fc.tuple(text, text),
            clicks: fc.nat(),
            impressions: fc.nat(),
            position: fc.option(fc.double({ min: 0, max: 100, noNaN: true })),
          }),
        ),
        (rows) => {
          expect(plainRows(rowBlock(rows, 2))).toEqual(rows);
        },
      ),
    );
  });
});
