import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import postgres, { type Sql } from 'postgres';
import { inject } from 'vitest';
import type { Answer, Command } from './postgres-process.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Of the server that all test files share, with the right to make databases. */
    readonly testServerUrl: string;
  }
}

/** A PostgreSQL of one's own, to kill, stop and start again. It keeps its port. */
export interface TestServer extends AsyncDisposable {
  /** Of the database `longtail`; the user may do everything. */
  readonly url: string;
  readonly port: number;
  /** The process id of the server's main process; 0 while it is stopped. */
  pid(): number;
  start(): Promise<void>;
  /** `fast` (the default) ends sessions and writes all out; `immediate` leaves it to recovery; `kill` is kill -9 of all its processes. */
  stop(how?: 'fast' | 'immediate' | 'kill'): Promise<void>;
  /** Stops it and removes its data. */
  close(): Promise<void>;
}

/** Starts a server on a fresh data directory. `settings` are PostgreSQL's own: `{ max_connections: '5' }`. */
export async function startTestServer(
  options: { readonly settings?: Readonly<Record<string, string>> } = {},
): Promise<TestServer> {
  const password = randomBytes(24).toString('base64url');
  // Detached: a Ctrl-C reaches every process of the terminal, and the folder must be removed all the same.
  const child = fork(new URL('./postgres-process.ts', import.meta.url), [], {
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    execArgv: [],
    env: { PATH: process.env.PATH, TMPDIR: process.env.TMPDIR },
  });
  let pid = 0;
  let port = 0;
  const order = async (command: Command): Promise<void> => {
    const done = await ask(child, command);
    ({ pid, port } = done);
  };
  const close = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    if (child.connected) child.disconnect();
    await exited;
  };
  try {
    await order({ kind: 'create', password, settings: options.settings ?? {} });
    await order({ kind: 'start' });
  } catch (error) {
    await close();
    throw error;
  }
  return {
    url: `postgres://longtail:${password}@127.0.0.1:${port}/longtail`,
    port,
    pid: () => pid,
    start: () => order({ kind: 'start' }),
    stop: (how = 'fast') => order({ kind: 'stop', how }),
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function ask(child: ChildProcess, command: Command): Promise<Answer & { kind: 'done' }> {
  const answer = await new Promise<Answer>((resolve, reject) => {
    const onExit = (): void => reject(new Error('the process that owns the test server is gone'));
    child.once('exit', onExit);
    child.once('message', (message) => {
      child.off('exit', onExit);
      // Only postgres-process.ts writes to this channel.
      resolve(message as Answer);
    });
    child.send(command, (error) => {
      if (error !== null) reject(error);
    });
  });
  if (answer.kind === 'failed')
    throw new Error(`The test server did not do ${command.kind}: ${answer.reason}`);
  return answer;
}

/** A database on the server that all test files share. */
export interface TestDatabase extends AsyncDisposable {
  readonly url: string;
  /** Ten connections at most. Notices are not printed. */
  readonly sql: Sql;
  /** Ends `sql` and drops the database, whoever is still connected to it. */
  close(): Promise<void>;
}

/** What {@link testDatabase} copies. `global-setup.ts` makes it once for all files. */
export const TEMPLATE = 'longtail_template';

/** A fresh UTF-8 database of one's own with Longtail's tables, all of them empty. */
export function testDatabase(): Promise<TestDatabase> {
  return createDatabase(TEMPLATE);
}

/** A fresh, empty UTF-8 database of one's own: for what makes the tables, or finds none. */
export function emptyDatabase(): Promise<TestDatabase> {
  return createDatabase('template0');
}

async function createDatabase(template: string): Promise<TestDatabase> {
  const server = inject('testServerUrl');
  const name = `test_${randomBytes(8).toString('hex')}`;
  // Files are copied: several times as fast as by way of the log.
  await onServer(
    server,
    (admin) =>
      admin`create database ${admin(name)} template ${admin(template)} encoding 'UTF8' strategy file_copy`,
  );
  const url = new URL(server);
  url.pathname = `/${name}`;
  const sql = postgres(url.href, { max: 10, onnotice: () => undefined });
  let closing: Promise<void> | undefined;
  const end = async (): Promise<void> => {
    await sql.end({ timeout: 1 });
    await onServer(server, (admin) => admin`drop database if exists ${admin(name)} with (force)`);
  };
  const close = (): Promise<void> => {
    closing ??= end();
    return closing;
  };
  return { url: url.href, sql, close, [Symbol.asyncDispose]: close };
}

let admin: Sql | undefined;

/** Tests that make databases come one after another: they share a session, which ends a moment after the last of them. */
async function onServer(url: string, work: (admin: Sql) => Promise<unknown>): Promise<void> {
  admin ??= postgres(url, { max: 2, idle_timeout: 2, fetch_types: false, onnotice: () => undefined });
  await work(admin);
}
