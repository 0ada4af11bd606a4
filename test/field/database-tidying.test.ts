// @module-tag long
/** The end of a run, and what it tidies, where other people are at work on the same tables. */

import { expect, test } from 'vitest';
import { migrate } from '../../src/postgres/schema/migrate.ts';
import { createSync } from '../../src/sync/sync.ts';
import { differences } from '../support/compare.ts';
import { testDatabase } from '../support/postgres.ts';
import { emulate, options, SITE, settledDays } from '../support/property.ts';
import { until } from '../support/until.ts';

const datasets = ['page'];
const web = { siteUrl: SITE, searchTypes: ['web'], datasets } as const;
const days = settledDays(8);

test('tables that are published for all, without a replica identity: the second run is complete, too', async () => {
  await using emulator = await emulate({ rowsPerDay: 20 });
  await using database = await testDatabase();
  await migrate(database.url);
  // Where the migrations gave it an identity, it is taken away: an older schema has none.
  await database.sql`alter table longtail.fact replica identity default`;
  await database.sql`create publication everything for all tables`;
  const settings = options(database.url, emulator, days, { datasets });
  for (const refresh of [false, true, true]) {
    await using sync = createSync({ ...settings, refresh });
    expect(await sync.run()).toMatchObject({ status: 'complete', slices: { complete: 8, failed: 0 } });
  }
  expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
  const superseded = () => database.sql<{ rows: number }[]>`
    select count(*)::int as rows from longtail.slice where status = 'superseded' and has_facts`;
  expect((await superseded())[0]?.rows).toBeGreaterThan(0);
  // With an identity, the next run tidies what the others left.
  await database.sql`alter table longtail.fact replica identity full`;
  await using last = createSync(settings);
  expect(await last.run()).toMatchObject({ status: 'complete' });
  expect((await superseded())[0]?.rows).toBe(0);
  expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
}, 60_000);

test('somebody vacuums or makes an index concurrently while the run ends: it does not wait for them', async () => {
  await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 20 });
  await using database = await testDatabase();
  await migrate(database.url);
  await database.sql.begin(async (tx) => {
    // What VACUUM, ANALYZE and CREATE INDEX CONCURRENTLY hold: rows may be written, and no statistics.
    await tx`lock table longtail.fact, longtail.slice, longtail.property in share update exclusive mode`;
    await using sync = createSync(options(database.url, emulator, days, { datasets }));
    const startedAtMs = Date.now();
    expect(await sync.run()).toMatchObject({ status: 'complete', slices: { complete: 8 } });
    expect(Date.now() - startedAtMs).toBeLessThan(30_000);
  });
}, 60_000);

test('old rows that somebody has locked, or a trigger keeps from being deleted, are left for the next run', async () => {
  await using emulator = await emulate({ rowsPerDay: 20 });
  await using database = await testDatabase();
  await migrate(database.url);
  const settings = options(database.url, emulator, days, { datasets });
  await using first = createSync(settings);
  await first.run();
  await database.sql.unsafe(`create function longtail.keep() returns trigger language plpgsql as
    'begin raise exception ''nothing is deleted here''; end'`);
  await database.sql.unsafe(
    'create trigger keep before delete on longtail.fact for each row execute function longtail.keep()',
  );
  await using second = createSync({ ...settings, refresh: true });
  expect(await second.run()).toMatchObject({ status: 'complete', slices: { complete: 8 } });
  await database.sql`drop trigger keep on longtail.fact`;
  await using third = createSync(settings);
  expect(await third.run()).toMatchObject({ status: 'complete' });
  const [left] = await database.sql<{ rows: number }[]>`
    select count(*)::int as rows from longtail.fact f join longtail.slice s on s.id = f.slice_id
    where s.status <> 'complete'`;
  expect(left?.rows).toBe(0);
  expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
}, 60_000);

test('a slice of many rows is deleted in pieces, to the last one', async () => {
  const [day] = settledDays(1);
  if (day === undefined) throw new Error('no day');
  await using emulator = await emulate({ rowsPerDay: 23_000 });
  await using database = await testDatabase();
  const settings = options(database.url, emulator, [day], { datasets: ['page+query'] });
  for (const refresh of [false, true]) {
    await using sync = createSync({ ...settings, refresh });
    expect(await sync.run()).toMatchObject({ status: 'complete' });
  }
  const [left] = await database.sql<{ old: number; ledger: number; flagged: number }[]>`
    select
      (select count(*)::int from longtail.fact f join longtail.slice s on s.id = f.slice_id where s.status <> 'complete') as old,
      (select count(*)::int from longtail.slice_page p join longtail.slice s on s.id = p.slice_id where s.status <> 'complete')
        as ledger,
      (select count(*)::int from longtail.slice where status <> 'complete' and has_facts) as flagged`;
  expect(left).toEqual({ old: 0, ledger: 0, flagged: 0 });
}, 60_000);

test('a halt while somebody has locked our tables: the run ends in time, though its end cannot be written down', async () => {
  await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 20 });
  await using database = await testDatabase();
  await migrate(database.url);
  const settings = options(database.url, emulator, days, { datasets, batchSize: 1 });
  await using sync = createSync(settings);
  let slices = 0;
  sync.on('slice', () => (slices += 1));
  const running = sync.run();
  await until(() => slices >= 2, 'some slices');
  const blocker = await database.sql.reserve();
  await blocker`begin`;
  await blocker`lock table longtail.run, longtail.fact in access exclusive mode`;
  const askedAtMs = Date.now();
  await sync.halt();
  expect(Date.now() - askedAtMs).toBeLessThan(15_000);
  await blocker`rollback`;
  blocker.release();
  expect(await running).toMatchObject({ status: 'halted', haltReason: { kind: 'asked' } });
  await using rest = createSync(settings);
  expect(await rest.run()).toMatchObject({ status: 'complete', slices: { complete: 8 } });
  expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
}, 60_000);
