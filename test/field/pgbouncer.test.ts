// @module-tag long
/** The real PgBouncer, where it is installed: each of its modes, few server connections, and its own timeouts. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import { describe, expect, test } from 'vitest';
import { createSync } from '../../src/sync/sync.ts';
import { emptyDatabase } from '../support/postgres.ts';
import { emulate, options, settledDays } from '../support/property.ts';
import { until } from '../support/until.ts';
import { askedAgain, expectWhole, watch } from './support/watching.ts';

const datasets = ['page', 'page+query'];
const days = settledDays(20);

const PLACES = ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer', '/usr/local/bin/pgbouncer'];
const installed = (
  await Promise.all(
    PLACES.map((path) =>
      access(path).then(
        () => path,
        () => undefined,
      ),
    ),
  )
).find((path) => path !== undefined);

async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** In front of a database, with settings of its own. */
async function startPgBouncer(binary: string, targetUrl: string, settings: Readonly<Record<string, string>>) {
  const target = new URL(targetUrl);
  const folder = await mkdtemp(join(tmpdir(), 'longtail-pgbouncer-'));
  const port = Number(settings.listen_port ?? (await freePort()));
  const users = join(folder, 'users.txt');
  const file = join(folder, 'pgbouncer.ini');
  const lines = {
    listen_addr: '127.0.0.1',
    listen_port: String(port),
    unix_socket_dir: '',
    auth_type: 'plain',
    auth_file: users,
    pidfile: join(folder, 'pid'),
    ...settings,
  };
  await writeFile(users, `"${target.username}" "${decodeURIComponent(target.password)}"\n`);
  await writeFile(
    file,
    [
      '[databases]',
      `* = host=${target.hostname} port=${target.port}`,
      '[pgbouncer]',
      ...Object.entries(lines).map(([name, value]) => `${name} = ${value}`),
      '',
    ].join('\n'),
  );
  // It does not run as root.
  const isRoot = userInfo().uid === 0;
  if (isRoot) for (const path of [folder, users, file]) await chown(path, 65_534, 65_534);
  const child: ChildProcess = spawn(binary, ['-q', file], {
    stdio: 'ignore',
    ...(isRoot ? { uid: 65_534, gid: 65_534 } : {}),
  });
  const exited = once(child, 'exit');
  const url = Object.assign(new URL(targetUrl), { hostname: '127.0.0.1', port: String(port) }).href;
  const close = async (): Promise<void> => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await exited;
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await until(async () => {
      if (child.exitCode !== null) throw new Error('PgBouncer has ended');
      const sql = postgres(url, { max: 1, prepare: false, fetch_types: false, onnotice: () => undefined });
      try {
        await sql`select 1`.simple();
        return true;
      } catch {
        return false;
      } finally {
        await sql.end({ timeout: 1 });
      }
    }, 'PgBouncer');
  } catch (error) {
    await close();
    throw error;
  }
  return { url, [Symbol.asyncDispose]: close };
}

describe.skipIf(installed === undefined)('PgBouncer (skipped where it is not installed)', () => {
  const start = (url: string, settings: Readonly<Record<string, string>>) =>
    startPgBouncer(installed ?? '', url, settings);

  test.each<readonly [string, Readonly<Record<string, string>>]>([
    ['in transaction mode', { pool_mode: 'transaction' }],
    ['in transaction mode with one server connection', { pool_mode: 'transaction', default_pool_size: '1' }],
    [
      'in transaction mode, whose clients are few',
      { pool_mode: 'transaction', default_pool_size: '2', max_client_conn: '3' },
    ],
    ['in session mode', { pool_mode: 'session' }],
    ['in session mode that is soon full', { pool_mode: 'session', default_pool_size: '2' }],
    [
      'in session mode with one server connection',
      { pool_mode: 'session', default_pool_size: '1', query_wait_timeout: '3' },
    ],
    [
      'that changes its server connections all the time',
      { pool_mode: 'transaction', server_lifetime: '1', server_idle_timeout: '1' },
    ],
    ['that resets after each transaction', { pool_mode: 'transaction', server_reset_query_always: '1' }],
  ])('%s: the run completes, and every page is asked for once', async (_, settings) => {
    await using database = await emptyDatabase();
    await using pooler = await start(database.url, settings);
    await using emulator = await emulate({ rowsPerDay: 60, latencyMs: 10 });
    await using sync = createSync(
      options(pooler.url, emulator, days, { datasets, batchSize: 4, rowsPerPage: 40, maxConcurrency: 5 }),
    );
    const startedAtMs = performance.now();
    expect(await sync.run()).toMatchObject({ status: 'complete', slices: { complete: 40, failed: 0 } });
    expect(performance.now() - startedAtMs).toBeLessThan(45_000);
    expect(askedAgain(emulator)).toEqual([]);
    await expectWhole(database.sql, emulator, datasets, days);
  });

  test('in statement mode, which knows no transactions: it ends at once, and asks Google for nothing', async () => {
    await using database = await emptyDatabase();
    await using pooler = await start(database.url, { pool_mode: 'statement' });
    await using emulator = await emulate({ rowsPerDay: 20 });
    await using sync = createSync(options(pooler.url, emulator, days, { datasets }));
    await expect(sync.run()).rejects.toMatchObject({ code: expect.stringMatching(/^DATABASE_/) });
    expect(emulator.requests.length).toBe(0);
  });

  test('is restarted in the middle: what was read is written afterwards', async () => {
    await using database = await emptyDatabase();
    await using emulator = await emulate({ rowsPerDay: 60, latencyMs: 30 });
    const first = await start(database.url, { pool_mode: 'transaction' });
    const { port } = new URL(first.url);
    try {
      await using sync = createSync(options(first.url, emulator, days, { datasets, batchSize: 1 }));
      const watched = watch(sync);
      const running = sync.run();
      await until(() => watched.slices() >= 3, 'some slices');
      await first[Symbol.asyncDispose]();
      await until(() => watched.isWaiting(), 'the run waits');
      await using again = await start(database.url, { pool_mode: 'transaction', listen_port: port });
      expect(new URL(again.url).hostname).toBe('127.0.0.1');
      expect(await running).toMatchObject({ status: 'complete', slices: { complete: 40, failed: 0 } });
    } finally {
      await first[Symbol.asyncDispose]();
    }
    expect(askedAgain(emulator)).toEqual([]);
    await expectWhole(database.sql, emulator, datasets, days);
  });
});
