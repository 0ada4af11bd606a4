/** The SQL of docs/sql.md, as it stands there, against a copy that a synchronisation has made. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readQuestions } from '../../bench/support/questions.ts';
import { addDays } from '../../src/domain/day.ts';
import { createSync } from '../../src/index.ts';
import { type TestDatabase, testDatabase } from '../support/postgres.ts';
import { daysAgo, emulate, options, SITE } from '../support/property.ts';

const DAYS = 60;
const ROWS_PER_DAY = 40;

let database: TestDatabase;
let page = '';

beforeAll(async () => {
  database = await testDatabase();
  await using emulator = await emulate({ rowsPerDay: ROWS_PER_DAY });
  const days = Array.from({ length: DAYS }, (_, index) => addDays(daysAgo(3), -index));
  await using sync = createSync(options(database.url, emulator, days));
  expect(await sync.run()).toMatchObject({ status: 'complete' });
  const [top] = await database.sql<{ page: string }[]>`
    select page from search_analytics where dataset = 'page' group by page order by count(*) desc, page limit 1`;
  page = top?.page ?? '';
});
afterAll(() => database.close());

const ask = async (title: string): Promise<readonly Record<string, unknown>[]> => {
  const question = readQuestions({ siteUrl: SITE, page }).find((one) => one.title === title);
  if (question === undefined) throw new Error(`docs/sql.md has no question "${title}"`);
  return [...(await database.sql.unsafe(question.sql))];
};

const number = (value: unknown): number => Number(value);
const sum = (rows: readonly Record<string, unknown>[], column: string): number =>
  rows.reduce((total, row) => total + number(row[column]), 0);

test('there are ten', () => {
  expect(readQuestions({ siteUrl: SITE, page: '' }).map(({ title }) => title)).toEqual([
    'Totals',
    'Top queries',
    'Movers',
    '28 days against the 28 before',
    'A page’s trend',
    'Brand by week',
    'Cannibalisation',
    'Striking distance',
    'New queries',
    'Hidden share',
  ]);
});

test('totals are those of the calendar', async () => {
  const rows = await ask('Totals');
  const [known] = await database.sql<{ days: number; clicks: number }[]>`
    select count(*)::int as days, sum(clicks)::float8 as clicks from longtail.day_total where date <= current_date - 3`;
  expect(rows).toHaveLength(known?.days ?? 0);
  expect(sum(rows, 'clicks')).toBe(known?.clicks);
});

test('top queries, movers and striking distance agree with a plain loop over the rows', async () => {
  const rows = await database.sql<
    { query: string; page: string; age: number; clicks: number; impressions: number; position: number }[]
  >`
    select query, page, current_date - date as age, clicks::float8 as clicks, impressions::float8 as impressions, position
    from search_analytics where dataset = 'page+query'`;
  const byQuery = new Map<string, { now: number; before: number }>();
  const byPair = new Map<string, { impressions: number; weighted: number }>();
  for (const { query, page: url, age, clicks, impressions, position } of rows) {
    const sums = byQuery.get(query) ?? { now: 0, before: 0 };
    byQuery.set(query, sums);
    if (age >= 3 && age <= 30) {
      sums.now += clicks;
      const pair = byPair.get(`${query}\n${url}`) ?? { impressions: 0, weighted: 0 };
      byPair.set(`${query}\n${url}`, pair);
      pair.impressions += impressions;
      pair.weighted += impressions * position;
    } else if (age <= 58) sums.before += clicks;
  }
  const top = await ask('Top queries');
  expect(top.length).toBeGreaterThan(10);
  for (const { query, clicks } of top) expect(number(clicks)).toBe(byQuery.get(String(query))?.now);
  const best = Math.max(...[...byQuery.values()].map(({ now }) => now));
  expect(number(top[0]?.clicks)).toBe(best);

  const movers = await ask('Movers');
  for (const { query, now, before, change } of movers) {
    expect({ now: number(now), before: number(before) }).toEqual(byQuery.get(String(query)));
    expect(number(change)).toBe(number(now) - number(before));
  }
  const most = Math.max(...[...byQuery.values()].map(({ now, before }) => Math.abs(now - before)));
  expect(Math.abs(number(movers[0]?.change))).toBe(most);

  const near = await ask('Striking distance');
  const inReach = [...byPair.values()].filter(({ impressions, weighted }) => {
    const position = weighted / impressions;
    return position >= 8 && position <= 20;
  });
  expect(near).toHaveLength(Math.min(100, inReach.length));
  expect(near.length).toBeGreaterThan(0);
});

test('28 days against 28, and a page’s trend', async () => {
  const pages = await ask('28 days against the 28 before');
  const trend = await ask('A page’s trend');
  const [mine] = pages.filter((row) => row.page === page);
  const [{ today = '' } = {}] = await database.sql<{ today: string }[]>`select current_date::text as today`;
  const inDays = (from: number, to: number) =>
    sum(
      trend.filter(({ date }) => {
        const age = Math.round(
          (Date.parse(`${today}T00:00:00Z`) - new Date(String(date)).getTime()) / 86_400_000,
        );
        return age >= from && age <= to;
      }),
      'clicks',
    );
  expect(trend.length).toBeGreaterThan(28);
  expect(number(mine?.clicks)).toBe(inDays(3, 30));
  expect(number(mine?.clicks_before)).toBe(inDays(31, 58));
});

test('brand by week adds up to all clicks; new queries are new; hidden shares are shares', async () => {
  const weeks = await ask('Brand by week');
  const [all] = await database.sql<{ clicks: number }[]>`
    select sum(clicks)::float8 as clicks from search_analytics where dataset = 'page+query'`;
  expect(sum(weeks, 'brand') + sum(weeks, 'other')).toBe(all?.clicks);

  const fresh = await ask('New queries');
  for (const { query } of fresh) {
    const before = await database.sql`
      select from search_analytics where dataset = 'page+query' and query = ${String(query)} and date < current_date - 30`;
    expect(before).toHaveLength(0);
  }

  const months = await ask('Hidden share');
  expect(sum(months, 'clicks')).toBe(all?.clicks);
  for (const { hidden_share: share } of months) {
    expect(number(share)).toBeGreaterThanOrEqual(0);
    expect(number(share)).toBeLessThan(1);
  }
});

test('cannibalisation names queries with several pages', async () => {
  for (const { pages, first_three: first } of await ask('Cannibalisation')) {
    expect(number(pages)).toBeGreaterThan(1);
    expect(String(first)).toContain('http');
  }
});
