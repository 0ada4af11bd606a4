// @module-tag long
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { startEmbedded } from '../../src/embedded-postgres/embedded.ts';
import {
  appears,
  killHard,
  nothingLeft,
  processesIn,
  runningState,
  useWorkplace,
  withSql,
} from '../support/embedded.ts';

const workplace = useWorkplace();

const numbers = (url: string | undefined) =>
  withSql(url, async (sql) => (await sql`SELECT number FROM kept ORDER BY number`).map((row) => row.number));

/** Whether a set-up is under way: its folder is there. */
const settingUp = (directory: string) =>
  existsSync(directory) && readdirSync(directory).some((entry) => entry.startsWith('making-'));

test('the server goes when its client is killed, and keeps what was committed', async () => {
  const { folder, options, client } = workplace();
  const program = client(options());
  const { url } = await program.next();
  await withSql(url, (sql) => sql`CREATE TABLE kept AS SELECT 1 AS number`);
  await program.kill();
  await nothingLeft(folder);
  await using server = await startEmbedded(options());
  expect(await numbers(server.url)).toEqual([1]);
});

test('everything is killed at once: the next start recovers', async () => {
  const { folder, options, client } = workplace();
  const program = client(options());
  const { url } = await program.next();
  await withSql(url, (sql) => sql`CREATE TABLE kept AS SELECT 1 AS number`);
  const { serverPid, supervisorPid } = runningState(options().directory);
  for (const pid of [supervisorPid, serverPid]) killHard(pid);
  await program.kill();
  // At once, while processes of the old server may still be ending.
  await using server = await startEmbedded(options());
  expect(server.url).toBe(url);
  expect(await numbers(server.url)).toEqual([1]);
  const log = readFileSync(join(folder, '.longtail/server.log'), 'utf8');
  expect(log).toContain('database system was not properly shut down');
});

test('a server that outlived its supervisor and its clients is ended by the next start', async () => {
  const { options, client } = workplace();
  const program = client(options());
  const { url } = await program.next();
  await withSql(url, (sql) => sql`CREATE TABLE kept AS SELECT 1 AS number`);
  const { serverPid, supervisorPid } = runningState(options().directory);
  // Stopped first, so that it cannot answer its supervisor's death.
  program.child.kill('SIGSTOP');
  killHard(supervisorPid);
  await program.kill();
  await using server = await startEmbedded(options());
  expect(runningState(options().directory).serverPid).not.toBe(serverPid);
  expect(await numbers(server.url)).toEqual([1]);
});

test('a process id that came again in a stale postmaster.pid is no obstacle', async () => {
  const { options } = workplace();
  const first = await startEmbedded(options());
  await first.close();
  const stranger = spawn('sleep', ['60'], { stdio: 'ignore' });
  try {
    const data = join(first.directory, 'pg18');
    const pidFile = join(data, 'postmaster.pid');
    writeFileSync(pidFile, `${stranger.pid}\n${data}\n1700000000\n5432\n\n127.0.0.1\n 1 1\nready\n`);
    await using server = await startEmbedded(options());
    expect(await withSql(server.url, (sql) => sql`SELECT 1 AS one`)).toEqual([{ one: 1 }]);
  } finally {
    stranger.kill('SIGKILL');
  }
});

test('a supervisor that is killed is replaced: the client finds its server at the old address', async () => {
  const { folder, options } = workplace();
  const log = vi.fn();
  const server = await startEmbedded({ ...options(), log });
  const before = runningState(server.directory);
  await withSql(server.url, (sql) => sql`CREATE TABLE kept AS SELECT 1 AS number`);
  killHard(before.supervisorPid);
  await expect
    .poll(() => runningState(server.directory).serverPid, { timeout: 15_000 })
    .not.toBe(before.serverPid);
  await expect.poll(() => numbers(server.url).catch(String), { timeout: 15_000 }).toEqual([1]);
  expect(log).toHaveBeenCalledWith(expect.stringContaining('supervisor has died'));
  await server.close();
  await nothingLeft(folder);
});

test('PostgreSQL itself is killed: it comes back at the old address', async () => {
  const { folder, options } = workplace();
  const server = await startEmbedded(options());
  const before = runningState(server.directory);
  await withSql(server.url, (sql) => sql`CREATE TABLE kept AS SELECT 1 AS number`);
  killHard(before.serverPid);
  await expect
    .poll(() => runningState(server.directory).serverPid, { timeout: 15_000 })
    .not.toBe(before.serverPid);
  await expect.poll(() => numbers(server.url).catch(String), { timeout: 15_000 }).toEqual([1]);
  expect(runningState(server.directory).supervisorPid).toBe(before.supervisorPid);
  await server.close();
  await nothingLeft(folder);
});

test('a supervisor told to end does so, and no client brings it back', async () => {
  const { folder, options } = workplace();
  const log = vi.fn();
  const server = await startEmbedded({ ...options(), log });
  process.kill(runningState(server.directory).supervisorPid, 'SIGTERM');
  await nothingLeft(folder);
  await expect.poll(() => log.mock.calls.flat().join()).toContain('stopped from outside');
  await server.close();
  await nothingLeft(folder);
});

test('a set-up that was killed half way is begun anew', async () => {
  const { folder, options, client } = workplace();
  const { directory } = options();
  const program = client(options());
  await appears(() => settingUp(directory));
  killHard(runningState(directory).supervisorPid);
  await program.kill();
  for (const { pid } of processesIn(folder)) killHard(pid);
  expect(existsSync(join(directory, 'pg18'))).toBe(false);
  await using server = await startEmbedded(options());
  expect(await withSql(server.url, (sql) => sql`SELECT 1 AS one`)).toEqual([{ one: 1 }]);
  expect(settingUp(directory)).toBe(false);
});

test('a client killed during the set-up leaves nothing running', async () => {
  const { folder, options, client } = workplace();
  const program = client(options());
  await appears(() => settingUp(options().directory));
  await program.kill();
  await nothingLeft(folder);
  await using server = await startEmbedded(options());
  expect(await withSql(server.url, (sql) => sql`SELECT 1 AS one`)).toEqual([{ one: 1 }]);
});

test('a lost password file costs the password, not the data', async () => {
  const { options } = workplace();
  const first = await startEmbedded(options());
  await withSql(first.url, (sql) => sql`CREATE TABLE kept AS SELECT 1 AS number`);
  await first.close();
  rmSync(join(first.directory, 'password'));
  await using second = await startEmbedded(options());
  expect(second.url).not.toBe(first.url);
  expect(await numbers(second.url)).toEqual([1]);
  await expect(numbers(first.url)).rejects.toThrow(/password authentication failed/);
  const { password } = new URL(second.url);
  expect(readFileSync(join(second.directory, 'server.log'), 'utf8')).not.toContain(password);
});

test('a state file that makes no sense is no obstacle', async () => {
  const { options } = workplace();
  const first = await startEmbedded(options());
  await first.close();
  for (const text of [
    '',
    '{',
    '{"supervisorPid": "x"}',
    '{"supervisorPid": 1, "controlPath": "/nowhere/control.sock"}',
  ]) {
    writeFileSync(join(first.directory, 'server.json'), text);
    const server = await startEmbedded(options());
    await server.close();
  }
});
