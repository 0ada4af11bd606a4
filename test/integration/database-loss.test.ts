// @module-tag long
// Holds invariants 5 of SPEC.md.
import { expect, test } from 'vitest';
import { systemClock } from '../../src/domain/clock.ts';
import { createLeaseTable } from '../../src/postgres/locks/lease-book.ts';
import { migrate } from '../../src/postgres/schema/migrate.ts';
import { createSync } from '../../src/sync/sync.ts';
import { differences } from '../support/compare.ts';
import { ledgerProblems } from '../support/ledger-check.ts';
import { lockWaiters } from '../support/locks.ts';
import { startTestServer, testDatabase } from '../support/postgres.ts';
import { emulate, options, SITE, settledDays } from '../support/property.ts';
import { openSql } from '../support/sql.ts';
import { until } from '../support/until.ts';

const datasets = ['page', 'page+query'];
const web = { siteUrl: SITE, searchTypes: ['web'], datasets } as const;

test('all its connections cut, several times: the run completes', async () => {
  const days = settledDays(30);
  await using emulator = await emulate({ rowsPerDay: 250, latencyMs: 15 });
  await using database = await testDatabase();
  await using sync = createSync(
    options(database.url, emulator, days, { datasets, batchSize: 2, rowsPerPage: 100 }),
  );
  let slices = 0;
  let cuts = 0;
  const cutting: Promise<unknown>[] = [];
  sync.on('slice', () => {
    slices += 1;
    if (slices % 15 !== 0) return;
    cuts += 1;
    cutting.push(
      database.sql`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name = 'longtail'`.execute(),
    );
  });
  const outcome = await sync.run();
  await Promise.all(cutting);
  expect(cuts).toBeGreaterThanOrEqual(3);
  expect(outcome).toMatchObject({ status: 'complete', slices: { complete: 60, failed: 0 } });
  expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
  expect(await ledgerProblems(database.sql)).toEqual([]);
});

for (const how of ['fast', 'kill'] as const) {
  test(`the server restarted in the middle (${how}): the run completes`, async () => {
    const days = settledDays(30);
    await using server = await startTestServer();
    await using emulator = await emulate({ rowsPerDay: 250, latencyMs: 15 });
    await using sync = createSync(
      options(server.url, emulator, days, { datasets, batchSize: 2, rowsPerPage: 100 }),
    );
    let done = 0;
    let state = '';
    const reasons: string[] = [];
    sync.on('slice', () => {
      done += 1;
      if (done === 10) sync.pause();
    });
    sync.on('progress', (progress) => {
      state = progress.state;
    });
    sync.on('retry', (event) => event.kind === 'database' && reasons.push(event.reason));
    const running = sync.run();
    await until(() => state === 'paused', 'paused after ten slices');
    // The commits wait for this lock, so the server goes down under one, however quick the run is.
    const before = openSql(server.url, { max: 2 });
    try {
      // The driver's `reserve` never resolves on a connection that it has yet to open without asking for types.
      await before`select 1`;
      const blocker = await before.reserve();
      await blocker`begin`;
      await blocker`lock table longtail.fact in access exclusive mode`;
      sync.resume();
      await until(async () => (await lockWaiters(before, 'longtail')) > 0, 'a commit waits for the table');
      await server.stop(how);
    } finally {
      await before.end({ timeout: 1 });
    }
    await server.start();
    expect(await running).toMatchObject({ status: 'complete', slices: { complete: 60, failed: 0 } });
    expect(reasons.length).toBeGreaterThan(0);
    const sql = openSql(server.url);
    try {
      expect(await differences(sql, emulator, { ...web, days })).toEqual([]);
      expect(await ledgerProblems(sql)).toEqual([]);
    } finally {
      await sql.end({ timeout: 1 });
    }
  });
}

test('the property taken over when its lease had expired: the old run ends, and writes nothing more', async () => {
  const days = settledDays(20);
  await using emulator = await emulate({ rowsPerDay: 60, latencyMs: 20 });
  await using database = await testDatabase();
  const settings = options(database.url, emulator, days, { datasets, batchSize: 1 });
  await using old = createSync(settings);
  let state = '';
  let slices = 0;
  old.on('progress', (progress) => {
    state = progress.state;
  });
  old.on('slice', () => (slices += 1));
  const running = old.run();
  await until(() => slices >= 5, 'five slices');
  old.pause();
  await until(() => state === 'paused', 'paused');
  // Time passes for its lease, as it does for one whose host stands still; then another run takes the property.
  await database.sql`update longtail.lease set expires_at = now() - interval '1 second'`;
  const taking = await createLeaseTable(database.sql, systemClock).takeProperty(
    SITE,
    { id: 'another run', party: 'another run' },
    { presence: null, goneSince: null },
  );
  expect(taking).toMatchObject({ kind: 'taken' });
  old.resume();
  const outcome = await running;
  expect(outcome).toMatchObject({ status: 'failed' });
  expect(outcome.status === 'failed' && ['LOCK_LOST', 'FENCED_OFF'].includes(outcome.failure.code)).toBe(
    true,
  );
  const [held] =
    await database.sql`select count(*)::int as complete from longtail.slice where status = 'complete'`;
  expect(held?.complete).toBe(slices);
});

test('a commit that hangs does not hold up a halt beyond its deadline', async () => {
  const days = settledDays(6);
  await using emulator = await emulate({ rowsPerDay: 60 });
  await using database = await testDatabase();
  await migrate(database.url);
  const settings = options(database.url, emulator, days, { datasets, haltDeadlineMs: 500 });
  await using sync = createSync(settings);
  await database.sql.begin(async (tx) => {
    await tx`lock table longtail.fact in access exclusive mode`;
    const running = sync.run();
    await until(async () => (await lockWaiters(database.sql)) > 0, 'a commit waits for the table');
    const askedAtMs = Date.now();
    await sync.halt();
    // The commit itself would wait for ten seconds.
    expect(Date.now() - askedAtMs).toBeLessThan(5_000);
    expect(await running).toMatchObject({ status: 'halted', slices: { complete: 0 } });
  });
  await using rest = createSync(settings);
  expect(await rest.run()).toMatchObject({ status: 'complete', slices: { complete: 12 } });
  expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
  expect(await ledgerProblems(database.sql)).toEqual([]);
});
