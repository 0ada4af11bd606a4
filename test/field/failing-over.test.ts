// @module-tag long
// Holds invariants 1 of SPEC.md.
/** The primary becomes a replica, or another server takes its place: what was read waits, and goes to whoever can write it. */
import { cp, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { join } from 'node:path';
import postgres, { type Sql } from 'postgres';
import { expect, test } from 'vitest';
import { migrate } from '../../src/postgres/schema/migrate.ts';
import { createSync } from '../../src/sync/sync.ts';
import { startTestServer, type TestServer } from '../support/postgres.ts';
import { emulate, options, settledDays } from '../support/property.ts';
import { until } from '../support/until.ts';
import { askedAgain, expectWhole, watch } from './support/watching.ts';

const datasets = ['page'];
const days = settledDays(30);
/** The tests' servers do without, which is quicker. */
const MAY_HAVE_REPLICAS = { wal_level: 'replica', max_wal_senders: '2' };

async function withAdmin<T>(server: TestServer, work: (sql: Sql) => Promise<T>): Promise<T> {
  const sql = postgres(server.url, { max: 1, onnotice: () => undefined });
  try {
    return await work(sql);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

const folderOf = (server: TestServer): Promise<string> =>
  withAdmin(server, async (sql) => {
    const [row] = await sql<{ folder: string }[]>`select current_setting('data_directory') as folder`;
    if (row === undefined) throw new Error('no folder');
    return row.folder;
  });

/** Started again, it takes no writes: a primary that was demoted. */
async function demote(server: TestServer): Promise<void> {
  const folder = await folderOf(server);
  await server.stop();
  await writeFile(join(folder, 'standby.signal'), '');
  await server.start();
}

/** Stands in front of servers and leads new connections to one of them, as a balancer does. Those that are open stay. */
async function startBalancer(first: number) {
  let port = first;
  const sockets = new Set<net.Socket>();
  const server = net.createServer((client) => {
    const upstream = net.connect({ host: '127.0.0.1', port, noDelay: true });
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
    client.pipe(upstream);
    upstream.pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the balancer has no port');
  return {
    port: address.port,
    leadTo: (other: number) => {
      port = other;
    },
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test('the primary is demoted and promoted again: the run waits without asking, says what it is, and completes', async () => {
  await using server = await startTestServer({ settings: MAY_HAVE_REPLICAS });
  await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 20 });
  await migrate(server.url);
  await using sync = createSync(options(server.url, emulator, days, { datasets, batchSize: 2 }));
  const watched = watch(sync);
  const running = sync.run();
  await until(() => watched.slices() >= 2, 'some slices');
  await demote(server);
  await until(
    () => watched.reasons.some((reason) => /read-only replica/.test(reason)),
    'it says that the server is a replica',
  );
  const asked = emulator.requests.length;
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  expect(emulator.requests.length).toBe(asked);
  await withAdmin(server, (sql) => sql`select pg_promote(true, 60)`);
  expect(await running).toMatchObject({ status: 'complete', slices: { complete: 30, failed: 0 } });
  expect(askedAgain(emulator)).toEqual([]);
  await withAdmin(server, (sql) => expectWhole(sql, emulator, datasets, days));
}, 600_000);

test('connections land on a replica for a while, which stays one: sessions there are left when there is a primary', async () => {
  await using primary = await startTestServer({ settings: MAY_HAVE_REPLICAS });
  await using replica = await startTestServer({ settings: MAY_HAVE_REPLICAS });
  await migrate(primary.url);
  const [from, to] = [await folderOf(primary), await folderOf(replica)];
  await primary.stop();
  await replica.stop();
  await rm(to, { recursive: true });
  await cp(from, to, { recursive: true, preserveTimestamps: true });
  await own(from, to);
  await writeFile(join(to, 'standby.signal'), '');
  await primary.start();
  await replica.start();
  await using balancer = await startBalancer(primary.port);
  await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 20 });
  const url = Object.assign(new URL(primary.url), { port: String(balancer.port) }).href;
  await using sync = createSync(options(url, emulator, days, { datasets, batchSize: 2 }));
  const watched = watch(sync);
  const running = sync.run();
  await until(() => watched.slices() >= 2, 'some slices');
  balancer.leadTo(replica.port);
  balancer.cut();
  await until(
    () => watched.reasons.some((reason) => /read-only replica/.test(reason)),
    'it says that the server is a replica',
  );
  // What is open to the replica stays open.
  balancer.leadTo(primary.port);
  expect(await running).toMatchObject({ status: 'complete', slices: { complete: 30, failed: 0 } });
  expect(askedAgain(emulator)).toEqual([]);
  await withAdmin(primary, (sql) => expectWhole(sql, emulator, datasets, days));
}, 600_000);

/** As root runs the tests, another account runs the servers. */
async function own(from: string, to: string): Promise<void> {
  const { stat, chown, readdir, chmod } = await import('node:fs/promises');
  const { uid, gid, mode } = await stat(from);
  await chmod(to, mode & 0o777);
  if (process.getuid?.() !== 0) return;
  await chown(to, uid, gid);
  for (const entry of await readdir(to, { recursive: true })) await chown(join(to, entry), uid, gid);
}
