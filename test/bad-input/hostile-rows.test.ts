// @module-tag long
import { beforeAll, describe, expect, it } from 'vitest';
import { addDays } from '../../src/domain/day.ts';
import { createSync } from '../../src/sync/sync.ts';
import type { Outcome } from '../../src/sync/types.ts';
import { ledgerProblems } from '../support/ledger-check.ts';
import { testDatabase } from '../support/postgres.ts';
import { SITE, settledDays } from '../support/property.ts';
import { type Answers, honestRows, startHostileApi } from './support/hostile-api.ts';

const row = (fields: object = {}): object => ({
  ...honestRows({ startDate: 'a day', dimensions: ['page'] })[0],
  ...fields,
});
const rows = (...list: readonly unknown[]): string => JSON.stringify({ rows: list });
/** A number as it stands in the JSON, which no number of JavaScript's would be written as. */
const raw = (field: string, text: string): string => rows(row({ [field]: 'HERE' })).replace('"HERE"', text);

interface Seen {
  readonly outcome: Outcome;
  /** Rows in the view, by day. */
  readonly rows: ReadonlyMap<string, number>;
  readonly problems: readonly string[];
}

/** One run over these days with one attempt each. */
async function runAgainst(
  answers: Answers,
  days: readonly string[],
  more: { readonly batchSize?: number } = {},
): Promise<Seen> {
  const [to = ''] = days;
  await using api = await startHostileApi({ lastDay: addDays(to, 5), answers });
  await using database = await testDatabase();
  await using sync = createSync({
    siteUrl: SITE,
    database: database.url,
    from: days.at(-1) ?? '',
    to,
    datasets: ['page'],
    apiRoot: api.url,
    credentials: { accessToken: 'a-token' },
    requestsPerMinute: 40_000,
    maxAttempts: 1,
    batchSize: 10,
    ...more,
  });
  const outcome = await sync.run();
  const held = await database.sql<{ date: string; rows: number }[]>`
    select date::text as date, count(*)::int as rows from search_analytics group by date`;
  return {
    outcome,
    rows: new Map(held.map(({ date, rows: count }) => [date, count])),
    problems: await ledgerProblems(database.sql),
  };
}

/** One run in which each case has a day of its own, with an honest day beside it; said of each by itself. */
function inOneRun<T extends { readonly name: string; readonly answer: ReturnType<Answers> }>(
  cases: readonly T[],
  check: (entry: T, seen: Seen, day: string) => void,
  more: { readonly batchSize?: number } = {},
): void {
  const days = settledDays(2 * cases.length + 1);
  const dayOf = (index: number): string => days[2 * index + 1] ?? '';
  let seen: Seen;
  beforeAll(async () => {
    const hostile = new Map(cases.map(({ answer }, index) => [dayOf(index), answer]));
    seen = await runAgainst(
      ({ startDate, endDate }) => (startDate === endDate ? hostile.get(startDate) : undefined),
      days,
      more,
    );
  });
  it.each(cases.map((entry, index) => ({ ...entry, index })))('$name', (entry) => {
    check(entry, seen, dayOf(entry.index));
  });
  it('and the days between are whole, the ledger sound', () => {
    const honest = days.filter((_, index) => index % 2 === 0);
    expect(honest.map((day) => seen.rows.get(day))).toEqual(honest.map(() => 3));
    expect(seen.problems).toEqual([]);
    expect(seen.outcome.slices.planned).toBe(days.length);
  });
}

/** The day's slice failed with this reason, and the view shows nothing of it. */
function expectFailure(
  { reason }: { readonly reason: string | RegExp },
  { outcome, rows: held }: Seen,
  day: string,
): void {
  expect(outcome.status).toBe('completeWithFailures');
  const said = outcome.failures.find(({ date }) => date === day)?.reason ?? 'it did not fail';
  expect(said).toMatch(reason);
  expect(said).not.toMatch(/\p{Cc}|inside longtail|^\s+at /u);
  expect(said.length).toBeLessThan(400);
  expect(held.has(day)).toBe(false);
}

const refused = (list: readonly (readonly [string, ReturnType<Answers>, string | RegExp])[]) =>
  list.map(([name, answer, reason]) => ({ name, answer, reason }));

describe('a part that holds', () => {
  inOneRun(
    refused([
      ['nothing', '', 'not whole JSON'],
      ['null', 'null', 'not a JSON object'],
      ['a list', '[]', 'not a JSON object'],
      ['a text', '"rows"', 'not a JSON object'],
      ['HTML', '<html><title>Sign in</title></html>', 'not whole JSON'],
      ['half of its JSON', rows(row()).slice(0, -3), 'not whole JSON'],
      ['JSON and more', `${rows(row())}x`, 'not whole JSON'],
      ['single quotes', "{'rows':[]}", 'not whole JSON'],
      ['an error with status 200', '{"error":{"code":500,"message":"oops"}}', 'oops'],
      [
        'bytes that are no UTF-8',
        Buffer.concat([
          Buffer.from('{"rows":[{"keys":["'),
          Buffer.from([0xc3, 0x28]),
          Buffer.from('"],"clicks":1,"impressions":1}]}'),
        ]),
        'not valid UTF-8',
      ],
      ['UTF-16', Buffer.from(rows(row()), 'utf16le'), /not whole JSON|UTF-8/],
      [
        'an overlong encoding',
        Buffer.concat([Buffer.from('{"rows":[],"x":"'), Buffer.from([0xc0, 0xaf]), Buffer.from('"}')]),
        'not valid UTF-8',
      ],
      [
        'lists, deep',
        `{"rows":[${'['.repeat(500_000)}${']'.repeat(500_000)}]}`,
        /Row 0 is not an object|not whole JSON/,
      ],
      [
        'objects, deep',
        `{"rows":[${'{"a":'.repeat(200_000)}1${'}'.repeat(200_000)}]}`,
        /Row 0|not whole JSON/,
      ],
      [
        'an envelope, deep',
        `{"metadata":${'{"a":'.repeat(200_000)}1${'}'.repeat(200_000)},"rows":[5]}`,
        /Row 0|not whole JSON/,
      ],
      ['brackets that never close', '['.repeat(1_000_000), 'not whole JSON'],
      ['rows that are an object', '{"rows":{}}', 'rows that are not an array'],
      ['rows that are a text', '{"rows":"none"}', 'rows that are not an array'],
      ['rows that are a number', '{"rows":3}', 'rows that are not an array'],
      ['metadata that is a list', '{"rows":[],"metadata":[]}', 'metadata that is not an object'],
      [
        'a firstIncompleteDate that is none',
        '{"rows":[],"metadata":{"firstIncompleteDate":"soon"}}',
        'firstIncompleteDate that is not a day',
      ],
      ['a row that is null', rows(row(), null), 'Row 1 is not an object'],
      ['a row that is a list', rows([['a'], 1, 2]), 'Row 0 is not an object'],
      ['a row that is a number', rows(5), 'Row 0 is not an object'],
      ['a row without keys', rows(row({ keys: undefined })), 'Row 0 has not 1 keys'],
      ['keys that are a text', rows(row({ keys: 'x' })), 'Row 0 has not 1 keys'],
      ['too few keys', rows(row({ keys: [] })), 'Row 0 has not 1 keys'],
      ['too many keys', rows(row({ keys: ['a', 'b'] })), 'Row 0 has not 1 keys'],
      ['a key that is a number', rows(row({ keys: [5] })), 'Row 0 has a key that is not text'],
      ['a key that is null', rows(row({ keys: [null] })), 'Row 0 has a key that is not text'],
      ['a key that is a list', rows(row({ keys: [['a']] })), 'Row 0 has a key that is not text'],
      ['clicks left out', rows(row({ clicks: undefined })), 'clicks that are not a count'],
      ['clicks that are null', rows(row({ clicks: null })), 'clicks that are not a count'],
      ['clicks that are a text', rows(row({ clicks: '5' })), 'clicks that are not a count'],
      ['clicks below 0', rows(row({ clicks: -1 })), 'clicks that are not a count'],
      ['clicks that are a fraction', rows(row({ clicks: 1.5 })), 'clicks that are not a count'],
      ['clicks that are true', rows(row({ clicks: true })), 'clicks that are not a count'],
      ['clicks that are NaN', raw('clicks', 'NaN'), 'not whole JSON'],
      ['clicks that are Infinity', raw('clicks', 'Infinity'), 'not whole JSON'],
      ['clicks beyond a double', raw('clicks', '1e999'), 'clicks that are not a count'],
      ['clicks beyond what is exact', raw('clicks', '9007199254740993'), 'clicks that are not a count'],
      ['clicks of a thousand digits', raw('clicks', '9'.repeat(1_000)), 'clicks that are not a count'],
      ['clicks with a leading 0', raw('clicks', '007'), 'not whole JSON'],
      ['hexadecimal clicks', raw('clicks', '0x10'), 'not whole JSON'],
      ['impressions below 0', rows(row({ impressions: -5 })), 'impressions that are not a count'],
      ['impressions that are an object', rows(row({ impressions: {} })), 'impressions that are not a count'],
      [
        'sums beyond what is exact',
        rows(...[1, 2, 3].map((index) => row({ keys: [`${index}`], clicks: Number.MAX_SAFE_INTEGER }))),
        /more clicks|counted exactly/,
      ],
      ['a position below 0', rows(row({ position: -1 })), 'position that is not a number of 0 or more'],
      [
        'a position that is a text',
        rows(row({ position: '1' })),
        'position that is not a number of 0 or more',
      ],
      ['a position beyond a double', raw('position', '1e999'), 'position that is not a number of 0 or more'],
      ['a position that is NaN', raw('position', 'NaN'), 'not whole JSON'],
      [
        'more rows than were asked for',
        rows(...Array.from({ length: 25_001 }, (_, index) => row({ keys: [`${index}`] }))),
        '25001 rows where 25000 were asked for',
      ],
      ['rows twice in one object', '{"rows":[],"rows":[5]}', 'Row 0 is not an object'],
      [
        'a bare line break in a key',
        '{"rows":[{"keys":["a\nb"],"clicks":1,"impressions":1}]}',
        'not whole JSON',
      ],
      [
        'an escape that is none',
        '{"rows":[{"keys":["\\x41"],"clicks":1,"impressions":1}]}',
        'not whole JSON',
      ],
    ]),
    expectFailure,
  );
});

describe('a part that is odd, and no fault: it holds', () => {
  const odd: readonly (readonly [string, string, number])[] = [
    ['a key of ten million characters', rows(row({ keys: ['x'.repeat(10_000_000)] })), 1],
    ['a key of control characters', rows(row({ keys: ['\u0000\u0001\u001b[31m\u007f\t\n\\N\\.'] })), 1],
    ['half a surrogate pair', '{"rows":[{"keys":["\\ud83d"],"clicks":1,"impressions":1}]}', 1],
    ['an empty key', rows(row({ keys: [''] })), 1],
    ['the same key again and again', rows(...Array.from({ length: 50 }, () => row())), 1],
    ['fields that nobody knows', rows(row({ constructor: 1, __proto__: 2, extra: { deep: [1] } })), 1],
    [
      'a count written as 1.0 and 1e1',
      raw('clicks', '1.0').replace(/"impressions":\d+/, '"impressions":1e1'),
      1,
    ],
    ['no rows at all', '{}', 0],
    ['the largest count there is', rows(row({ clicks: Number.MAX_SAFE_INTEGER })), 1],
    ['the largest position there is', rows(row({ position: 1.7e308 })), 1],
  ];
  inOneRun(
    odd.map(([name, answer, count]) => ({ name, answer, count })),
    ({ count }, { outcome, rows: held }, day) => {
      expect(outcome.status).toBe('complete');
      expect(held.get(day) ?? 0).toBe(count);
    },
  );
});

describe('a part whose head is', () => {
  const heads: readonly (readonly [string, string, string | RegExp])[] = [
    ['no status line', 'nonsense', 'without a status'],
    ['of status 0', 'HTTP/1.1 000', /status/],
    ['of status 700', 'HTTP/1.1 700 What', /HTTP 700|status/],
    ['a redirect', 'HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/', 'HTTP 302'],
    ['a bad request', 'HTTP/1.1 400 Bad Request', 'HTTP 400'],
    ['not found', 'HTTP/1.1 404 Not Found', 'HTTP 404'],
    ['an error of the server', 'HTTP/1.1 503 Unavailable\r\nRetry-After: banana', 'HTTP 503'],
    ['enormous', `HTTP/1.1 200 OK\r\nX-Long: ${'x'.repeat(200_000)}`, 'larger than'],
    ['of ten thousand headers', `HTTP/1.1 200 OK\r\n${'X-Many: y\r\n'.repeat(10_000)}X: y`, 'larger than'],
  ];
  inOneRun(
    // A page that fails among many is asked for alone in the end, where nothing is wrong but the body.
    heads.map(([name, head, reason]) => ({
      name,
      answer: { head, body: '{"rows":' },
      reason: new RegExp(`${typeof reason === 'string' ? reason : reason.source}|not whole JSON`),
    })),
    expectFailure,
  );
});

describe('the answer to one request sent alone', () => {
  inOneRun(
    refused([
      ['HTML', '<html><title>Sign in</title></html>', 'not whole JSON'],
      ['rows of wrong types', rows(row({ clicks: '5' })), 'clicks that are not a count'],
      ['no UTF-8', Buffer.from([0xff, 0xfe, 0xfd]), 'not valid UTF-8'],
    ]),
    expectFailure,
    { batchSize: 1 },
  );
});

describe('a calendar', () => {
  const calendar =
    (...list: readonly object[]): Answers =>
    ({ startDate, endDate }) =>
      startDate === endDate ? undefined : JSON.stringify({ rows: list });
  const day = (date: unknown, fields: object = {}): object => ({
    keys: [date],
    clicks: 1,
    impressions: 1,
    ...fields,
  });
  const days = settledDays(4);
  const good = days.map((date) => day(date));

  it.each<readonly [string, Answers]>([
    ['with a day that is none', calendar(...good, day('2026-02-30'))],
    ['with a word for a day', calendar(...good, day('zzzz'))],
    ['with an empty day', calendar(...good, day(''))],
    ['with a day of another year', calendar(...good, day('9999-12-31'))],
    ['with a day before those asked for', calendar(...good, day('2001-01-01'))],
    ['with the same day twice', calendar(...good, ...good)],
    ['with days that are numbers', calendar(day(20260101))],
    ['with clicks below 0', calendar(day(days[0], { clicks: -1 }))],
    ['that is no JSON', ({ startDate, endDate }) => (startDate === endDate ? undefined : '<html>')],
  ])('%s ends the run with the reason, and no day is taken for empty', async (_, answers) => {
    const { outcome, rows: held, problems } = await runAgainst(answers, days);
    expect(outcome.status).toBe('failed');
    if (outcome.status !== 'failed') return;
    expect(outcome.failure.code).toBe('UNEXPECTED_ANSWER');
    expect(outcome.failure.message).toMatch(/^Google’s list of the days of "web" cannot be used: \S/);
    expect(outcome.failure.nextStep).toMatch(/\S/);
    expect(outcome.slices).toMatchObject({ complete: 0, empty: 0 });
    expect(held.size).toBe(0);
    expect(problems).toEqual([]);
  });
});
