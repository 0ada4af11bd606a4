// @module-tag long
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startEmbedded } from '../../src/embedded-postgres/embedded.ts';
import { nothingLeft, processesIn, runningState, useWorkplace, withSql } from '../support/embedded.ts';

const workplace = useWorkplace();

const startTime = (url: string | undefined) =>
  withSql(url, async (sql) => String((await sql`SELECT pg_postmaster_start_time()::text AS at`)[0]?.at));

test('a fresh start gives a UTF-8 database that loses nothing, on loopback alone', async () => {
  const { folder, options } = workplace();
  await using server = await startEmbedded(options());
  expect(server.url).toMatch(
    /^postgres:\/\/postgres:[\w-]{40,}@127\.0\.0\.1:\d+\/longtail\?sslmode=disable&target_session_attrs=read-write$/,
  );
  await withSql(server.url, async (sql) => {
    const names = [
      'server_encoding',
      'fsync',
      'full_page_writes',
      'synchronous_commit',
      'data_checksums',
      'listen_addresses',
      'unix_socket_directories',
      'TimeZone',
      'lc_messages',
      'data_directory',
    ];
    const rows = await sql`SELECT name, setting FROM pg_settings WHERE name IN ${sql(names)}`;
    expect(Object.fromEntries(rows.map((row) => [row.name, row.setting]))).toEqual({
      server_encoding: 'UTF8',
      fsync: 'on',
      full_page_writes: 'on',
      synchronous_commit: 'on',
      data_checksums: 'on',
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      TimeZone: 'UTC',
      lc_messages: 'C',
      data_directory: join(folder, '.longtail/pg18'),
    });
    const locale = await sql`SELECT datcollate, datctype FROM pg_database WHERE datname = current_database()`;
    expect(locale[0]).toEqual({ datcollate: 'C', datctype: 'C' });
  });
});

test('nobody but the owner learns the password, and none gets in without it', async () => {
  const { folder, options } = workplace();
  await using server = await startEmbedded(options());
  const url = new URL(server.url);
  // A refused sign-in and a failing statement are what the log would have to tell.
  const wrong = new URL(url);
  wrong.password = 'guess';
  await expect(withSql(wrong.href, (sql) => sql`SELECT 1`)).rejects.toThrow(/password authentication failed/);
  await withSql(server.url, async (sql) => {
    await expect(sql`SELECT no_such_column`).rejects.toThrow();
    const rules = await sql`SELECT DISTINCT auth_method FROM pg_hba_file_rules`;
    expect(rules.map((rule) => rule.auth_method)).toEqual(['scram-sha-256']);
  });

  expect(execFileSync('ps', ['axww', '-o', 'args'], { encoding: 'utf8' })).not.toContain(url.password);
  const files = readdirSync(join(folder, '.longtail'));
  expect(files).toEqual(expect.arrayContaining(['password', 'server.log', 'server.json', 'lock']));
  for (const name of files) {
    const { mode } = statSync(join(folder, '.longtail', name));
    if (name !== '.gitignore' && name !== 'control.sock') expect([name, mode & 0o077]).toEqual([name, 0]);
    if (/^server/.test(name)) {
      expect(readFileSync(join(folder, '.longtail', name), 'utf8')).not.toContain(url.password);
    }
  }
  expect(statSync(join(folder, '.longtail/password')).mode & 0o777).toBe(0o600);
  expect(statSync(join(folder, '.longtail/control.sock')).mode & 0o077).toBe(0);
});

test('data, password and port are the same at the next start', async () => {
  const { folder, options } = workplace();
  const first = await startEmbedded(options());
  await withSql(first.url, (sql) => sql`CREATE TABLE kept AS SELECT 7 AS number`);
  await first.close();
  await first.close();
  await nothingLeft(folder);
  await using second = await startEmbedded(options());
  expect(second.url).toBe(first.url);
  expect(await withSql(second.url, (sql) => sql`SELECT number FROM kept`)).toEqual([{ number: 7 }]);
});

test('close resolves when PostgreSQL and its supervisor are gone', async () => {
  const { folder, options } = workplace();
  const server = await startEmbedded(options());
  const { serverPid } = runningState(server.directory);
  await server.close();
  // The supervisor closes the connection with its end, so at most that end itself is still to be seen.
  expect(processesIn(folder).filter(({ pid }) => pid === serverPid)).toEqual([]);
  await nothingLeft(folder);
  expect(readdirSync(server.directory)).not.toContain('control.sock');
});

test('a second one joins; the last to leave stops the server', async () => {
  const { folder, options, client } = workplace();
  const first = client(options());
  const { url } = await first.next();
  const second = await startEmbedded(options());
  const third = client(options());
  expect(second.url).toBe(url);
  expect((await third.next()).url).toBe(url);

  await first.close();
  await third.close();
  const at = await startTime(second.url);
  const fourth = await startEmbedded(options());
  await second.close();
  expect(await startTime(fourth.url)).toBe(at);
  await fourth.close();
  await nothingLeft(folder);
});

test('commands that start at the same instant share one server, on a fresh and on an old directory', {
  tags: ['long'],
}, async () => {
  const { folder, options, client } = workplace();
  for (let round = 0; round < 2; round += 1) {
    const clients = [1, 2, 3, 4].map(() => client(options()));
    const urls = await Promise.all(clients.map(async (each) => (await each.next()).url));
    expect(new Set(urls).size).toBe(1);
    expect(new Set(await Promise.all(urls.map(startTime))).size).toBe(1);
    expect(processesIn(folder).filter(({ what }) => /postgres -D/.test(what))).toHaveLength(1);
    await Promise.all(clients.map((each) => each.close()));
    await nothingLeft(folder);
  }
});

test('one that starts while the last one leaves gets a server of its own', { tags: ['long'] }, async () => {
  const { options } = workplace();
  for (let round = 0; round < 5; round += 1) {
    const leaving = await startEmbedded(options());
    const [, next] = await Promise.all([leaving.close(), startEmbedded(options())]);
    expect(await withSql(next.url, (sql) => sql`SELECT 1 AS one`)).toEqual([{ one: 1 }]);
    await next.close();
  }
});

test('a Ctrl-C reaches the whole process group, and not the server', async () => {
  const { folder, options, client } = workplace();
  const program = client(options());
  const { url } = await program.next();
  const { pid } = program.child;
  if (pid === undefined) throw new Error('it runs');
  await withSql(url, async (sql) => {
    await sql`CREATE TABLE written (id int)`;
    process.kill(-pid, 'SIGINT');
    expect((await program.next()).kind).toBe('interrupted');
    // The halt under way finishes its writes on the connection that it has.
    await sql`INSERT INTO written VALUES (1)`;
    expect(await sql`SELECT id FROM written`).toEqual([{ id: 1 }]);
  });
  await program.close();
  await nothingLeft(folder);
});

test('a program that never closes it can end, and the server with it', async () => {
  const { folder, options, client } = workplace();
  const program = client(options());
  await program.next();
  const exited = new Promise((resolve) => program.child.once('exit', resolve));
  // Its standard input, which keeps it alive, goes without an end being read.
  program.child.kill('SIGTERM');
  await exited;
  await nothingLeft(folder);
});
