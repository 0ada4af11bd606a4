// @module-tag long
/** A pool that a backend passes in stays the backend's: its queries are answered, its lines may break, it may be ended. */

import { drizzle } from 'drizzle-orm/postgres-js';
import postgres, { type Sql } from 'postgres';
import { describe, expect, test } from 'vitest';
import { LongtailError } from '../../src/domain/errors.ts';
import { connect } from '../../src/postgres/connection/connect.ts';
import { createSync } from '../../src/sync/sync.ts';
import { differences } from '../support/compare.ts';
import { emptyDatabase } from '../support/postgres.ts';
import { emulate, options, SITE, settledDays } from '../support/property.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

const datasets = ['page', 'page+query'];
const web = { siteUrl: SITE, searchTypes: ['web'], datasets } as const;

async function connectionsOf(sql: Sql, name: string): Promise<number> {
  const rows = await sql<{ count: number }[]>`
    select count(*)::int as count from pg_stat_activity
    where datname = current_database() and application_name = ${name}`;
  return rows[0]?.count ?? 0;
}

test('the host’s own queries are answered at once while a run works, its pool of one included', async () => {
  await using database = await emptyDatabase();
  await using emulator = await emulate({ rowsPerDay: 400, latencyMs: 5 });
  const days = settledDays(20);
  const pool = postgres(database.url, { max: 2, connection: { application_name: 'host' } });
  const blocked = postgres(database.url, { max: 3 });
  try {
    await pool`select 1`;
    await using sync = createSync(
      options(pool, emulator, days, { datasets, rowsPerPage: 100, maxConcurrency: 4 }),
    );
    let isOver = false;
    const running = sync.run().finally(() => (isOver = true));
    let slowest = 0;
    let most = 0;
    while (!isOver) {
      const before = performance.now();
      await pool`select 1`;
      slowest = Math.max(slowest, performance.now() - before);
      most = Math.max(most, await connectionsOf(database.sql, 'longtail'));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(await running).toMatchObject({ status: 'complete', slices: { complete: 40, failed: 0 } });
    // Before, it waited for as long as the run took.
    expect(slowest).toBeLessThan(2_000);
    expect(most).toBeLessThanOrEqual(2);
    expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
    // What was opened is closed with the run.
    await until(async () => (await connectionsOf(database.sql, 'longtail')) === 0, 'all are closed');
  } finally {
    await pool.end();
    await blocked.end();
  }
});

test('a host’s pool that is busy to the last connection holds nothing up', async () => {
  await using database = await emptyDatabase();
  await using emulator = await emulate({ rowsPerDay: 20 });
  const pool = postgres(database.url, { max: 3 });
  const reserved = await Promise.all([pool.reserve(), pool.reserve(), pool.reserve()]);
  try {
    await using sync = createSync(options(pool, emulator, settledDays(3), { datasets }));
    expect(await sync.run()).toMatchObject({ status: 'complete' });
  } finally {
    for (const session of reserved) session.release();
    await pool.end();
  }
});

test('all who are handed the same pool share what is made of it, and the last one closes it', async () => {
  await using database = await emptyDatabase();
  const pool = postgres(database.url, { max: 3 });
  const name = { applicationName: 'shared' };
  const first = await connect(pool, { ...name, max: 2 });
  const others = await Promise.all([1, 2, 3].map(() => connect(pool, { ...name, max: 2 })));
  await Promise.all(
    [first, ...others].flatMap(({ sql }) => [sql`select pg_sleep(0.1)`, sql`select pg_sleep(0.1)`]),
  );
  expect(await connectionsOf(database.sql, 'shared')).toBe(3);
  for (const user of others) await user.close();
  expect(await first.sql`select 1 as one`).toEqual([{ one: 1 }]);
  await first.close();
  await first.close();
  expect(await connectionsOf(database.sql, 'shared')).toBe(0);
  // The next begins anew.
  const again = await connect(pool, { ...name, max: 2 });
  expect(again).toMatchObject({ pooled: false, maySpareConnection: true });
  await again.close();
  await pool.end();
});

test('a pool whose lines are cut now and then: the run completes, and the process lives', async () => {
  await using database = await emptyDatabase();
  await using emulator = await emulate({ rowsPerDay: 100, latencyMs: 10 });
  const days = settledDays(20);
  const live = new Set<{ destroy: () => void }>();
  let asked = 0;
  let cuts = 0;
  await using proxy = await startTcpProxy(database.url, {
    onRequest: (_, connection) => {
      live.add(connection);
      // While it opens, a connection that is cut ends the run, and says so.
      if (emulator.requests.length < 4) return;
      asked += 1;
      if (asked % 20 !== 0 || cuts === 4) return;
      cuts += 1;
      for (const each of live) each.destroy();
      live.clear();
    },
  });
  const pool = postgres(proxy.url, { max: 4 });
  try {
    await using sync = createSync(
      options(pool, emulator, days, { datasets, batchSize: 2, rowsPerPage: 40, maxConcurrency: 3 }),
    );
    expect(await sync.run()).toMatchObject({ status: 'complete', slices: { complete: 40, failed: 0 } });
    expect(cuts).toBe(4);
    expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
  } finally {
    await pool.end({ timeout: 1 });
  }
}, 90_000);

test('the host ends its pool in the middle: the run halts and says so, the next one completes', async () => {
  await using database = await emptyDatabase();
  await using emulator = await emulate({ rowsPerDay: 40, latencyMs: 40 });
  const days = settledDays(30);
  const pool = postgres(database.url, { max: 3 });
  await using sync = createSync(options(pool, emulator, days, { datasets, batchSize: 1, maxConcurrency: 1 }));
  const running = sync.run();
  await until(() => emulator.requests.length > 5, 'the run works');
  await pool.end();
  expect(await running).toMatchObject({
    status: 'halted',
    haltReason: { kind: 'asked', reason: expect.stringContaining('has been closed') },
  });
  await using next = createSync(options(database.url, emulator, days, { datasets }));
  expect(await next.run()).toMatchObject({ status: 'complete', slices: { complete: 60 } });
});

test('afterwards the host’s pool is as it was', async () => {
  await using database = await emptyDatabase();
  const pool = postgres(database.url, { max: 3 });
  const { end, close } = { end: pool.end, close: Reflect.get(pool, 'close') };
  const connected = await connect(pool, { max: 2, applicationName: 'test' });
  await connected.close();
  expect(pool.end).toBe(end);
  expect(Reflect.get(pool, 'close')).toBe(close);
  await pool.end();
});

test('the host’s own way to make sockets is used', async () => {
  await using database = await emptyDatabase();
  const { hostname, port } = new URL(database.url);
  let made = 0;
  const settings: postgres.Options<Record<string, never>> & { socket: () => Promise<unknown> } = {
    host: 'a-name-that-only-the-connector-knows',
    max: 3,
    socket: async () => {
      made += 1;
      const { connect: dial } = await import('node:net');
      return dial({ host: hostname, port: Number(port) });
    },
  };
  const pool = postgres(Object.assign(new URL(database.url), { hostname: 'unknown.invalid' }).href, settings);
  const connected = await connect(pool, { max: 2, applicationName: 'test' });
  expect(await connected.sql`select 1 as one`).toEqual([{ one: 1 }]);
  expect(made).toBe(1);
  await connected.close();
  await pool.end();
});

describe('what is no pool is refused in a line that names it', () => {
  const pool = postgres('postgres://nobody@127.0.0.1:1/none', { max: 1 });
  const someFunctions = (...names: string[]): object =>
    Object.fromEntries(names.map((name) => [name, () => undefined]));
  const transaction = Object.assign(() => undefined, someFunctions('savepoint', 'unsafe'));
  const reserved = Object.assign(() => undefined, someFunctions('release', 'unsafe'));
  const knex = Object.assign(() => undefined, someFunctions('raw', 'batchInsert', 'transaction'));
  test.each<readonly [string, unknown, RegExp]>([
    ['a transaction', transaction, /transaction.*sql\.begin/s],
    ['a reserved connection', reserved, /reserved connection/],
    ['Drizzle over postgres.js', drizzle(pool), /Drizzle.*db\.\$client/s],
    ['pg', someFunctions('query', 'connect', 'end'), /of pg/],
    ['Knex', knex, /Knex/],
    ['Kysely', someFunctions('selectFrom', 'insertInto'), /Kysely/],
    ['Prisma', someFunctions('$connect', '$queryRaw'), /Prisma/],
    ['Supabase', someFunctions('from', 'rpc'), /Supabase/],
    ['settings', { host: 'h', password: 'geheim1' }, /settings object/],
    ['a URL object', new URL('postgres://u:geheim1@h/db'), /URL object/],
    ['a promise', Promise.resolve('postgres://u@h/db'), /promise/],
    ['a number', 5432, /neither a PostgreSQL URL nor a postgres.js pool/],
    ['null', null, /neither a PostgreSQL URL nor a postgres.js pool/],
    ['a function', () => 'postgres://u@h/db', /neither a PostgreSQL URL nor a postgres.js pool/],
  ])('%s', (_, value, about) => {
    let error: unknown;
    try {
      Reflect.apply(createSync, undefined, [{ siteUrl: SITE, database: value }]);
    } catch (caught) {
      error = caught;
    }
    if (!(error instanceof LongtailError)) throw new Error('it was taken');
    expect(error.code).toBe('BAD_OPTION');
    expect(`${error.message} ${error.nextStep}`).toMatch(about);
    expect(`${error.message} ${error.nextStep}`).not.toContain('geheim1');
  });
});
