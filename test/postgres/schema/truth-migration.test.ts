import { expect, test } from 'vitest';
import { migrate } from '../../../src/postgres/schema/migrate.ts';
import { MIGRATIONS } from '../../../src/postgres/schema/migrations.ts';
import { ledgerProblems } from '../../support/ledger-check.ts';
import { emptyDatabase } from '../../support/postgres.ts';

const TAG = '0005_truth';

test('keys that an earlier version kept twice are there once, with the sums that follow', async () => {
  await using database = await emptyDatabase();
  const { sql } = database;
  const before = MIGRATIONS.slice(
    0,
    MIGRATIONS.findIndex(({ tag }) => tag === TAG),
  );
  await sql.unsafe(
    'create schema longtail; create table longtail.migrations (id serial primary key, hash text not null, created_at bigint)',
  );
  for (const { statements, hash, moment } of before) {
    for (const statement of statements) await sql.unsafe(statement);
    await sql`insert into longtail.migrations (hash, created_at) values (${hash}, ${moment})`;
  }
  await sql.unsafe(`
    insert into longtail.property (site_url, epoch) values ('sc-domain:example.com', 1);
    insert into longtail.run (property_id, epoch, status, from_date, to_date, parameters, force)
      values (1, 1, 'complete', '2026-01-01', '2026-01-03', '{}', false);
    insert into longtail.slice (property_id, search_type, dataset, date, version, status, rows, clicks, impressions,
      duplicate_rows, final, data_state, fetched_at, run_id, has_facts) values
      (1, 'web', 'page', '2026-01-01', 1, 'complete', 4, 16, 160, 1, true, 'final', now(), 1, true),
      (1, 'web', 'page', '2026-01-02', 1, 'superseded', 9, 90, 900, 2, true, 'final', now(), 1, false),
      (1, 'web', 'page', '2026-01-02', 2, 'complete', 2, 8, 80, 0, true, 'final', now(), 1, true);
    insert into longtail.slice_page (slice_id, start_row, rows, clicks, impressions, last, run_id) values
      (1, 0, 2, 9, 90, false, 1), (1, 2, 2, 7, 70, true, 1), (3, 0, 2, 8, 80, true, 1);
    insert into longtail.fact (slice_id, page, clicks, impressions, position) values
      (1, 'https://example.com/a', 5, 50, 1), (1, 'https://example.com/b', 4, 40, 2),
      (1, 'https://example.com/b', 4, 42, 3), (1, 'https://example.com/c', 3, 28, 4),
      (3, 'https://example.com/a', 5, 50, 1), (3, 'https://example.com/b', 3, 30, 1)`);
  expect((await migrate(database.url)).applied).toBe(MIGRATIONS.length - before.length);
  const seen = await sql`
    select page, clicks::int, impressions::int, position from search_analytics
    where date = '2026-01-01' order by page collate "C"`;
  expect([...seen]).toEqual([
    { page: 'https://example.com/a', clicks: 5, impressions: 50, position: 1 },
    { page: 'https://example.com/b', clicks: 4, impressions: 42, position: 3 },
    { page: 'https://example.com/c', clicks: 3, impressions: 28, position: 4 },
  ]);
  const slices = await sql`
    select rows::int, clicks::int, impressions::int, duplicates_dropped as dropped from longtail.slice order by id`;
  expect([...slices]).toEqual([
    { rows: 3, clicks: 12, impressions: 120, dropped: 1 },
    // Its rows are gone: what they were is left as it was told.
    { rows: 9, clicks: 90, impressions: 900, dropped: 0 },
    { rows: 2, clicks: 8, impressions: 80, dropped: 0 },
  ]);
  expect(await ledgerProblems(sql)).toEqual([]);
});
