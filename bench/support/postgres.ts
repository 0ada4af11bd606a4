/** The embedded PostgreSQL that users get, in a temporary folder. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import postgres from 'postgres';
import { startEmbedded } from '../../src/embedded-postgres/embedded.ts';

export interface BenchServer extends AsyncDisposable {
  /** `PostgreSQL 18.4` */
  readonly version: string;
  /** Creates an empty database. Everything that was written before is flushed to disk first. */
  database(): Promise<string>;
  drop(url: string): Promise<void>;
  /**
   * CPU time of all its processes since it started, user and system; null if the system does not report it. First waits for
   * the end of the processes that serve clients, because one that ends during the count would be missed.
   */
  cpuMs(): Promise<number | null>;
}

/** A server that is already running on this machine. Its user must be allowed to create databases. */
export async function useServer(url: string): Promise<BenchServer> {
  const { endAdmin, ...server } = await administer(url);
  return { ...server, [Symbol.asyncDispose]: endAdmin };
}

export async function startServer(): Promise<BenchServer> {
  const folder = await mkdtemp(join(tmpdir(), 'longtail-bench-'));
  // If root runs this, another account runs the server.
  await chmod(folder, 0o755);
  const server = await startEmbedded({
    directory: join(folder, 'data'),
    sharedDirectory: join(folder, 'shared'),
  });
  const { endAdmin, ...rest } = await administer(server.url);
  return {
    ...rest,
    async [Symbol.asyncDispose]() {
      await endAdmin();
      await server.close();
      await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
    },
  };
}

async function administer(serverUrl: string) {
  const admin = postgres(serverUrl, { max: 1, onnotice: () => undefined });
  const [facts] = await admin<{ pid: number; version: string }[]>`
    select pg_backend_pid() as pid, current_setting('server_version') as version`;
  const postmaster = facts === undefined ? undefined : readStat(facts.pid)?.parent;
  let count = 0;
  return {
    version: `PostgreSQL ${facts?.version ?? ''}`,
    async database(): Promise<string> {
      count += 1;
      const name = `bench_${process.pid}_${count}`;
      await admin.unsafe(`create database ${name}`);
      await admin.unsafe('checkpoint');
      const url = new URL(serverUrl);
      url.pathname = `/${name}`;
      return url.href;
    },
    async drop(url: string): Promise<void> {
      const name = new URL(url).pathname.slice(1);
      if (!/^bench_\d+_\d+$/.test(name)) throw new Error(`${name} is no database of the bench`);
      await admin.unsafe(`drop database ${name} with (force)`);
    },
    async cpuMs(): Promise<number | null> {
      if (postmaster === undefined) return null;
      for (let turn = 0; turn < 100; turn += 1) {
        const [others] = await admin<{ count: number }[]>`
          select count(*)::int as count from pg_stat_activity
          where backend_type = 'client backend' and pid <> pg_backend_pid()`;
        if (others?.count === 0) break;
        await pause(20);
      }
      await pause(100);
      return serverCpuMs(postmaster);
    },
    endAdmin: () => admin.end({ timeout: 1 }),
  };
}

/** Does the work on a new database, which is dropped afterwards. */
export async function withDatabase<T>(server: BenchServer, work: (url: string) => Promise<T>): Promise<T> {
  const url = await server.database();
  try {
    return await work(url);
  } finally {
    await server.drop(url);
  }
}

const TICK_MS = 10;

interface Stat {
  readonly parent: number;
  /** CPU time of the process and of its children that have ended. */
  readonly cpuMs: number;
}

/** Only Linux reports it. A backend that has ended is counted with its parent. */
function serverCpuMs(postmaster: number): number | null {
  const own = readStat(postmaster);
  if (own === undefined) return null;
  let total = own.cpuMs;
  for (const name of readdirSync('/proc')) {
    const stat = /^\d+$/.test(name) ? readStat(Number(name)) : undefined;
    if (stat?.parent === postmaster) total += stat.cpuMs;
  }
  return total;
}

function readStat(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name, in parentheses, may contain anything.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const ticks = fields.slice(11, 15).reduce((total, field) => total + Number(field), 0);
    return { parent: Number(fields[1]), cpuMs: ticks * TICK_MS };
  } catch {
    return undefined;
  }
}

/** Whether `psql` is installed, to compare with. */
export function findPsql(): string | undefined {
  try {
    return execFileSync('psql', ['--version'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return undefined;
  }
}
