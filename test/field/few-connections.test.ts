// @module-tag long
/** A database, a role or a pooler that gives fewer connections than are wanted: what must wait waits, and nothing is asked twice. */
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect } from '../../src/postgres/connection/connect.ts';
import { transaction } from '../../src/postgres/connection/transaction.ts';
import { createSync } from '../../src/sync/sync.ts';
import { differences } from '../support/compare.ts';
import { startFakePooler } from '../support/fake-pooler.ts';
import { emptyDatabase, type TestDatabase } from '../support/postgres.ts';
import { emulate, options, SITE, settledDays } from '../support/property.ts';

let database: TestDatabase;
let role: string;

beforeAll(async () => {
  database = await emptyDatabase();
  role = `few_${new URL(database.url).pathname.slice(6)}`;
  await database.sql.unsafe(`create role ${role} login password 'pw'`);
  await database.sql.unsafe(`grant all on schema public to ${role}`);
  await database.sql.unsafe(
    `do $$ begin execute format('grant all on database %I to ${role}', current_database()); end $$`,
  );
});
afterAll(async () => {
  await database.sql.unsafe(`drop owned by ${role} cascade`);
  await database.sql.unsafe(`drop role ${role}`);
  await database.close();
});

async function asRole(limit: number): Promise<string> {
  await database.sql.unsafe(`alter role ${role} connection limit ${limit}`);
  return Object.assign(new URL(database.url), { username: role, password: 'pw' }).href;
}

const inUse = async (): Promise<number> => {
  const rows = await database.sql<{ count: number }[]>`
    select count(*)::int as count from pg_stat_activity where usename = ${role}`;
  return rows[0]?.count ?? 0;
};

test.each([2, 4])(
  'a role with %i connections, at concurrency 6: every slice is asked for once',
  async (limit) => {
    const url = await asRole(limit);
    // Days of its own: the database is the same.
    const days = settledDays(20 * limit).slice(-20);
    await using emulator = await emulate({ rowsPerDay: 30, latencyMs: 5 });
    await using sync = createSync(
      options(url, emulator, days, {
        datasets: ['page', 'page+query'],
        maxConcurrency: 6,
        batchSize: 4,
      }),
    );
    const outcome = await sync.run();
    expect(outcome).toMatchObject({ status: 'complete', slices: { complete: 40, failed: 0 } });
    // One for each slice, and the calendar.
    expect(emulator.requests.length).toBe(41);
  },
);

test('a role without any connection left: one line, in some seconds, that says so', async () => {
  const url = await asRole(1);
  const other = postgres(url, { max: 1 });
  try {
    await other`select 1`;
    const short = { waitMs: 5_000, silenceMs: 75_000, idleMs: 60_000, roomMs: 300 };
    await expect(connect(url, { max: 3, applicationName: 'few', times: short })).rejects.toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
      message: expect.stringContaining('no connection left'),
    });
    await expect(connect(other, { max: 3, applicationName: 'few', times: short })).rejects.toMatchObject({
      code: 'POOL_TOO_SMALL',
      message: expect.stringContaining('besides those of the pool passed in'),
    });
  } finally {
    await other.end();
  }
});

test('a moment without a connection is waited for', async () => {
  const url = await asRole(1);
  const other = postgres(url, { max: 1 });
  await other`select 1`;
  const connecting = connect(url, { max: 3, applicationName: 'few' });
  setTimeout(() => void other.end(), 400);
  const connected = await connecting;
  expect(await connected.sql`select 1 as one`).toEqual([{ one: 1 }]);
  await connected.close();
});

test('what was narrowed grows again when there is room', async () => {
  const url = await asRole(2);
  const connected = await connect(url, { max: 6, applicationName: 'few' });
  const six = (): Promise<unknown> =>
    Promise.all(Array.from({ length: 6 }, () => connected.sql`select pg_sleep(0.1)`));
  await six();
  expect(await inUse()).toBe(2);
  await asRole(6);
  for (let round = 0; round < 200 && (await inUse()) < 4; round += 1) await six();
  expect(await inUse()).toBeGreaterThanOrEqual(4);
  await connected.close();
});

test('transactions that are more than the connections take turns', async () => {
  const url = await asRole(2);
  const connected = await connect(url, { max: 5, applicationName: 'few' });
  let most = 0;
  let now = 0;
  const results = await Promise.all(
    Array.from({ length: 20 }, (_, place) =>
      transaction(connected.sql, async (tx) => {
        now += 1;
        most = Math.max(most, now);
        await tx`select pg_sleep(0.01)`;
        now -= 1;
        return place;
      }),
    ),
  );
  expect(results).toEqual(Array.from({ length: 20 }, (_, place) => place));
  expect(most).toBeLessThanOrEqual(2);
  await connected.close();
});

test.each([
  ['three sessions at the server', { sessions: 3 }],
  ['room for three clients', { sessions: 3, maxClients: 3 }],
])('a transaction pooler with %s: the run completes, every slice is asked for once', async (_, settings) => {
  await using own = await emptyDatabase();
  await using pooler = await startFakePooler(own.url, settings);
  const days = settledDays(15);
  await using emulator = await emulate({ rowsPerDay: 30, latencyMs: 5 });
  await using sync = createSync(
    options(pooler.url, emulator, days, {
      datasets: ['page', 'page+query'],
      maxConcurrency: 6,
      batchSize: 3,
    }),
  );
  expect(await sync.run()).toMatchObject({ status: 'complete', slices: { complete: 30, failed: 0 } });
  expect(emulator.requests.length).toBe(31);
  expect(
    await differences(own.sql, emulator, {
      siteUrl: SITE,
      searchTypes: ['web'],
      datasets: ['page', 'page+query'],
      days,
    }),
  ).toEqual([]);
});
