import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemClock } from '../../src/domain/clock.ts';
import { addDays, daysBetween, FINAL_LAG_DAYS, pacificDay } from '../../src/domain/day.ts';
import { type Emulator, startEmulator } from '../../src/emulator/index.ts';
import { createSync } from '../../src/sync/sync.ts';
import { createMetrics } from '../../src/watch/metrics.ts';
import { emptyDatabase, type TestDatabase, testDatabase } from '../support/postgres.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

const SITE = 'sc-domain:example.com';
const TODAY = pacificDay(Date.now());
let emulator: Emulator;
let database: TestDatabase;

beforeEach(async () => {
  [emulator, database] = await Promise.all([
    startEmulator({ rowsPerDay: 20, sites: [SITE] }),
    testDatabase(),
  ]);
});
afterEach(async () => {
  await Promise.all([emulator.close(), database.close()]);
});

const request = (method = 'GET') => new Request('http://127.0.0.1/metrics', { method });

/** The samples as Prometheus reads them: `name{labels}` → value. */
function samplesOf(text: string): ReadonlyMap<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const end = line.lastIndexOf(' ');
      return [line.slice(0, end), Number(line.slice(end + 1))];
    }),
  );
}

async function read(url: string): Promise<ReadonlyMap<string, number>> {
  await using metrics = createMetrics({ database: url });
  const response = await metrics.handle(request());
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  return samplesOf(await response.text());
}

async function synchronise(options: { readonly days?: number; readonly datasets?: readonly string[] } = {}) {
  await using sync = createSync({
    siteUrl: SITE,
    database: database.url,
    credentials: { accessToken: 'a', account: 'me' },
    apiRoot: emulator.url,
    days: 4,
    datasets: ['page'],
    ...options,
  });
  return await sync.run();
}

const P = `longtail_property="${SITE}"`;
const D = `${P},longtail_search_type="web",longtail_dataset="page"`;

it('says what a run left, without a run', async () => {
  const before = Date.now() / 1_000;
  const outcome = await synchronise();
  expect(outcome.status).toBe('complete');
  const samples = await read(database.url);
  expect(samples.get('longtail_database_up')).toBe(1);
  expect(samples.get(`longtail_database_last_success_timestamp_seconds{${P}}`)).toBeGreaterThan(before - 1);
  expect(samples.get(`longtail_database_runs_total{${P},longtail_run_outcome="complete"}`)).toBe(1);
  expect(samples.get(`longtail_database_runs_total{${P},longtail_run_outcome="failed"}`)).toBe(0);
  expect(samples.get(`longtail_database_last_run_outcome{${P},longtail_run_outcome="complete"}`)).toBe(1);
  expect(samples.get(`longtail_database_under_way{${P}}`)).toBe(0);
  expect(samples.get(`longtail_database_rows{${D}}`)).toBe(outcome.rows);
  expect(samples.get(`longtail_database_slices{${D},longtail_slice_state="complete"}`)).toBe(4);
  expect(samples.get(`longtail_database_slices{${D},longtail_slice_state="failed"}`)).toBe(0);
  expect(samples.get(`longtail_database_capped_slices{${D}}`)).toBe(0);
  const newest = addDays(TODAY, -FINAL_LAG_DAYS);
  expect(samples.get(`longtail_database_days_behind{${D}}`)).toBe(
    daysBetween(newest, pacificDay(Date.now())),
  );
});

it('tells failed, shrunk, capped and crashed from one another', async () => {
  await synchronise();
  await database.sql`update longtail.slice set capped = true where date = (select max(date) from longtail.slice)`;
  await database.sql`
    insert into longtail.slice (property_id, search_type, dataset, date, version, status, run_id)
    select property_id, search_type, dataset, date, version + 1, 'open', run_id
    from longtail.slice where date = (select min(date) from longtail.slice)`;
  await database.sql`
    update longtail.slice set status = 'failed', error = 'shrunk: Google now returns 1 rows' where status = 'open'`;
  await database.sql`
    insert into longtail.run (property_id, epoch, status, from_date, to_date, parameters, force)
    select property_id, epoch, 'running', from_date, to_date, parameters, force from longtail.run`;
  const samples = await read(database.url);
  expect(samples.get(`longtail_database_capped_slices{${D}}`)).toBe(1);
  expect(samples.get(`longtail_database_shrunk_slices{${D}}`)).toBe(1);
  expect(samples.get(`longtail_database_slices{${D},longtail_slice_state="failed"}`)).toBe(1);
  expect(samples.get(`longtail_database_slices{${D},longtail_slice_state="complete"}`)).toBe(3);
  expect(samples.get(`longtail_database_last_run_outcome{${P},longtail_run_outcome="crashed"}`)).toBe(1);
  // Of the run before, which ended.
  expect(samples.get(`longtail_database_last_run_duration_seconds{${P}}`)).toBeGreaterThan(0);
});

it('a property that never had a success has the time 0', async () => {
  emulator.setQuotas({ perDay: 1 });
  expect((await synchronise()).status).toBe('halted');
  const samples = await read(database.url);
  expect(samples.get(`longtail_database_last_success_timestamp_seconds{${P}}`)).toBe(0);
  expect(samples.get(`longtail_database_last_run_outcome{${P},longtail_run_outcome="halted"}`)).toBe(1);
});

it('a database without tables is up, and has nothing', async () => {
  await using empty = await emptyDatabase();
  const samples = await read(empty.url);
  expect(samples.get('longtail_database_up')).toBe(1);
  expect([...samples.keys()].filter((name) => name.startsWith('longtail_database_'))).toEqual([
    'longtail_database_up',
  ]);
});

it('a database that goes away and comes back', async () => {
  await synchronise();
  let isAway = false;
  await using proxy = await startTcpProxy(database.url, {
    onRequest: (_, connection) => {
      if (isAway) connection.destroy();
    },
  });
  let nowMs = Date.now();
  await using metrics = createMetrics({ database: proxy.url }, { ...systemClock, now: () => nowMs });
  const up = async () => {
    // Later than what is kept of an earlier reading.
    nowMs += 60_000;
    return samplesOf(await (await metrics.handle(request())).text()).get('longtail_database_up');
  };
  expect(await up()).toBe(1);
  isAway = true;
  expect(await up()).toBe(0);
  isAway = false;
  await expect.poll(up, { timeout: 20_000 }).toBe(1);
});

it('several scrapers at once cost one reading', async () => {
  await synchronise();
  await using metrics = createMetrics({ database: database.url });
  const count = async () => {
    const [row] = await database.sql<{ calls: number }[]>`
      select count(*)::int as calls from pg_stat_activity where application_name = 'longtail metrics'`;
    return row?.calls;
  };
  const answers = await Promise.all(Array.from({ length: 20 }, () => metrics.handle(request())));
  const texts = await Promise.all(answers.map((answer) => answer.text()));
  expect(new Set(texts).size).toBe(1);
  expect(await count()).toBe(1);
  await metrics.close();
  await expect.poll(count).toBe(0);
  expect((await metrics.handle(request())).status).toBe(503);
});

it('answers only what reads', async () => {
  await using metrics = createMetrics({ database: database.url });
  expect((await metrics.handle(request('POST'))).status).toBe(405);
  const head = await metrics.handle(request('HEAD'));
  expect(head.status).toBe(200);
  expect(await head.text()).toBe('');
});
