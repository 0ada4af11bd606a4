import { expect, test } from 'vitest';
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
  const { default: postgres } = await import('postgres');
  const sql = postgres(server.url, { max: 1, onnotice: () => undefined });
  try {
    await sql`CREATE TABLE kept (id int)`;
    await server.stop('kill');
    await expect(sql`SELECT 1`).rejects.toThrow();
    await server.start();
    expect(await sql`SELECT * FROM kept`).toHaveLength(0);
  } finally {
    await sql.end({ timeout: 0 });
  }
});
