import { expect, it } from 'vitest';
import type { SliceKey } from '../../../src/domain/slice.ts';
import { Lookup } from '../../../src/machines/rate-limiter/lookup.ts';
import { slim, slimRecord } from '../../../src/watch/inspector/slim.ts';

const SLICES: Readonly<Record<string, SliceKey>> = {
  '1': { searchType: 'web', dataset: 'page', date: '2026-05-01' },
  '2': { searchType: 'web', dataset: 'page+query', date: '2026-05-03' },
  '3': { searchType: 'image', dataset: 'page', date: '2026-05-02' },
};
const nameOf = (id: string): SliceKey | undefined => SLICES[id];
const page = (sliceId: string, startRow = 0) => ({ sliceId, startRow, attempts: 0, callFailures: 0 });

it.each([
  ['a page', page('1'), 'page 2026-05-01'],
  ['a later page', page('1', 25_000), 'page 2026-05-01 from row 25000'],
  ['a page of another type', page('3'), 'image page 2026-05-02'],
  ['a page of a slice that has ended', page('99'), 'slice 99'],
  ['a calendar', page('calendar:web'), 'calendar:web'],
  ['few pages', [page('1'), page('2')], 'page 2026-05-01, page+query 2026-05-03'],
  [
    'many pages',
    [page('1'), page('2'), page('3'), page('99')],
    '4 pages: page, page+query; 2026-05-01 to 2026-05-03',
  ],
  ['many pages that nobody knows', [page('7'), page('8'), page('9'), page('10')], '4 pages'],
  ['an account', 'user:me@example.com', 'user'],
  ['a property', 'site:sc-domain:example.com', 'site:sc-domain:example.com'],
  ['a long text', 'x'.repeat(300), `${'x'.repeat(200)}…`],
  ['a short list', [1, 2], [1, 2]],
  ['a long list', Array.from({ length: 9 }, (_, index) => index), { count: 9 }],
  [
    'a lookup',
    Lookup.of([
      ['a', 1],
      ['b', 2],
    ]),
    { count: 2 },
  ],
  ['an error', new Error('why'), 'why'],
  ['an actor', { sessionId: 'x:1', id: 'w0', send: () => undefined, deep: {} }, 'actor w0'],
  ['what is too deep', { a: { b: { c: { d: 1 } } } }, { a: { b: { c: '…' } } }],
  ['what JSON has not', [Number.NaN, 1n, undefined], ['NaN', '1', null]],
])('%s', (_, value, expected) => {
  expect(slim(value, nameOf)).toEqual(expected);
});

it('the id of a slice in an event is told in words', () => {
  const event = {
    type: 'page.committed',
    sliceId: '2',
    startRow: 0,
    rows: 7,
    next: { kind: 'sealed' },
    run: () => 1,
  };
  expect(slimRecord(event, nameOf)).toEqual({
    type: 'page.committed',
    slice: 'page+query 2026-05-03',
    startRow: 0,
    rows: 7,
    next: { kind: 'sealed' },
  });
});
