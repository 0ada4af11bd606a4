import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Sql } from 'postgres';
import { afterEach, beforeEach, expect } from 'vitest';
import { openSql } from './sql.ts';

const root = process.getuid?.() === 0;
const here = fileURLToPath(new URL('.', import.meta.url));

/** What `embedded-client.ts` says. */
export interface ClientMessage {
  readonly kind: 'ready' | 'interrupted' | 'closed' | 'failed';
  readonly url?: string;
  readonly code?: string;
  readonly message?: string;
  readonly nextStep?: string;
}

/** A program of its own that uses the embedded server. */
export interface EmbeddedClient {
  readonly child: ChildProcess;
  /** The next thing it says; rejects when it ends instead. */
  next(): Promise<ClientMessage>;
  /** Lets it close the server, and waits for its end. */
  close(): Promise<void>;
  /** kill -9. */
  kill(): Promise<void>;
}

/** A folder for one test and what runs in it. */
export interface Workplace {
  /** Passable for the account that runs PostgreSQL for root. */
  readonly folder: string;
  /** For `startEmbedded`: everything inside the folder, nothing synced to the disk. */
  options(directory?: string): { directory: string; sharedDirectory: string; sync: false };
  /** Starts `embedded-client.ts`, out of another checkout when one is given, in a process group of its own. */
  client(options: object, checkout?: string): EmbeddedClient;
}

/**
 * Gives every test of a file a folder of its own. Afterwards no process of it may be left; that is expected, and then
 * made sure of.
 */
export function useWorkplace(): () => Workplace {
  let folder = '';
  let clients: ChildProcess[] = [];
  beforeEach(async () => {
    folder = await realpath(await mkdtemp(join(tmpdir(), 'longtail-embedded-')));
    if (root) await chmod(folder, 0o755);
    clients = [];
  });
  afterEach(async () => {
    for (const child of clients) child.kill('SIGKILL');
    try {
      await nothingLeft(folder);
    } finally {
      for (let attempt = 0; attempt < 100 && processesIn(folder).length > 0; attempt += 1) {
        for (const { pid } of processesIn(folder)) killHard(pid);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await rm(folder, { recursive: true, force: true });
    }
  });
  return () => ({
    folder,
    options: (directory = join(folder, '.longtail')) => ({
      directory,
      sharedDirectory: join(folder, 'shared'),
      sync: false,
    }),
    client: (options, checkout = join(here, '../..')) => {
      const child = spawn(
        process.execPath,
        [join(checkout, 'test/support/embedded-client.ts'), JSON.stringify(options)],
        { cwd: folder, detached: true, stdio: ['pipe', 'pipe', 'inherit'] },
      );
      clients.push(child);
      return embeddedClient(child);
    },
  });
}

function embeddedClient(child: ChildProcess): EmbeddedClient {
  if (child.stdout === null || child.stdin === null) throw new Error('spawned without pipes');
  const { stdin } = child;
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  return {
    child,
    async next() {
      const line = await lines.next();
      if (line.done) throw new Error('the client ended without a word');
      return JSON.parse(line.value);
    },
    async close() {
      stdin.end();
      await exited;
    },
    async kill() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

export interface FoundProcess {
  readonly pid: number;
  readonly what: string;
}

/** Every living process that works in the folder or names it: supervisors, PostgreSQL and its children, clients. */
export function processesIn(folder: string): FoundProcess[] {
  const found: FoundProcess[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) continue;
    const what = quietly(() => readFileSync(`/proc/${entry}/cmdline`, 'utf8')).replaceAll('\0', ' ');
    const cwd = quietly(() => readlinkSync(`/proc/${entry}/cwd`));
    // One that has ended and is not yet reaped has neither.
    if (what.includes(folder) || cwd.startsWith(folder)) found.push({ pid: Number(entry), what });
  }
  return found;
}

function quietly(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}

/** Waits until no process of the folder is left. */
export async function nothingLeft(folder: string): Promise<void> {
  await expect.poll(() => processesIn(folder), { timeout: 15_000, interval: 20 }).toEqual([]);
}

/** kill -9, for a process that may be gone already. */
export function killHard(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone.
  }
}

/** The process ids in `server.json`. */
export function runningState(directory: string): { supervisorPid: number; serverPid: number; port: number } {
  return JSON.parse(readFileSync(join(directory, 'server.json'), 'utf8'));
}

/** Waits until a file or folder is there. */
export async function appears(find: () => boolean | string): Promise<void> {
  await expect
    .poll(() => (typeof find() === 'string' ? existsSync(String(find())) : find()), {
      timeout: 30_000,
      interval: 5,
    })
    .toBe(true);
}

/** Runs `work` with a connection of its own. */
export async function withSql<T>(url: string | undefined, work: (sql: Sql) => Promise<T>): Promise<T> {
  if (url === undefined) throw new Error('no URL');
  const sql = openSql(url);
  try {
    return await work(sql);
  } finally {
    await sql.end({ timeout: 1 });
  }
}
