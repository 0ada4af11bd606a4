// Holds invariants 10 of SPEC.md.
import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { errorFacts, oneLine } from '../../src/domain/error-facts.ts';
import { judge, type SealFacts } from '../../src/planning/seal.ts';
import { isConnectionLoss, isRejection, toFailure } from '../../src/postgres/driver/failure.ts';
import { KeyHashes } from '../../src/postgres/duplicates/key-hashes.ts';
import { plainRows, type RowBlock, rowBlock } from '../../src/rows/row-block.ts';
import { scanRows } from '../../src/search-console/answer/scan-rows.ts';

describe('how a slice ends', () => {
  const facts: SealFacts = {
    rows: 10,
    duplicatesDropped: 0,
    isRefetch: false,
    mayBeEmpty: true,
    acceptShrunk: false,
    previous: null,
  };
  const judged = (change: Partial<SealFacts>): string => {
    const verdict = judge({ ...facts, ...change });
    return verdict.kind === 'complete' ? `complete${verdict.lookAgain ? ' again' : ''}` : verdict.kind;
  };
  const previous = (rows: number, final = true): SealFacts['previous'] => ({ rows, final });

  test.each<[string, Partial<SealFacts>, string]>([
    ['rows', {}, 'complete'],
    ['no rows on a day that has passed', { rows: 0 }, 'complete'],
    ['no rows on a day that may yet come', { rows: 0, mayBeEmpty: false }, 'abandoned'],
    ['rows on a day that may yet come', { mayBeEmpty: false }, 'complete'],
    ['no rows where the calendar has some', { rows: 0, notEmpty: 'clicks' }, 'failed'],
    ['the same, and it may yet come', { rows: 0, notEmpty: 'clicks', mayBeEmpty: false }, 'failed'],
    ['no rows where there were some', { rows: 0, previous: previous(1) }, 'kept'],
    ['the same, where the calendar has some', { rows: 0, notEmpty: 'clicks', previous: previous(1) }, 'kept'],
    ['the same, forced', { rows: 0, previous: previous(1), acceptShrunk: true }, 'kept'],
    [
      'no rows where there were some, and it may yet come',
      { rows: 0, mayBeEmpty: false, previous: previous(1) },
      'abandoned',
    ],
    ['no rows where there were none', { rows: 0, previous: previous(0) }, 'complete'],
    ['half', { rows: 50, previous: previous(100) }, 'complete'],
    ['less than half', { rows: 49, previous: previous(100) }, 'kept'],
    ['less than half, forced', { rows: 49, previous: previous(100), acceptShrunk: true }, 'complete'],
    ['less than half of few', { rows: 1, previous: previous(99) }, 'complete'],
    ['less than half of what was not final', { rows: 1, previous: previous(100, false) }, 'complete'],
    ['none where a few were not final', { rows: 0, previous: previous(3, false) }, 'complete'],
    ['none where many were not final', { rows: 0, previous: previous(100, false) }, 'failed'],
    [
      'none where a few were not final, and the calendar has some',
      { rows: 0, notEmpty: 'clicks', previous: previous(3, false) },
      'failed',
    ],
    ['duplicates', { duplicatesDropped: 1 }, 'complete again'],
    ['a second look, better', { isRefetch: true, previous: previous(9) }, 'complete'],
    ['a second look, equal', { isRefetch: true, duplicatesDropped: 1, previous: previous(10) }, 'complete'],
    ['a second look, worse', { isRefetch: true, duplicatesDropped: 2, previous: previous(11) }, 'abandoned'],
    ['a second look, empty', { isRefetch: true, rows: 0, previous: previous(0) }, 'abandoned'],
    ['a second look whose first was dropped', { isRefetch: true, duplicatesDropped: 2 }, 'complete'],
  ])('%s', (_, change, expected) => {
    expect(judged(change)).toBe(expected);
  });

  test('the cap is noted at 50,000 rows', () => {
    expect(judge({ ...facts, rows: 49_999 })).toMatchObject({ capped: false });
    expect(judge({ ...facts, rows: 50_000 })).toMatchObject({ capped: true });
    // Google gave 50,000: that two of them were one makes no room for others.
    expect(judge({ ...facts, rows: 49_998, duplicatesDropped: 2 })).toMatchObject({ capped: true });
  });
});

describe('what an error means', () => {
  const error = (code: string, severity = 'ERROR'): unknown =>
    Object.assign(new Error('x'), { code, severity });

  test.each([
    '57P01',
    '57P03',
    '40P01',
    '55P03',
    '53300',
    '08006',
    'CONNECTION_CLOSED',
    'CONNECT_TIMEOUT',
    'ECONNREFUSED',
  ])('%s: the database is away', (code) => {
    expect(toFailure(error(code, code.startsWith('08') ? 'FATAL' : 'ERROR'))).toMatchObject({
      kind: 'databaseAway',
    });
  });
  test.each([
    ['53100', 'DATABASE_DISK_FULL'],
    ['42501', 'DATABASE_REFUSED'],
    ['22P05', 'DATABASE_NOT_UTF8'],
    ['42P01', 'MIGRATION_FAILED'],
  ])('%s: %s', (code, expected) => {
    expect(toFailure(error(code))).toMatchObject({ kind: 'fatal', code: expected });
  });
  test('a bug stays a bug', () => {
    expect(toFailure(new TypeError('x'))).toBeUndefined();
    expect(toFailure(error('42601'))).toBeUndefined();
  });
  test.each(['22003', '22P02', '22P04', '23514', '54000'])('%s: the rows are refused', (code) => {
    expect(isRejection(error(code))).toBe(true);
    expect(toFailure(error(code))).toBeUndefined();
  });
  test('a session is over when the server says FATAL, or nothing more', () => {
    expect(isConnectionLoss(error('57P01', 'FATAL'))).toBe(true);
    expect(isConnectionLoss(error('57014'))).toBe(false);
    expect(isConnectionLoss(error('08P01'))).toBe(false);
  });
  test('messages are one line and hold no password', () => {
    expect(oneLine('a\n  b postgres://me:s3cret@host/db')).toBe('a b postgres://me:***@host/db');
    expect(oneLine('postgres://me:s3@cr/t@host/db')).toBe('postgres://me:***@host/db');
    expect(oneLine('sslpassword=s3cret refused')).toBe('sslpassword=*** refused');
    const many = new AggregateError([new Error('connect ::1'), new Error('connect 127.0.0.1')]);
    expect(errorFacts(many).message).toBe('connect ::1; connect 127.0.0.1');
  });
});

describe('keys that come twice', () => {
  const rows = (keys: readonly (readonly string[])[]): RowBlock =>
    rowBlock(keys.map((each) => ({ keys: each, clicks: 1, impressions: 1, position: 1 })));

  test('are counted over the pages of a slice as a plain count would', () => {
    const key = fc.tuple(
      fc.constantFrom('a', 'b', 'ab', '', 'a\0'),
      fc.constantFrom('c', 'bc', '', '\0c', 'ß'),
    );
    fc.assert(
      fc.property(
        fc.array(fc.array(key, { minLength: 1, maxLength: 30 }), { minLength: 1, maxLength: 4 }),
        (pages) => {
          const hashes = new KeyHashes();
          let start = 0;
          let counted: number | undefined;
          for (const page of pages) {
            const table = hashes.read(rows(page));
            counted = hashes.suspects('1', start, table);
            hashes.keep('1', start, table);
            start += page.length;
          }
          const all = pages.flat().map((each) => JSON.stringify(each));
          return counted === all.length - new Set(all).size;
        },
      ),
    );
  });

  const many = (count: number, salt: number): RowBlock =>
    rows(
      Array.from({ length: count }, (_, index) => [
        `https://example.com/${index}`,
        `query ${salt} ${index % 7}`,
      ]),
    );

  test('49,000 different keys are different', () => {
    const hashes = new KeyHashes();
    hashes.keep('1', 0, hashes.read(many(24_500, 1)));
    expect(hashes.suspects('1', 24_500, hashes.read(many(24_500, 2)))).toBe(0);
    expect(hashes.suspects('1', 24_500, hashes.read(many(24_500, 1)))).toBe(24_500);
  });

  test('of slices side by side are each slice’s own, also in memory that an ended one has left', {
    tags: ['long'],
  }, () => {
    const hashes = new KeyHashes();
    const page = (salt: number) => hashes.read(many(25_000, salt));
    for (let slice = 0; slice < 20; slice += 1) hashes.keep(String(slice), 0, page(slice));
    for (let slice = 0; slice < 20; slice += 2) hashes.forget(String(slice));
    for (let slice = 20; slice < 30; slice += 1) hashes.keep(String(slice), 0, page(slice));
    for (let slice = 1; slice < 30; slice += slice < 20 ? 2 : 1) {
      expect(hashes.suspects(String(slice), 25_000, page(slice))).toBe(25_000);
      expect(hashes.suspects(String(slice), 25_000, page(slice + 100))).toBe(0);
    }
  });

  test('are the same however they were written, and whatever their length', () => {
    const long = 'x'.repeat(3_000);
    const answer = (keys: readonly string[]): RowBlock => {
      const texts = keys.map((key) => `{"keys":["${key}"],"clicks":1,"impressions":1,"ctr":1,"position":1}`);
      const scanned = scanRows(Buffer.from(`{"rows":[${texts.join(',')}]}`), 1, 25_000);
      return scanned?.block ?? rows([]);
    };
    const hashes = new KeyHashes();
    hashes.keep('1', 0, hashes.read(answer(['a&b=c', `${long}/\\n`, 'é', 'only here'])));
    const other = ['a\\u0026b\\u003Dc', `${long}\\/\\u000a`, '\\u00e9', 'only there'];
    expect(hashes.suspects('1', 4, hashes.read(answer(other)))).toBe(3);
  });

  test('of a page larger than Google gives are not known', () => {
    const hashes = new KeyHashes();
    const page = hashes.read(many(25_001, 1));
    hashes.keep('1', 0, hashes.read(many(25_000, 1)));
    hashes.keep('1', 0, page);
    expect(hashes.suspects('1', 25_001, page)).toBeUndefined();
    expect(hashes.suspects('1', 25_000, page)).toBeUndefined();
  });

  test('of a slice that has all rows there can be are counted once: 300 such slices are all known', () => {
    const hashes = new KeyHashes();
    const first = hashes.read(many(25_000, 1));
    const second = hashes.read(
      rows([...plainRows(many(24_000, 2)), ...plainRows(many(1_000, 1))].map(({ keys }) => keys)),
    );
    for (let slice = 0; slice < 300; slice += 1) {
      hashes.keep(String(slice), 0, first);
      hashes.keep(String(slice), 25_000, second);
    }
    const nothing = hashes.read(rows([]));
    for (let slice = 0; slice < 300; slice += 1) {
      expect(hashes.suspects(String(slice), 50_000, nothing)).toBe(1_000);
    }
    // Should Google give more all the same, SQL has to look.
    expect(hashes.suspects('0', 50_000, first)).toBeUndefined();
    hashes.forget('0');
    expect(hashes.suspects('0', 50_000, nothing)).toBeUndefined();
  });

  test('are not known where an earlier page is not', () => {
    const hashes = new KeyHashes();
    const page = hashes.read(rows([['a'], ['b']]));
    expect(hashes.suspects('1', 2, page)).toBeUndefined();
    hashes.keep('1', 0, hashes.read(rows([['a'], ['b']])));
    expect(hashes.suspects('1', 2, page)).toBe(2);
    expect(hashes.suspects('1', 4, page)).toBeUndefined();
    hashes.forget('1');
    expect(hashes.suspects('1', 2, page)).toBeUndefined();
  });

  test('of too many slices are forgotten, the oldest first', () => {
    const hashes = new KeyHashes();
    const one = rows([['a']]);
    for (let slice = 0; slice < 400; slice += 1) hashes.keep(String(slice), 0, hashes.read(one));
    const page = hashes.read(one);
    expect(hashes.suspects('0', 1, page)).toBeUndefined();
    expect(hashes.suspects('399', 1, page)).toBe(1);
  });
});
