import { execFile } from 'node:child_process';
import { readFile, readlink, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Clock } from '../domain/clock.ts';
import { pause } from '../domain/wait.ts';
import { type Cluster, freePort, type Postmaster, startPostmaster } from './cluster.ts';
import { embeddedError } from './error.ts';
import { currentUser, readPlain } from './folder.ts';

const RETRY_MS = 50;
/** Attempts while processes of a killed server are still ending. */
const STILL_IN_USE_ATTEMPTS = 200;
/** Attempts with another port when a free one was taken in between. */
const PORT_ATTEMPTS = 20;
/** Attempts while an orphaned server shuts down and writes its data out. */
const ORPHAN_FAST_ATTEMPTS = 600;
const ORPHAN_KILLED_ATTEMPTS = 100;

export interface ReliableStart {
  /** Used if it is free, so that connection settings that people have saved stay valid. */
  readonly preferredPort?: number;
  readonly settings?: Readonly<Record<string, string>>;
  readonly log: (line: string) => void;
  readonly clock: Clock;
}

/** Starts PostgreSQL on a free port, even after a crash. Call it only while holding the lock. */
export async function startReliably(cluster: Cluster, options: ReliableStart): Promise<Postmaster> {
  const { clock, log, settings = {} } = options;
  await endOrphan(cluster, clock, log);
  let port = await freePort(options.preferredPort);
  let portAttempts = 0;
  let stillInUseAttempts = 0;
  for (;;) {
    const result = await startPostmaster(cluster, { port, settings, log });
    if (result.kind === 'started') return result.postmaster;
    if (result.kind === 'portTaken' && portAttempts < PORT_ATTEMPTS) {
      portAttempts += 1;
      port = await freePort();
    } else if (result.kind === 'stillInUse' && stillInUseAttempts < STILL_IN_USE_ATTEMPTS) {
      stillInUseAttempts += 1;
      await pause(clock, RETRY_MS);
    } else {
      throw embeddedError(
        `The embedded PostgreSQL did not start: ${result.reason}`,
        'Fix what the message names.',
      );
    }
  }
}

/**
 * Ends a server that outlived its supervisor, and deletes a `postmaster.pid` whose process id now belongs to another
 * program: PostgreSQL would take that program for a server and refuse to start.
 */
export async function endOrphan(cluster: Cluster, clock: Clock, log: (line: string) => void): Promise<void> {
  const { dataDirectory, home = dirname(dataDirectory) } = cluster;
  const pidFile = join(home, basename(dataDirectory), 'postmaster.pid');
  const text = readPlain(pidFile);
  const pid = Number.parseInt(text ?? '', 10);
  if (!Number.isInteger(pid) || pid <= 1) {
    // Cut short by a full disk, or not written by PostgreSQL: it would refuse to start.
    if (text !== undefined) await rm(pidFile, { force: true });
    return;
  }
  if (!(await isServerOf(cluster, pid))) {
    // PostgreSQL would still detect a running server by its shared memory, whose key is derived from the directory.
    await rm(pidFile, { force: true });
    return;
  }
  log(`longtail: ending a server that outlived its supervisor (process ${pid})`);
  for (const [signal, attempts] of [
    ['SIGINT', ORPHAN_FAST_ATTEMPTS],
    ['SIGKILL', ORPHAN_KILLED_ATTEMPTS],
  ] as const) {
    send(pid, signal);
    for (let attempt = 0; attempt < attempts; attempt += 1) {
      if (!(await isServerOf(cluster, pid))) return;
      await pause(clock, RETRY_MS);
    }
  }
  throw embeddedError(
    `A PostgreSQL is still running on ${cluster.dataDirectory} (process ${pid}) and does not stop.`,
    `End it: kill -9 ${pid}.`,
  );
}

/**
 * Whether the process is a PostgreSQL server on this data directory; false for a zombie. The file may name any process,
 * and another program's command line may contain the folder (`less …/pg18/postgresql.conf`). So it must run this program,
 * as this user, on exactly this directory.
 */
async function isServerOf(cluster: Cluster, pid: number): Promise<boolean> {
  const { account, dataDirectory } = cluster;
  const uid = 'uid' in account ? account.uid : currentUser().uid;
  try {
    if (process.platform !== 'linux') {
      const { stdout } = await promisify(execFile)('ps', ['-o', 'uid=,command=', '-p', String(pid)]);
      const [, owner, command] = /^\s*(\d+)\s+(.*)/s.exec(stdout) ?? [];
      return Number(owner) === uid && /postgres -D /.test(command ?? '') && stdout.includes(dataDirectory);
    }
    const [program = '', ...words] = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
    if (basename(program) !== 'postgres' || words[0] !== '-D' || words[1] !== dataDirectory) return false;
    return (await stat(`/proc/${pid}`)).uid === uid && (await worksIn(pid, dataDirectory));
  } catch {
    // The process does not exist or cannot be inspected.
    return false;
  }
}

/** PostgreSQL's working directory is its data directory. If that is not visible, the other checks must suffice. */
async function worksIn(pid: number, dataDirectory: string): Promise<boolean> {
  try {
    return (await readlink(`/proc/${pid}/cwd`)) === dataDirectory;
  } catch {
    return true;
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // The process ended in between.
  }
}
