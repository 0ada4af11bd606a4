import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { migrate } from '../../src/postgres/schema/migrate.ts';
import { nothingLeft, withSql } from '../support/embedded.ts';
import { emptyDatabase, startTestServer, testDatabase } from '../support/postgres.ts';
import { openSql } from '../support/sql.ts';

test('each call gives an empty UTF-8 database, and close drops it', async () => {
  const one = await emptyDatabase();
  await using two = await emptyDatabase();
  await one.sql`CREATE TABLE there (id int)`;
  expect((await two.sql`SELECT to_regclass('there') AS there`)[0]).toEqual({ there: null });
  expect((await one.sql`SHOW server_encoding`)[0]).toEqual({ server_encoding: 'UTF8' });
  await one.close();
  const name = new URL(one.url).pathname.slice(1);
  expect(await two.sql`SELECT 1 FROM pg_database WHERE datname = ${name}`).toHaveLength(0);
});

test('a copy of the template has the tables of today, and nothing in them', async () => {
  await using database = await testDatabase();
  expect(await migrate(database.url)).toEqual({ applied: 0 });
  expect(await database.sql`SELECT 1 FROM longtail.run`).toHaveLength(0);
});

test('a server of one’s own is killed and comes back on its port', async () => {
  await using server = await startTestServer();
  const sql = openSql(server.url);
  try {
    await sql`CREATE TABLE kept (id int)`;
    await server.stop('kill');
    expect(server.pid()).toBe(0);
    await expect(sql`SELECT 1`).rejects.toThrow();
    await server.start();
    expect(await sql`SELECT * FROM kept`).toHaveLength(0);
  } finally {
    await sql.end({ timeout: 0 });
  }
});

test('nothing of a server is left when the process that started it is killed', async () => {
  const support = new URL('../support/postgres.ts', import.meta.url).href;
  const program = `const { startTestServer } = await import(${JSON.stringify(support)});
    console.log((await startTestServer()).url);
    setInterval(() => undefined, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [url] = await createInterface({ input: child.stdout })
    [Symbol.asyncIterator]()
    .next()
    .then((line) => [String(line.value)]);
  const data = await withSql(url, async (sql) => String((await sql`SHOW data_directory`)[0]?.data_directory));
  expect(existsSync(data)).toBe(true);
  child.kill('SIGKILL');
  await nothingLeft(dirname(data));
  await expect.poll(() => existsSync(dirname(data)), { timeout: 15_000 }).toBe(false);
});

test('a session that ends while it opens, and a server that is gone then, are one error of the query', async () => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => void unhandled.push(reason);
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => {
      // Signed in, and ready for the first query.
      socket.write(
        Buffer.from([...Buffer.from('R'), 0, 0, 0, 8, 0, 0, 0, 0, ...Buffer.from('Z'), 0, 0, 0, 5, 73]),
      );
      socket.once('data', () => {
        server.close();
        socket.end();
      });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  process.on('unhandledRejection', note);
  try {
    const url = `postgres://me@127.0.0.1:${address.port}/x`;
    await expect(withSql(url, (sql) => sql`SELECT 1`)).rejects.toThrow(/CONNECTION_CLOSED|ECONNREFUSED/);
    // A rejection is told once the microtasks are done.
    await setImmediate();
    expect(unhandled).toEqual([]);
  } finally {
    process.off('unhandledRejection', note);
    server.close();
  }
});
