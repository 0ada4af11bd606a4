// Holds invariants 7, 10 of SPEC.md.
/** Datasets that are requested in another way than by their dimensions alone. */
import type { Sql } from 'postgres';
import { expect, test } from 'vitest';
import { ALL_DATASETS, withFirstSteps } from '../../src/domain/dataset.ts';
import { addDays } from '../../src/domain/day.ts';
import { createSync } from '../../src/sync/sync.ts';
import type { Outcome, SyncOptions } from '../../src/sync/types.ts';
import { differences } from '../support/compare.ts';
import { ledgerProblems } from '../support/ledger-check.ts';
import { testDatabase } from '../support/postgres.ts';
import { daysAgo, emulate, options, queries, SITE, settledDays } from '../support/property.ts';

const web = { siteUrl: SITE, searchTypes: ['web'] } as const;
const HOURLY = ['hour', 'page+hour', 'query+hour', 'page+query+hour'];
const IN_PARTS = ['page+searchAppearance', 'query+searchAppearance', 'page+query+searchAppearance'];

async function run(settings: SyncOptions): Promise<Outcome> {
  await using sync = createSync(settings);
  return await sync.run();
}

/** Runs until so many slices have ended, and is cut off there; then again, until all is done. */
async function cutOffAndResumed(settings: SyncOptions, after: number): Promise<Outcome> {
  await using first = createSync({ ...settings, batchSize: 2, maxConcurrency: 2, haltDeadlineMs: 100 });
  let ended = 0;
  first.on('slice', () => {
    ended += 1;
    if (ended === after) void first.halt();
  });
  expect(await first.run()).toMatchObject({ status: 'halted' });
  return await run(settings);
}

test('hours: the days that Google has, fetched again until they are final, and kept', async () => {
  const days = Array.from({ length: 11 }, (_, index) => daysAgo(index));
  const kept = days.slice(0, 10);
  await using emulator = await emulate({ rowsPerDay: 30, metadataNames: 'snake' });
  await using database = await testDatabase();
  const settings = options(database.url, emulator, days, { datasets: HOURLY, rowsPerPage: 50 });
  // Of today the emulator has nothing yet.
  const outcome = await cutOffAndResumed(settings, 5);
  expect(outcome).toMatchObject({ status: 'complete', slices: { planned: 40, complete: 36, failed: 0 } });
  const compared = { ...web, datasets: HOURLY, days: kept };
  expect(await differences(database.sql, emulator, compared)).toEqual([]);
  expect(await fresh(database.sql)).toEqual([daysAgo(1), daysAgo(2)]);
  const before = emulator.requests.length;
  expect(await run(settings)).toMatchObject({ status: 'complete' });
  const again = queries(emulator)
    .slice(before)
    .filter(({ dimensions }) => dimensions !== 'date');
  expect([...new Set(again.map(({ date }) => date))].sort()).toEqual([daysAgo(2), daysAgo(1)]);

  // Days that have grown too old stay as they are, final or not, and are nobody's failure.
  await database.sql`update longtail.slice set date = date - 20`;
  await database.sql`
    insert into longtail.slice (property_id, search_type, dataset, date, version, status, run_id)
    select property_id, search_type, dataset, date, max(version) + 1, 'open', max(run_id) from longtail.slice
    where dataset = 'hour' group by property_id, search_type, dataset, date`;
  await database.sql`update longtail.slice set status = 'failed', error = 'x' where status = 'open'`;
  const old = days.map((day) => addDays(day, -20));
  expect(await run(options(database.url, emulator, old, { datasets: [...HOURLY, 'date'] }))).toMatchObject({
    status: 'complete',
    slices: { planned: 11, complete: 11, failed: 0 },
    failures: [],
  });
  const [held] = await database.sql<{ days: number }[]>`
    select count(distinct date)::int as days from search_analytics where dataset = 'page+hour' and hour is not null`;
  expect(held?.days).toBe(9);
  expect(await ledgerProblems(database.sql)).toEqual([]);
});

async function fresh(sql: Sql): Promise<string[]> {
  const rows = await sql<{ date: string }[]>`
    select distinct date::text as date from longtail.slice where status = 'complete' and not final order by date desc`;
  return rows.map(({ date }) => date);
}

test('a range that Google has no hours of is refused; one that it has in part begins later', async () => {
  await using emulator = await emulate();
  expect(() =>
    createSync(options('postgres://u@localhost/x', emulator, settledDays(3), { datasets: ['hour'] })),
  ).toThrow(/ten days/);
});

test('search appearances in two steps: a request for each value, cut off and resumed', async () => {
  const days = settledDays(3);
  const datasets = withFirstSteps(IN_PARTS);
  await using emulator = await emulate({ rowsPerDay: 120 });
  await using database = await testDatabase();
  const settings = options(database.url, emulator, days, { datasets: IN_PARTS, rowsPerPage: 7 });
  // Three first steps, then parts: cut off in the middle of them.
  const outcome = await cutOffAndResumed(settings, 12);
  expect(outcome).toMatchObject({ status: 'complete', slices: { planned: 12, complete: 12, empty: 0 } });
  expect(await differences(database.sql, emulator, { ...web, datasets, days })).toEqual([]);
  const [parts] = await database.sql<{ none: number; values: number }[]>`
    select count(*) filter (where search_appearance is null)::int as none,
      count(distinct search_appearance)::int as values
    from search_analytics where dataset = 'page+searchAppearance'`;
  expect(parts?.none).toBe(0);
  expect(parts?.values).toBeGreaterThan(3);
  expect(await run(settings)).toMatchObject({ status: 'complete', apiCalls: 0 });
  expect(await ledgerProblems(database.sql)).toEqual([]);
});

test('a search appearance that comes later is picked up; a day without any is complete and empty', async () => {
  const days = [daysAgo(11), daysAgo(12), daysAgo(13)];
  const hollow = daysAgo(13);
  const datasets = withFirstSteps(['page+searchAppearance']);
  let today = daysAgo(10);
  await using emulator = await emulate({
    rowsPerDay: 24,
    today: () => today,
    rowsOn: (date) => (date === hollow ? 0 : undefined),
  });
  await using database = await testDatabase();
  const settings = options(database.url, emulator, days, { datasets: ['page+searchAppearance'] });
  const values = async (): Promise<number> => {
    const rows = await database.sql`
      select from longtail.slice where date = ${daysAgo(11)} and part <> '' and status = 'complete'`;
    return rows.length;
  };
  expect(await run(settings)).toMatchObject({ status: 'complete' });
  const early = await values();
  today = daysAgo(0);
  expect(await run(settings)).toMatchObject({
    status: 'complete',
    slices: { planned: 6, complete: 6, empty: 2 },
  });
  expect(await values()).toBeGreaterThan(early);
  expect(await differences(database.sql, emulator, { ...web, datasets, days })).toEqual([]);
  expect(await run(settings)).toMatchObject({ apiCalls: 0 });
});

test('filters and an aggregation have slices of their own, in a view of their own', async () => {
  const days = settledDays(2);
  await using emulator = await emulate({ rowsPerDay: 200 });
  await using database = await testDatabase();
  const plain = options(database.url, emulator, days, { datasets: ['query', 'country'] });
  const filters = [
    { dimension: 'page', operator: 'contains', expression: '/blog/' },
    { dimension: 'country', operator: 'includingRegex', expression: '^(usa|deu)$' },
  ] as const;
  expect(await run(plain)).toMatchObject({ status: 'complete' });
  const before = await database.sql`select * from search_analytics order by 1, 2, 3, 4, 5, 6, 7`;
  expect(await run({ ...plain, filters })).toMatchObject({
    status: 'complete',
    slices: { planned: 4, complete: 4 },
  });
  expect(await run({ ...plain, aggregation: 'byPage' })).toMatchObject({ status: 'complete' });
  // The same filters in another order are the same.
  expect(await run({ ...plain, filters: filters.toReversed() })).toMatchObject({ apiCalls: 0 });
  expect(await database.sql`select * from search_analytics order by 1, 2, 3, 4, 5, 6, 7`).toEqual(before);

  const found = await database.sql<Sums[]>`
    select filter, aggregation, dataset, count(*)::int as rows, sum(clicks)::int as clicks,
      sum(impressions)::int as impressions
    from search_analytics_filtered group by 1, 2, 3 order by 1, 2, 3`;
  const expected: Sums[] = [];
  const filter = 'country includingRegex "^(usa|deu)$" and page contains "/blog/"';
  for (const [selection, body] of [
    [{ filter: '', aggregation: 'byPage' }, { aggregationType: 'byPage' }],
    [{ filter, aggregation: '' }, { dimensionFilterGroups: [{ filters }] }],
  ] as const) {
    for (const dataset of ['country', 'query']) {
      const sums = { rows: 0, clicks: 0, impressions: 0 };
      for (const date of days) {
        const range = { startDate: date, endDate: date, dimensions: [dataset] };
        const { totals } = await emulator.served(SITE, { ...range, ...body });
        sums.rows += totals.rows;
        sums.clicks += totals.clicks;
        sums.impressions += totals.impressions;
      }
      expected.push({ ...selection, dataset, ...sums });
    }
  }
  expect([...found]).toEqual(expected);
  expect(await ledgerProblems(database.sql)).toEqual([]);
});

interface Sums {
  readonly filter: string;
  readonly aggregation: string;
  readonly dataset: string;
  readonly rows: number;
  readonly clicks: number;
  readonly impressions: number;
}

test('a filter that leaves nothing of days with clicks makes them complete and empty', async () => {
  const days = settledDays(2);
  await using emulator = await emulate({ rowsPerDay: 50 });
  await using database = await testDatabase();
  const filters = [{ dimension: 'page', operator: 'equals', expression: 'https://nobody/' }] as const;
  expect(
    await run(options(database.url, emulator, days, { datasets: ['page', 'country', 'date'], filters })),
  ).toMatchObject({ status: 'complete', slices: { complete: 6, empty: 6 } });
});

test('a regular expression that Google refuses ends the run with one line', async () => {
  await using emulator = await emulate({ rowsPerDay: 50 });
  await using database = await testDatabase();
  const filters = [{ dimension: 'query', operator: 'includingRegex', expression: '(?=shoe)' }] as const;
  expect(await run(options(database.url, emulator, settledDays(2), { filters }))).toMatchObject({
    status: 'failed',
    failure: { code: 'BAD_OPTION', message: expect.stringContaining('regular expression') },
  });
});

test('what Google refuses is noted, said, left out, and asked for again after a month', async () => {
  const days = settledDays(3);
  await using emulator = await emulate({
    rowsPerDay: 50,
    refuses: (type, dimensions) =>
      type === 'googleNews' && dimensions.includes('country')
        ? 'Requests for Google News cannot be grouped by country'
        : undefined,
  });
  await using database = await testDatabase();
  const settings = options(database.url, emulator, days, {
    datasets: ['page', 'country', 'query'],
    searchTypes: ['web', 'googleNews'],
    batchSize: 1,
    maxConcurrency: 1,
  });
  const asked = (): number =>
    queries(emulator).filter(({ type, dimensions }) => type === 'googleNews' && dimensions === 'country')
      .length;
  const notServed = [
    { searchType: 'googleNews', dataset: 'query', reason: 'Google has no queries for Google News.' },
    {
      searchType: 'googleNews',
      dataset: 'country',
      reason: expect.stringContaining('cannot be grouped by country'),
    },
  ];
  const outcome = { status: 'complete', slices: { planned: 12, complete: 12, failed: 0 }, notServed };
  expect(await run(settings)).toMatchObject(outcome);
  const first = asked();
  expect(first).toBeGreaterThan(0);
  expect(await run(settings)).toMatchObject({ ...outcome, apiCalls: 0 });
  await database.sql`update longtail.not_served set refused_at = refused_at - interval '31 days'`;
  expect(await run(settings)).toMatchObject(outcome);
  expect(asked()).toBeGreaterThan(first);
});

test('all types and all datasets: what Google serves, and a word about the rest', async () => {
  const days = [daysAgo(4), daysAgo(5)];
  await using emulator = await emulate({ rowsPerDay: 40 });
  await using database = await testDatabase();
  const settings = options(database.url, emulator, days, { datasets: 'all', searchTypes: 'all' });
  const outcome = await run(settings);
  expect(outcome).toMatchObject({ status: 'complete', failures: [] });
  expect(outcome.slices.complete).toBe(outcome.slices.planned);
  expect(outcome.notServed).toContainEqual(
    expect.objectContaining({ searchType: 'discover', dataset: 'page+query' }),
  );
  const shown = await database.sql<{ searchType: string; datasets: number }[]>`
    select search_type as "searchType", count(distinct dataset)::int as datasets from search_analytics
    group by 1 order by 1`;
  expect(shown.map(({ searchType }) => searchType)).toEqual(
    ['web', 'image', 'video', 'news', 'discover', 'googleNews'].toSorted(),
  );
  expect(
    await differences(database.sql, emulator, {
      siteUrl: SITE,
      searchTypes: ['web', 'discover', 'googleNews', 'image', 'news', 'video'],
      datasets: ALL_DATASETS,
      days,
    }),
  ).toEqual([]);
});
