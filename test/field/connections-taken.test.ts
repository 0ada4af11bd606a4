// @module-tag long
// Holds invariants 1 of SPEC.md.
/** A role or a server with a single connection to spare, from the first moment or all at once in the middle. */
import postgres from 'postgres';
import { describe, expect, test } from 'vitest';
import { migrate } from '../../src/postgres/schema/migrate.ts';
import { createSync } from '../../src/sync/sync.ts';
import { emptyDatabase, startTestServer, type TestDatabase } from '../support/postgres.ts';
import { emulate, options, settledDays } from '../support/property.ts';
import { until } from '../support/until.ts';
import { askedAgain, expectWhole, watch } from './support/watching.ts';

const datasets = ['page'];
const days = settledDays(30);

/** A role to whom a number of connections can be given. */
async function limitedRole({ url, sql }: TestDatabase) {
  const name = `limited_${new URL(url).pathname.slice(6)}`;
  const database = new URL(url).pathname.slice(1);
  await sql.unsafe(`create role ${name} login password 'pw'`);
  await sql.unsafe(`grant all on schema public to ${name}`);
  await sql.unsafe(`grant all on database ${database} to ${name}`);
  return {
    url: Object.assign(new URL(url), { username: name, password: 'pw' }).href,
    allow: (connections: number) => sql.unsafe(`alter role ${name} connection limit ${connections}`),
    /** Ends all that it has. */
    end: () => sql`select pg_terminate_backend(pid) from pg_stat_activity where usename = ${name}`,
    async [Symbol.asyncDispose]() {
      await sql.unsafe(`drop owned by ${name} cascade`);
      await sql.unsafe(`drop role ${name}`);
    },
  };
}

describe('a role with one connection', () => {
  test('the run completes on it', async () => {
    await using database = await emptyDatabase();
    await using role = await limitedRole(database);
    await role.allow(1);
    await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 5 });
    await using sync = createSync(
      options(role.url, emulator, days, { datasets, batchSize: 4, maxConcurrency: 6 }),
    );
    const startedAtMs = performance.now();
    expect(await sync.run()).toMatchObject({ status: 'complete', slices: { complete: 30, failed: 0 } });
    // Whoever waits for a connection that never comes gives up after a minute.
    expect(performance.now() - startedAtMs).toBeLessThan(30_000);
    expect(emulator.requests.length).toBe(31);
    await expectWhole(database.sql, emulator, datasets, days);
  });

  test('has it from the middle on: the run completes', async () => {
    await using database = await emptyDatabase();
    await using role = await limitedRole(database);
    await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 30 });
    await using sync = createSync(
      options(role.url, emulator, days, { datasets, batchSize: 1, maxConcurrency: 4 }),
    );
    const watched = watch(sync);
    const running = sync.run();
    await until(() => watched.slices() >= 3, 'some slices');
    await role.allow(1);
    await role.end();
    const narrowedAtMs = performance.now();
    expect(await running).toMatchObject({ status: 'complete', slices: { complete: 30, failed: 0 } });
    expect(performance.now() - narrowedAtMs).toBeLessThan(45_000);
    expect(askedAgain(emulator)).toEqual([]);
    await expectWhole(database.sql, emulator, datasets, days);
  });

  test('two runs of a backend that share it both complete', async () => {
    const sites = ['sc-domain:one.example', 'sc-domain:two.example'] as const;
    await using database = await emptyDatabase();
    await using role = await limitedRole(database);
    await migrate(role.url);
    await using emulator = await emulate({ sites, rowsPerDay: 20, latencyMs: 10 });
    const pool = postgres(role.url, { max: 5, idle_timeout: 1, onnotice: () => undefined });
    try {
      await role.allow(1);
      const settings = options(pool, emulator, days, { datasets, batchSize: 4 });
      await using one = createSync({ ...settings, siteUrl: sites[0], credentials: { accessToken: 'one' } });
      await using two = createSync({ ...settings, siteUrl: sites[1], credentials: { accessToken: 'two' } });
      for (const outcome of await Promise.all([one.run(), two.run()])) {
        expect(outcome).toMatchObject({ status: 'complete', slices: { complete: 30, failed: 0 } });
      }
      expect(emulator.requests.length).toBe(62);
    } finally {
      await pool.end({ timeout: 1 });
    }
  });
});

test('our sessions are ended and others take every place of the server: the run waits, and completes when there is room', async () => {
  await using server = await startTestServer({
    settings: { max_connections: '12', superuser_reserved_connections: '2' },
  });
  const admin = postgres(server.url, { max: 1, onnotice: () => undefined });
  await admin`create role app login password 'pw'`;
  await admin`create role others login password 'pw'`;
  await admin`grant all on database longtail to app`;
  await admin`grant all on schema public to app`;
  const as = (user: string): string =>
    Object.assign(new URL(server.url), { username: user, password: 'pw' }).href;
  await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 30 });
  await using sync = createSync(options(as('app'), emulator, days, { datasets, batchSize: 1 }));
  const watched = watch(sync);
  const crowd: postgres.Sql[] = [];
  try {
    const running = sync.run();
    await until(() => watched.slices() >= 3, 'some slices');
    // Each place that is left, and each that is freed.
    await admin`alter role app connection limit 0`;
    await admin`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'`;
    for (let place = 0; place < 12; place += 1) {
      const other = postgres(as('others'), { max: 1, onnotice: () => undefined });
      crowd.push(other);
      await other`select 1`.catch((error: unknown) =>
        expect(String(error)).toMatch(/connection slots|too many/),
      );
    }
    await admin`alter role app connection limit -1`;
    await until(() => watched.reasons.some((reason) => /connection slots|too many/.test(reason)), 'no room');
    const asked = emulator.requests.length;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(emulator.requests.length).toBe(asked);
    await Promise.all(crowd.map((other) => other.end({ timeout: 1 })));
    expect(await running).toMatchObject({ status: 'complete', slices: { complete: 30, failed: 0 } });
    expect(askedAgain(emulator)).toEqual([]);
    await expectWhole(admin, emulator, datasets, days);
  } finally {
    await Promise.all([...crowd, admin].map((sql) => sql.end({ timeout: 1 })));
  }
});

test('a replica that has to confirm commits is gone: commits hang, a halt does not, and nothing is asked for twice', async () => {
  await using server = await startTestServer({ settings: { max_wal_senders: '2', wal_level: 'replica' } });
  const admin = postgres(server.url, { max: 1, onnotice: () => undefined });
  const confirm = async (by: string): Promise<void> => {
    await admin.unsafe(`alter system set synchronous_standby_names = '${by}'`);
    await admin`select pg_reload_conf()`;
  };
  try {
    await migrate(server.url);
    await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 20 });
    const settings = options(server.url, emulator, days, { datasets, batchSize: 2, haltDeadlineMs: 2_000 });
    await using sync = createSync(settings);
    const watched = watch(sync);
    const running = sync.run();
    await until(() => watched.slices() >= 3, 'some slices');
    await confirm('gone');
    await until(async () => {
      const waiting = await admin`select from pg_stat_activity where wait_event = 'SyncRep'`;
      return waiting.length > 0;
    }, 'a commit that hangs');
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    await confirm('');
    await until(() => watched.slices() >= 6, 'it goes on');
    await confirm('gone');
    await new Promise((resolve) => setTimeout(resolve, 500));
    const askedAtMs = performance.now();
    await sync.halt();
    expect(performance.now() - askedAtMs).toBeLessThan(8_000);
    expect(await running).toMatchObject({ status: 'halted' });
    expect(askedAgain(emulator)).toEqual([]);
    await confirm('');
    await using rest = createSync(settings);
    expect(await rest.run()).toMatchObject({ status: 'complete', slices: { complete: 30 } });
    await expectWhole(admin, emulator, datasets, days);
  } finally {
    await confirm('').catch(() => undefined);
    await admin.end({ timeout: 1 });
  }
});
