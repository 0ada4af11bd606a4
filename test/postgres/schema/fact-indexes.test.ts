import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../../src/domain/clock.ts';
import { connect, type Database } from '../../../src/postgres/connection/connect.ts';
import {
  createIndex,
  dropIndex,
  type IndexWork,
  readIndexes,
} from '../../../src/postgres/schema/fact-indexes.ts';
import { type TestDatabase, testDatabase } from '../../support/postgres.ts';
import { until } from '../../support/until.ts';

let test_: TestDatabase;
let database: Database;

beforeEach(async () => {
  test_ = await testDatabase();
  database = await connect(test_.url, { max: 2, applicationName: 'test' });
});
afterEach(async () => {
  await database.close({ timeoutMs: 1_000 });
  await test_.close();
});

const work = (more: Partial<IndexWork> = {}): IndexWork => ({
  clock: systemClock,
  signal: new AbortController().signal,
  onProgress: () => undefined,
  ...more,
});

/** Twenty days of a thousand pages, one of which no B-tree could hold. */
async function fill(): Promise<void> {
  await test_.sql.unsafe(`
    insert into longtail.property (site_url, epoch) values ('sc-domain:example.com', 1);
    insert into longtail.run (property_id, epoch, status, from_date, to_date, parameters, force)
      values (1, 1, 'complete', '2026-01-01', '2026-01-31', '{}', false);
    insert into longtail.slice (property_id, search_type, dataset, date, version, status, run_id)
      select 1, 'web', 'page+query', date '2026-01-01' + day, 1, 'complete', 1 from generate_series(0, 19) as day;
    insert into longtail.fact (slice_id, page, query, clicks, impressions)
      select s.id, 'https://www.example.com/' || p % 7 || '/' || p, 'query ' || p, 1, 2
      from longtail.slice s, generate_series(1, 1000) as p order by s.id;
    insert into longtail.fact (slice_id, page, query, clicks, impressions)
      select s.id, 'https://www.example.com/long/' || (select string_agg(md5(i::text), '') from generate_series(1, 200) as i), 'long', 1, 2
      from longtail.slice s;
    analyze longtail.fact; analyze longtail.slice`);
}

async function plan(condition: string): Promise<string> {
  const rows = await test_.sql.unsafe<Record<string, string>[]>(
    `explain select date, clicks from search_analytics where dataset = 'page+query' and ${condition}`,
  );
  return rows.flatMap((row) => Object.values(row)).join('\n');
}

test('equality and prefixes use it as they stand, and it takes any URL', async () => {
  await fill();
  expect(await createIndex(database, 'page', work())).toMatchObject({ column: 'page', state: 'valid' });
  expect(await createIndex(database, 'query', work())).toMatchObject({ column: 'query', state: 'valid' });
  expect(await plan(`page = 'https://www.example.com/3/3'`)).toContain('fact_page');
  expect(await plan(`page like 'https://www.example.com/3/99%'`)).toContain('fact_page');
  expect(await plan(`query = 'query 7'`)).toContain('fact_query');
  // What it finds is what is there.
  const count = async (condition: string): Promise<unknown> =>
    (await test_.sql.unsafe(`select count(*)::int as rows from search_analytics where ${condition}`))[0];
  expect(await count(`page = 'https://www.example.com/3/3'`)).toEqual({ rows: 20 });
  expect(await count(`page like 'https://www.example.com/long/%'`)).toEqual({ rows: 20 });
  expect(await count(`page = (select page from longtail.fact where query = 'long' limit 1)`)).toEqual({
    rows: 20,
  });
  expect((await readIndexes(database.sql)).map(({ state }) => state)).toEqual(['valid', 'valid']);
});

test('it is there once, and is dropped', async () => {
  expect(await dropIndex(database, 'page')).toBe(false);
  await createIndex(database, 'page', work());
  const [before] = await readIndexes(database.sql);
  expect(await createIndex(database, 'page', work())).toEqual(before);
  expect(await dropIndex(database, 'page')).toBe(true);
  expect((await readIndexes(database.sql))[0]).toEqual({ column: 'page', state: 'none', bytes: 0 });
});

test('a run that has its presence open does not hold it up', async () => {
  await test_.sql.begin(async (session) => {
    await session.unsafe('select pg_advisory_xact_lock(4711)');
    expect(await createIndex(database, 'page', work())).toMatchObject({ state: 'valid' });
  });
});

test('an abort leaves nothing behind', async () => {
  const halt = new AbortController();
  await fill();
  let making: Promise<unknown> = Promise.resolve();
  await test_.sql.begin(async (writer) => {
    // Whoever writes is waited for, so that the abort finds it at work.
    await writer`insert into longtail.fact (slice_id, clicks, impressions) values (1, 0, 0)`;
    const phases: string[] = [];
    making = createIndex(
      database,
      'page',
      work({ signal: halt.signal, onProgress: ({ phase }) => phases.push(phase) }),
    );
    await until(() => phases.some((phase) => phase.startsWith('waiting for writers')));
    halt.abort();
  });
  expect(await making).toBeUndefined();
  expect((await readIndexes(database.sql))[0]).toMatchObject({ state: 'none' });
});

test('where a writer does not let it go, what was begun is left, and the next attempt removes it', async () => {
  const halt = new AbortController();
  await fill();
  await test_.sql.begin(async (writer) => {
    await writer`insert into longtail.fact (slice_id, clicks, impressions) values (1, 0, 0)`;
    const onProgress = (): void => halt.abort();
    expect(await createIndex(database, 'page', work({ signal: halt.signal, onProgress }))).toBeUndefined();
    expect((await readIndexes(database.sql))[0]).toMatchObject({ state: 'invalid' });
  });
  expect(await createIndex(database, 'page', work())).toMatchObject({ state: 'valid' });
});

test('what a broken attempt has left is removed first', async () => {
  await fill();
  // As a server leaves it that was stopped in the middle.
  await test_.sql.unsafe(`
    create index fact_page on longtail.fact using spgist (page) where page is not null;
    update pg_index set indisvalid = false where indexrelid = 'longtail.fact_page'::regclass`);
  expect((await readIndexes(database.sql))[0]).toMatchObject({ state: 'invalid' });
  expect(await createIndex(database, 'page', work())).toMatchObject({ state: 'valid' });
});
