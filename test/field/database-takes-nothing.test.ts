// @module-tag long
// Holds invariants 1 of SPEC.md.
/**
 * The database is there and takes nothing: a timeout, somebody's lock, read-only. What was read waits, and Google is not
 * asked again for what it has given.
 */

import { randomBytes } from 'node:crypto';
import type { Sql } from 'postgres';
import { expect, test } from 'vitest';
import type { Emulator } from '../../src/emulator/index.ts';
import { migrate } from '../../src/postgres/schema/migrate.ts';
import { createSync } from '../../src/sync/sync.ts';
import type { Sync } from '../../src/sync/types.ts';
import { differences } from '../support/compare.ts';
import { ledgerProblems } from '../support/ledger-check.ts';
import { lockWaiters } from '../support/locks.ts';
import { emptyDatabase, startTestServer, type TestDatabase, testDatabase } from '../support/postgres.ts';
import { emulate, options, queries, SITE, settledDays } from '../support/property.ts';
import { openSql } from '../support/sql.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

const datasets = ['page'];
const web = { siteUrl: SITE, searchTypes: ['web'], datasets } as const;
const days = settledDays(20);

/** Requests for a page that had been asked for before. */
function askedAgain(emulator: Emulator): string[] {
  const seen = new Set<string>();
  return queries(emulator)
    .map(({ date, dimensions, type, startRow }) => [type, dimensions, date, startRow].join(' '))
    .filter((page) => seen.size === seen.add(page).size);
}

/** What a run says of a database that takes nothing, and whether it is waiting for it. */
function watch(sync: Sync) {
  const reasons: string[] = [];
  let state = '';
  sync.on('retry', (event) => event.kind === 'database' && reasons.push(event.reason));
  sync.on('progress', (progress) => {
    state = progress.state;
  });
  return { reasons, isWaiting: () => state === 'waitingForDatabase', state: () => state };
}

/** Every row that comes in takes so long: the database is slow, and whatever a timeout is, it is over. */
async function slowRows(sql: Sql, seconds: number): Promise<void> {
  await sql.unsafe(`
    create or replace function longtail.slow() returns trigger language plpgsql as
    'begin perform pg_sleep(${seconds}); return null; end'`);
  await sql.unsafe(`
    create or replace trigger slow after insert on longtail.fact for each statement execute function longtail.slow()`);
}

async function whole(database: Pick<TestDatabase, 'sql'>, emulator: Emulator): Promise<void> {
  expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
  expect(await ledgerProblems(database.sql)).toEqual([]);
}

test('somebody makes an index while a run writes: it waits, says whose lock it is, and asks Google for nothing twice', async () => {
  await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 5 });
  await using database = await testDatabase();
  await migrate(database.url);
  await using sync = createSync(options(database.url, emulator, days, { datasets, batchSize: 5 }));
  const watched = watch(sync);
  const blocker = await database.sql.reserve();
  await blocker`begin`;
  // What CREATE INDEX holds until it is done.
  await blocker`lock table longtail.fact in share mode`;
  const running = sync.run();
  await until(() => watched.isWaiting(), 'the run waits for the database');
  const asked = queries(emulator).length;
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  expect(queries(emulator).length).toBe(asked);
  expect(watched.reasons[0]).toMatch(/locked by LOCK TABLE \(process \d+\)/);
  await blocker`commit`;
  blocker.release();
  expect(await running).toMatchObject({ status: 'complete', slices: { complete: days.length, failed: 0 } });
  expect(askedAgain(emulator)).toEqual([]);
  await whole(database, emulator);
}, 60_000);

test('a halt ends a run whose pages wait for the database, within its deadline; the next run resumes', async () => {
  await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 5 });
  await using database = await testDatabase();
  await migrate(database.url);
  const settings = options(database.url, emulator, days, { datasets, batchSize: 5 });
  await using sync = createSync(settings);
  const watched = watch(sync);
  await database.sql.begin(async (tx) => {
    await tx`lock table longtail.fact in share mode`;
    const running = sync.run();
    await until(() => watched.isWaiting(), 'the run waits for the database');
    const askedAtMs = Date.now();
    await sync.halt();
    expect(Date.now() - askedAtMs).toBeLessThan(10_000);
    expect(await running).toMatchObject({ status: 'halted', haltReason: { kind: 'asked' } });
  });
  await using rest = createSync(settings);
  expect(await rest.run()).toMatchObject({ status: 'complete' });
  await whole(database, emulator);
}, 60_000);

test('a pause while pages wait for the database: they wait on, and are written after it', async () => {
  await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 5 });
  await using database = await testDatabase();
  await migrate(database.url);
  await using sync = createSync(options(database.url, emulator, days, { datasets, batchSize: 5 }));
  const watched = watch(sync);
  const blocker = await database.sql.reserve();
  await blocker`begin`;
  await blocker`lock table longtail.fact in share mode`;
  const running = sync.run();
  await until(() => watched.isWaiting(), 'the run waits for the database');
  sync.pause();
  await until(() => watched.state() === 'paused', 'it is paused');
  await blocker`commit`;
  blocker.release();
  sync.resume();
  expect(await running).toMatchObject({ status: 'complete', slices: { complete: days.length } });
  expect(askedAgain(emulator)).toEqual([]);
  await whole(database, emulator);
}, 60_000);

test('the server restarts while pages wait to be written: they are written afterwards, not asked for again', async () => {
  await using server = await startTestServer();
  await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 5 });
  await migrate(server.url);
  await using sync = createSync(options(server.url, emulator, days, { datasets, batchSize: 5 }));
  const before = openSql(server.url, { max: 2 });
  const running = (async () => {
    try {
      // The driver's `reserve` never resolves on a connection that it has yet to open without asking for types.
      await before`select 1`;
      const blocker = await before.reserve();
      await blocker`begin`;
      await blocker`lock table longtail.fact in access exclusive mode`;
      const run = sync.run();
      await until(async () => (await lockWaiters(before, 'longtail')) > 0, 'a commit waits for the table');
      await server.stop('kill');
      return run;
    } finally {
      await before.end({ timeout: 1 });
    }
  })();
  await until(() => server.pid() === 0, 'the server is gone');
  await server.start();
  expect(await running).toMatchObject({ status: 'complete', slices: { complete: days.length } });
  expect(askedAgain(emulator)).toEqual([]);
  const sql = openSql(server.url);
  try {
    await whole({ sql }, emulator);
  } finally {
    await sql.end({ timeout: 1 });
  }
}, 60_000);

test('the answer to COMMIT is lost: the page is found in the ledger, and counted once', async () => {
  await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 5 });
  await using database = await testDatabase();
  await migrate(database.url);
  let commits = 0;
  await using proxy = await startTcpProxy(database.url, {
    onAnswer(bytes, connection) {
      if (!bytes.includes('COMMIT')) return bytes;
      commits += 1;
      // Not those of the opening.
      if (commits % 7 !== 0) return bytes;
      connection.destroy();
      return null;
    },
  });
  await using sync = createSync(options(proxy.url, emulator, days, { datasets, batchSize: 2 }));
  await sync
    .run()
    .then((outcome) =>
      expect(outcome).toMatchObject({ status: 'complete', slices: { complete: days.length, failed: 0 } }),
    );
  expect(askedAgain(emulator)).toEqual([]);
  await whole(database, emulator);
}, 60_000);

/** A user of its own, to whom settings can be given. */
async function testRole(database: TestDatabase): Promise<AsyncDisposable & { url: string; name: string }> {
  const name = `role_${randomBytes(6).toString('hex')}`;
  const password = randomBytes(12).toString('hex');
  await database.sql.unsafe(`create role ${name} login password '${password}'`);
  await database.sql.unsafe(`grant create on database ${new URL(database.url).pathname.slice(1)} to ${name}`);
  await database.sql.unsafe(`grant create, usage on schema public to ${name}`);
  const url = new URL(database.url);
  url.username = name;
  url.password = password;
  return {
    url: url.href,
    name,
    async [Symbol.asyncDispose]() {
      await database.sql.unsafe(`drop owned by ${name} cascade`);
      await database.sql.unsafe(`drop role ${name}`);
    },
  };
}

test('a lock timeout of the role’s is met now and then: the run completes', async () => {
  await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 5 });
  await using database = await emptyDatabase();
  await using role = await testRole(database);
  await migrate(role.url);
  await database.sql.unsafe(`alter role ${role.name} set lock_timeout = '20ms'`);
  await using sync = createSync(options(role.url, emulator, days, { datasets, batchSize: 5 }));
  const running = sync.run();
  for (let round = 0; round < 4; round += 1) {
    await database.sql.begin(async (tx) => {
      await tx`lock table longtail.slice in share row exclusive mode`;
      await new Promise((resolve) => setTimeout(resolve, 150));
    });
  }
  expect(await running).toMatchObject({ status: 'complete' });
  expect(askedAgain(emulator)).toEqual([]);
  await whole(database, emulator);
}, 60_000);

test('a statement timeout that cannot be met ends the run with its name, its value and what lifts it', async () => {
  await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 5 });
  await using database = await emptyDatabase();
  await using role = await testRole(database);
  await migrate(role.url);
  await slowRows(database.sql, 0.4);
  // As a host whose limits cannot be lifted in the session has it: whatever is set, it is set again.
  await database.sql.unsafe(`
    create or replace function longtail.slow() returns trigger language plpgsql as
    'begin raise exception using errcode = ''57014'', message = ''canceling statement due to statement timeout''; end'`);
  await database.sql.unsafe(`alter role ${role.name} set statement_timeout = '300ms'`);
  await using sync = createSync(options(role.url, emulator, days, { datasets, batchSize: 5 }));
  const watched = watch(sync);
  const outcome = await sync.run();
  expect(outcome).toMatchObject({ status: 'failed', failure: { code: 'DATABASE_TIMEOUT' } });
  if (outcome.status !== 'failed') return;
  expect(outcome.failure.message).toContain(`statement_timeout = 300ms of role "${role.name}"`);
  expect(outcome.failure.nextStep).toContain(`ALTER ROLE "${role.name}" SET statement_timeout = 0`);
  expect(watched.reasons.length).toBeGreaterThan(0);
  expect(askedAgain(emulator)).toEqual([]);
  // As soon as it is lifted, the next run resumes.
  await database.sql.unsafe('drop trigger slow on longtail.fact');
  await using rest = createSync(options(role.url, emulator, days, { datasets, batchSize: 5 }));
  expect(await rest.run()).toMatchObject({ status: 'complete' });
  await whole(database, emulator);
}, 600_000);

test('a timeout that leaves time for one page and not for many: they are written one by one', async () => {
  await using emulator = await emulate({ rowsPerDay: 20 });
  await using database = await emptyDatabase();
  await migrate(database.url);
  await database.sql.unsafe(`
    create function longtail.few() returns trigger language plpgsql as
    'begin if (select count(distinct slice_id) from fresh) > 1 then
       raise exception using errcode = ''57014'', message = ''canceling statement due to statement timeout'';
     end if; return null; end'`);
  await database.sql.unsafe(`create trigger few after insert on longtail.fact referencing new table as fresh
    for each statement execute function longtail.few()`);
  await using sync = createSync(options(database.url, emulator, days, { datasets }));
  const watched = watch(sync);
  expect(await sync.run()).toMatchObject({ status: 'complete' });
  expect(watched.reasons).toEqual([]);
  expect(askedAgain(emulator)).toEqual([]);
  await whole(database, emulator);
}, 60_000);

test('somebody cancels our statements by hand: the run goes on', async () => {
  await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 5 });
  await using database = await testDatabase();
  await migrate(database.url);
  await slowRows(database.sql, 0.2);
  await using sync = createSync(options(database.url, emulator, days, { datasets, batchSize: 5 }));
  const watched = watch(sync);
  let isOver = false;
  const running = sync.run().finally(() => {
    isOver = true;
  });
  let cancelled = 0;
  while (!isOver && cancelled < 3) {
    const rows = await database.sql`
      select pg_cancel_backend(pid) from pg_stat_activity
      where datname = current_database() and query ilike 'copy longtail.fact%' and state = 'active'`;
    cancelled += rows.length;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await database.sql.unsafe('drop trigger if exists slow on longtail.fact');
  expect(cancelled).toBeGreaterThan(0);
  expect(await running).toMatchObject({ status: 'complete' });
  expect(watched.reasons[0]).toMatch(/user request/);
  expect(askedAgain(emulator)).toEqual([]);
  await whole(database, emulator);
}, 60_000);

test('the database becomes read-only in the middle and writable again: the run waits without asking, and completes', async () => {
  await using server = await startTestServer();
  await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 10 });
  await migrate(server.url);
  const admin = openSql(server.url);
  try {
    await using sync = createSync(options(server.url, emulator, days, { datasets, batchSize: 2 }));
    const watched = watch(sync);
    let slices = 0;
    sync.on('slice', () => (slices += 1));
    const running = sync.run();
    await until(() => slices >= 2, 'some slices');
    await admin`alter system set default_transaction_read_only = on`;
    await admin`select pg_reload_conf()`;
    await until(() => watched.isWaiting(), 'the run waits for the database');
    const asked = queries(emulator).length;
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(queries(emulator).length).toBe(asked);
    await admin`set default_transaction_read_only = off`;
    await admin`alter system reset default_transaction_read_only`;
    await admin`select pg_reload_conf()`;
    expect(await running).toMatchObject({ status: 'complete', slices: { complete: days.length } });
    expect(watched.reasons.join()).toMatch(/read.only/);
    expect(askedAgain(emulator)).toEqual([]);
    await whole({ sql: admin }, emulator);
  } finally {
    await admin.end({ timeout: 1 });
  }
}, 60_000);

test('sessions that began while the database was read-only are not used for ever', async () => {
  await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 100 });
  await using database = await testDatabase();
  await migrate(database.url);
  const name = new URL(database.url).pathname.slice(1);
  await using sync = createSync(options(database.url, emulator, days, { datasets, batchSize: 2 }));
  const watched = watch(sync);
  let slices = 0;
  sync.on('slice', () => (slices += 1));
  const running = sync.run();
  await until(() => slices >= 2, 'some slices');
  // As hosted services do it when the disk is full: for the sessions to come, and the present ones are ended.
  await database.sql.unsafe(`alter database ${name} set default_transaction_read_only = on`);
  await database.sql`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name = 'longtail'
      and pid not in (select pid from pg_locks where locktype = 'advisory')`;
  await until(
    () => watched.reasons.some((reason) => /read.only/.test(reason)),
    'it says that it is read-only',
  );
  expect(watched.reasons.join()).toContain(`default_transaction_read_only = on of database "${name}"`);
  await database.sql.unsafe(`alter database ${name} reset default_transaction_read_only`);
  expect(await running).toMatchObject({ status: 'complete', slices: { complete: days.length } });
  expect(askedAgain(emulator)).toEqual([]);
  await whole(database, emulator);
}, 90_000);
