import { expect, test } from 'vitest';
import { compareRows, findRow, whyNotAsked } from '../../src/domain/row-check.ts';

const ROW = { clicks: 3, impressions: 40, position: 7.123456789012345 };

test.each([
  ['equal', ROW, ROW],
  ['equal', ROW, { ...ROW, position: 7.123456789012346 }],
  ['equal', { ...ROW, position: null }, { ...ROW, position: null }],
  ['equal', null, null],
  ['changed', ROW, { ...ROW, clicks: 4 }],
  ['changed', ROW, { ...ROW, impressions: 41 }],
  ['changed', ROW, { ...ROW, position: 7.1234568 }],
  ['changed', ROW, { ...ROW, position: null }],
  ['changed', { ...ROW, position: null }, { ...ROW, position: 0 }],
  ['missingAtGoogle', ROW, null],
  ['missingInTable', null, ROW],
] as const)('%s: %j and %j', (expected, table, google) => {
  expect(compareRows(table, google)).toBe(expected);
});

test.each([
  [0, [['https://a.example/X'], ['https://a.example/x']], ['https://a.example/X']],
  [1, [['https://a.example/X'], ['https://a.example/x']], ['https://a.example/x']],
  // The exact key goes before another spelling of it.
  [1, [['https://a.example/ä'], ['https://a.example/%C3%A4']], ['https://a.example/%C3%A4']],
  [0, [['https://a.example/ä']], ['https://a.example/%C3%A4']],
  [0, [['cafe\u0301']], ['café']],
  [-1, [['100%']], ['100']],
  [-1, [['https://a.example/X']], ['https://a.example/x']],
  [-1, [['a', 'b']], ['a', 'c']],
  [-1, [], ['a']],
  // Totals have no key.
  [0, [[]], []],
] as const)('row %i of %j has the key %j', (index, keys, key) => {
  const rows = keys.map((ofRow) => ({ keys: ofRow }));
  expect(findRow(rows, key)).toBe(rows[index]);
});

test.each([
  [undefined, ['https://a.example/', 'x'.repeat(4_096)], 0],
  ['tooLong', ['https://a.example/', 'x'.repeat(4_097)], 0],
  ['empty', ['https://a.example/', ''], 0],
  // As Google has it: nothing in this slice was replaced.
  [undefined, ['a\uFFFDb'], 0],
  ['replacedCharacters', ['a\uFFFDb'], 1],
  [undefined, ['ab'], 1],
  [undefined, [], 0],
] as const)('%s: %j', (expected, keys, replaced) => {
  expect(whyNotAsked(keys, replaced)).toBe(expected);
});
