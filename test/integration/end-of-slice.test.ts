// Holds invariants 1, 7 of SPEC.md.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createSync } from '../../src/sync/sync.ts';
import type { RetryEvent, SyncOptions } from '../../src/sync/types.ts';
import { startHostileApi } from '../bad-input/support/hostile-api.ts';
import { differences } from '../support/compare.ts';
import { ledgerProblems } from '../support/ledger-check.ts';
import { type TestDatabase, testDatabase } from '../support/postgres.ts';
import { emulate, options, queries, SITE, settledDays } from '../support/property.ts';

const DATASET = 'page+query';
const days = settledDays(4);
const [sound, cutUnseen, cutAtThousand, cutLater] = days;
const range = { siteUrl: SITE, searchTypes: ['web'], datasets: [DATASET], days } as const;
/** One slice after the other, newest day first. */
const ONE_BY_ONE: Partial<SyncOptions> = {
  datasets: [DATASET],
  rowsPerPage: 2_000,
  maxConcurrency: 1,
  batchSize: 1,
  endOfSlice: 'auto',
};

let database: TestDatabase;

beforeEach(async () => {
  database = await testDatabase();
  // In the middle: none of the pages is drawn for a sample by chance.
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await database.close();
});

/** Days of 1,500 rows in one page each, of which three first pages are cut: at 37 rows, at 1,000, at 40. */
const cutting = () =>
  emulate({
    rowsPerDay: 1_500,
    faults: {
      rules: [
        [cutUnseen, 37],
        [cutAtThousand, 1_000],
        [cutLater, 40],
      ].map(([date, rows]) => ({
        match: { date: String(date), startRow: 0, dimensions: DATASET },
        action: { kind: 'shortPage' as const, rows: Number(rows) },
      })),
    },
  });

const startRowsOf = (emulator: Awaited<ReturnType<typeof cutting>>, date: string | undefined): number[] =>
  queries(emulator)
    .filter((asked) => asked.date === date && asked.dimensions === DATASET)
    .map(({ startRow }) => startRow);

test('short pages in the middle: nothing is missing, what was sealed before is fetched again, and the user is told', async () => {
  await using emulator = await cutting();
  await using sync = createSync(options(database.url, emulator, days, ONE_BY_ONE));
  const told: RetryEvent[] = [];
  sync.on('retry', (event) => told.push(event));
  const outcome = await sync.run();
  expect(outcome).toMatchObject({ status: 'complete', rows: 6_000, slices: { complete: 4 }, shortPages: 3 });
  expect(await differences(database.sql, emulator, range)).toEqual([]);
  expect(await ledgerProblems(database.sql)).toEqual([]);
  expect(told.filter(({ kind }) => kind === 'shortPage')).toEqual(
    [cutAtThousand, cutLater, cutUnseen].map((date) => ({
      kind: 'shortPage',
      searchType: 'web',
      dataset: DATASET,
      date,
    })),
  );
  // The first short page of the dataset is followed by a request that comes back empty.
  expect(startRowsOf(emulator, sound)).toEqual([0, 1_500]);
  // Not looked behind at first; later, as a second version, from its beginning.
  expect(startRowsOf(emulator, cutUnseen)).toEqual([0, 0, 37, 1_500]);
  // A round thousand is always looked behind, and from there on every page.
  expect(startRowsOf(emulator, cutAtThousand)).toEqual([0, 1_000, 1_500]);
  expect(startRowsOf(emulator, cutLater)).toEqual([0, 40, 1_500]);
  const versions = await database.sql`
    select date::text, version, status, doubted from longtail.slice where date = ${cutUnseen ?? ''} order by version`;
  expect([...versions]).toMatchObject([
    { version: 1, status: 'superseded', doubted: true },
    { version: 2, status: 'complete', doubted: false },
  ]);
});

test('what a run had sealed before it found a short page, and did not come to, the next one fetches again', async () => {
  await using emulator = await cutting();
  const settings = options(database.url, emulator, days, ONE_BY_ONE);
  await using first = createSync(settings);
  first.on('retry', ({ kind }) => {
    if (kind === 'shortPage') void first.halt('seen');
  });
  expect(await first.run()).toMatchObject({ status: 'halted', shortPages: 1 });
  await using second = createSync(settings);
  expect(await second.run()).toMatchObject({ status: 'complete', rows: 6_000 });
  expect(await differences(database.sql, emulator, range)).toEqual([]);
  expect(await ledgerProblems(database.sql)).toEqual([]);
  await using third = createSync(settings);
  expect(await third.run()).toMatchObject({ status: 'complete', rows: 6_000, apiCalls: 0 });
});

test('with "empty" every slice is asked until an answer without rows; with "short" none is', async () => {
  await using emulator = await cutting();
  await using thorough = createSync(
    options(database.url, emulator, days, { ...ONE_BY_ONE, endOfSlice: 'empty' }),
  );
  expect(await thorough.run()).toMatchObject({
    status: 'complete',
    rows: 6_000,
    shortPages: 3,
    apiCalls: 12,
  });
  expect(await differences(database.sql, emulator, range)).toEqual([]);

  await using other = await testDatabase();
  await using quick = createSync(options(other.url, emulator, days, { ...ONE_BY_ONE, endOfSlice: 'short' }));
  expect(await quick.run()).toMatchObject({ status: 'complete', rows: 2_577, shortPages: 0, apiCalls: 5 });
});

test('where no page is short before the end, one request a dataset is the price', async () => {
  await using emulator = await emulate({ rowsPerDay: 150 });
  await using sync = createSync(
    options(database.url, emulator, days, { datasets: ['page', 'page+query', 'date'], endOfSlice: 'auto' }),
  );
  // Of totals there is one row a day, and nothing to look behind.
  expect(await sync.run()).toMatchObject({ status: 'complete', apiCalls: 12 + 1 + 2, shortPages: 0 });
});

test('a server that ignores startRow: what it repeats ends the slice', async () => {
  const [day = ''] = days;
  await using api = await startHostileApi({ lastDay: day });
  await using sync = createSync({
    siteUrl: SITE,
    database: database.url,
    apiRoot: api.url,
    credentials: { accessToken: 'a-token' },
    from: day,
    to: day,
    datasets: ['page', 'query'],
    endOfSlice: 'empty',
  });
  const outcome = await sync.run();
  expect(outcome).toMatchObject({ status: 'complete', slices: { complete: 2, failed: 0 }, shortPages: 0 });
  // Each page and its repetition, in two looks; the calendar.
  expect(outcome.apiCalls).toBe(2 * 2 * 2 + 1);
  const [held] = await database.sql<{ rows: number; keys: number }[]>`
    select count(*)::int as rows, count(distinct (dataset, page, query))::int as keys from search_analytics`;
  expect(held?.rows).toBeGreaterThan(0);
  expect(held?.keys).toBe(held?.rows);
  expect(await ledgerProblems(database.sql)).toEqual([]);
});
