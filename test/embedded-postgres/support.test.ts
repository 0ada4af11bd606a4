import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import postgres from 'postgres';
import { expect, test } from 'vitest';
import { nothingLeft, withSql } from '../support/embedded.ts';
import { startTestServer, testDatabase } from '../support/postgres.ts';

test('each call gives an empty UTF-8 database, and close drops it', async () => {
  const one = await testDatabase();
  await using two = await testDatabase();
  await one.sql`CREATE TABLE there (id int)`;
  expect((await two.sql`SELECT to_regclass('there') AS there`)[0]).toEqual({ there: null });
  expect((await one.sql`SHOW server_encoding`)[0]).toEqual({ server_encoding: 'UTF8' });
  await one.close();
  const name = new URL(one.url).pathname.slice(1);
  expect(await two.sql`SELECT 1 FROM pg_database WHERE datname = ${name}`).toHaveLength(0);
});

test('a server of one’s own is killed and comes back on its port', async () => {
  await using server = await startTestServer();
  const sql = postgres(server.url, { max: 1, onnotice: () => undefined });
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
