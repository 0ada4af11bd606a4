import { describe, expect, it } from 'vitest';
import { plainRows } from '../../../src/rows/row-block.ts';
import { decodeRows } from '../../../src/search-console/answer/decode-rows.ts';

const ROW = { keys: ['https://x/', 'q'], clicks: 3, impressions: 10, ctr: 0.3, position: 1.5 };
const decode = (answer: unknown, keyCount = 2, rowLimit = 25_000) =>
  decodeRows(Buffer.from(typeof answer === 'string' ? answer : JSON.stringify(answer)), {
    keyCount,
    rowLimit,
  });
const rowsOf = (answer: unknown, keyCount?: number) => {
  const decoded = decode(answer, keyCount);
  if ('problem' in decoded) throw new Error(decoded.problem);
  return plainRows(decoded.answer.rows).map(({ keys, clicks, impressions, position }) => ({
    keys,
    clicks,
    impressions,
    position,
  }));
};

describe('rows', () => {
  it('come as they were sent', () => {
    expect(rowsOf({ rows: [ROW, { ...ROW, keys: ['größe 🦊\t\\"', ''], clicks: 0 }] })).toEqual([
      { keys: ['https://x/', 'q'], clicks: 3, impressions: 10, position: 1.5 },
      { keys: ['größe 🦊\t\\"', ''], clicks: 0, impressions: 10, position: 1.5 },
    ]);
  });

  it.each([[{}], [{ rows: null }], [{ rows: [] }], [{ rows: [], responseAggregationType: 'byPage' }]])(
    'are none where %j',
    (answer) => expect(rowsOf(answer)).toEqual([]),
  );

  it('have no position for Discover, and no keys for totals', () => {
    const { position: _, ...rest } = ROW;
    expect(rowsOf({ rows: [rest] })).toMatchObject([{ position: null }]);
    expect(rowsOf({ rows: [{ clicks: 1, impressions: 2, ctr: 0.5, position: 4 }] }, 0)).toEqual([
      { keys: [], clicks: 1, impressions: 2, position: 4 },
    ]);
  });

  it('are counts, though the wire has doubles', () => {
    expect(rowsOf('{"rows":[{"keys":["a","b"],"clicks":5.0,"impressions":1e3,"position":1}]}')).toMatchObject(
      [{ clicks: 5, impressions: 1000 }],
    );
  });

  it('come with what else the answer says', () => {
    expect(
      decode({
        rows: [ROW],
        responseAggregationType: 'byPage',
        metadata: { firstIncompleteDate: '2026-01-02' },
      }),
    ).toMatchObject({
      answer: { firstIncompleteDate: '2026-01-02', responseAggregationType: 'byPage' },
    });
    expect(decode({ metadata: { first_incomplete_date: '2026-01-02' } })).toMatchObject({
      answer: { firstIncompleteDate: '2026-01-02', responseAggregationType: null, bytes: 51 },
    });
    expect(decode({})).toMatchObject({ answer: { firstIncompleteDate: null } });
  });
});

describe('what is refused, with a sentence', () => {
  const row = (change: object) => ({ rows: [ROW, { ...ROW, ...change }] });
  it.each([
    ['', 'The answer is not whole JSON (0 bytes).'],
    ['{"rows":[', 'The answer is not whole JSON (9 bytes).'],
    ['<html>', 'The answer is not whole JSON (6 bytes).'],
    ['[]', 'The answer is not a JSON object.'],
    ['null', 'The answer is not a JSON object.'],
    [{ error: { code: 500 } }, 'The answer has status 200 and holds an error.'],
    [{ rows: {} }, 'The answer has rows that are not an array.'],
    [{ rows: [null] }, 'Row 0 is not an object.'],
    [{ rows: [[]] }, 'Row 0 is not an object.'],
    [row({ keys: ['a'] }), 'Row 1 has not 2 keys.'],
    [row({ keys: ['a', 'b', 'c'] }), 'Row 1 has not 2 keys.'],
    [row({ keys: undefined }), 'Row 1 has not 2 keys.'],
    [row({ keys: 'ab' }), 'Row 1 has not 2 keys.'],
    [row({ keys: ['a', 7] }), 'Row 1 has a key that is not text.'],
    [row({ keys: ['a', null] }), 'Row 1 has a key that is not text.'],
    [row({ clicks: -1 }), 'Row 1 has clicks that are not a count.'],
    [row({ clicks: 1.5 }), 'Row 1 has clicks that are not a count.'],
    [row({ clicks: '1' }), 'Row 1 has clicks that are not a count.'],
    [row({ clicks: undefined }), 'Row 1 has clicks that are not a count.'],
    [row({ impressions: 2 ** 53 }), 'Row 1 has impressions that are not a count.'],
    [
      '{"rows":[{"keys":["a","b"],"clicks":1,"impressions":1e999}]}',
      'Row 0 has impressions that are not a count.',
    ],
    [row({ position: -0.1 }), 'Row 1 has a position that is not a number of 0 or more.'],
    [row({ position: '1' }), 'Row 1 has a position that is not a number of 0 or more.'],
    [
      '{"rows":[{"keys":["a","b"],"clicks":1,"impressions":1,"position":1e999}]}',
      'Row 0 has a position that is not a number of 0 or more.',
    ],
    [
      { metadata: { firstIncompleteDate: '2026-02-30' } },
      'The answer has a firstIncompleteDate that is not a day.',
    ],
    [
      { metadata: { firstIncompleteDate: 20260101 } },
      'The answer has a firstIncompleteDate that is not a day.',
    ],
    [{ metadata: 'x' }, 'The answer has metadata that is not an object.'],
  ])('%j', (answer, problem) => {
    expect(decode(answer)).toEqual({ problem });
  });

  it('more rows than were asked for', () => {
    expect(decode({ rows: [ROW, ROW, ROW] }, 2, 2)).toEqual({
      problem: 'The answer has 3 rows where 2 were asked for.',
    });
    expect(decode({ rows: [ROW, ROW] }, 2, 2)).toHaveProperty('answer');
  });

  it('bytes that are no UTF-8: a key with replaced letters would be a wrong row', () => {
    const bytes = Buffer.concat([Buffer.from('{"rows":[],"x":"'), Buffer.of(0xff, 0xfe), Buffer.from('"}')]);
    expect(decodeRows(bytes, { keyCount: 1, rowLimit: 1 })).toEqual({
      problem: 'The answer is not valid UTF-8.',
    });
  });
});
