// @module-tag long
/** A signal to the command line, whatever it waits for: it ends within a halt's deadline, with the code for that. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { migrate } from '../../src/postgres/schema/migrate.ts';
import { useLongtail } from '../cli/support/longtail.ts';
import { lockWaiters } from '../support/locks.ts';
import { testDatabase } from '../support/postgres.ts';
import { emulate, SITE, settledDays } from '../support/property.ts';
import { until } from '../support/until.ts';
import { startFreezingProxy, startSilentServer } from './support/freezing-proxy.ts';

const { start, folder } = useLongtail();
const [to = ''] = settledDays(2);
const range = ['--site', SITE, '--from', to, '--to', to, '--datasets', 'page'];
const token = { LONGTAIL_ACCESS_TOKEN: 'a-token' };
/** The deadline of a halt is five seconds; another machine may be busy. */
const BOUND_MS = 8_000;

async function stopAt(
  signal: 'SIGINT' | 'SIGTERM',
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  hangs: () => boolean | Promise<boolean>,
): Promise<{ readonly stdout: string; readonly stderr: string }> {
  const run = start(args, { env });
  await until(hangs, 'it waits');
  const signalledAtMs = performance.now();
  run.child.kill(signal);
  const { code, stdout, stderr } = await run.finished;
  expect({ code, stderr }).toMatchObject({ code: 130 });
  expect(performance.now() - signalledAtMs).toBeLessThan(BOUND_MS);
  return { stdout, stderr };
}

test.each([
  ['sync', ['sync', ...range, '--json']],
  ['a dry run', ['sync', ...range, '--dry-run']],
  ['status', ['status']],
] as const)('%s, while the database takes the connection and says nothing', async (_, args) => {
  await using silent = await startSilentServer();
  const DATABASE_URL = `postgres://me:secret@127.0.0.1:${silent.port}/db`;
  const told = await stopAt('SIGINT', args, { ...token, DATABASE_URL }, () => silent.connections() > 0);
  if (args[0] === 'sync' && args.at(-1) === '--json')
    expect(JSON.parse(told.stdout)).toMatchObject({
      status: 'halted',
      haltReason: { kind: 'asked', reason: 'SIGINT' },
    });
});

test('sync and status, while another session holds a lock on the tables', async () => {
  await using database = await testDatabase();
  await migrate(database.url);
  for (const args of [['sync', ...range], ['status']]) {
    await database.sql.begin(async (tx) => {
      await tx`lock table longtail.slice, longtail.property, longtail.migrations in access exclusive mode`;
      const env = { ...token, DATABASE_URL: database.url };
      await stopAt('SIGTERM', args, env, async () => (await lockWaiters(database.sql)) > 0);
    });
    await until(async () => (await lockWaiters(database.sql)) === 0, 'the lock is free again');
  }
});

test('sync, while the database is silent at the run’s very end', async () => {
  await using emulator = await emulate({ rowsPerDay: 20 });
  await using database = await testDatabase();
  await using proxy = await startFreezingProxy(database.url);
  proxy.freezeAt('update longtail.run set status = $1');
  const env = { ...token, DATABASE_URL: proxy.url, LONGTAIL_API_ROOT: emulator.url };
  await stopAt('SIGINT', ['sync', ...range], env, () => proxy.isFrozen());
});

test('sites, while the token endpoint takes the request and says nothing', async () => {
  let asked = 0;
  const server = createServer(() => {
    asked += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  try {
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('the token endpoint has no port');
    const path = join(folder(), 'credentials.json');
    const content = {
      type: 'authorized_user',
      client_id: 'me',
      client_secret: 'mine',
      refresh_token: 'this',
    };
    mkdirSync(folder(), { recursive: true });
    writeFileSync(path, JSON.stringify(content));
    const env = { LONGTAIL_TOKEN_URL: `http://127.0.0.1:${address.port}/token` };
    await stopAt('SIGINT', ['sites', '--credentials', path], env, () => asked > 0);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});
