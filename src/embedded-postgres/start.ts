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
/** How long processes of a killed server may still be ending. */
const STILL_IN_USE_ATTEMPTS = 200;
/** How often another port is tried when somebody takes the one we found free. */
const PORT_ATTEMPTS = 20;
/** How long a server that nobody owns any more may take to write out what it has. */
const ORPHAN_FAST_ATTEMPTS = 600;
const ORPHAN_KILLED_ATTEMPTS = 100;

export interface ReliableStart {
  /** Taken when it is free, so that what people have written down goes on being true. */
  readonly preferredPort?: number;
  readonly settings?: Readonly<Record<string, string>>;
  readonly log: (line: string) => void;
  readonly clock: Clock;
}

/** Starts PostgreSQL on a free port, whatever an unclean end has left behind. Only under the lock. */
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
      throw embeddedError(`The embedded PostgreSQL did not start: ${result.reason}`, 'Mend what it says.');
    }
  }
}

/**
 * Ends a server that outlived its supervisor, and clears a `postmaster.pid` whose process id now belongs to another
 * program: PostgreSQL would take that one for a server and refuse to start.
 */
export async function endOrphan(cluster: Cluster, clock: Clock, log: (line: string) => void): Promise<void> {
  const { dataDirectory, home = dirname(dataDirectory) } = cluster;
  const pidFile = join(home, basename(dataDirectory), 'postmaster.pid');
  const text = readPlain(pidFile);
  const pid = Number.parseInt(text ?? '', 10);
  if (!Number.isInteger(pid) || pid <= 1) {
    // Cut short by a full disk, or no file of PostgreSQL's at all: it would refuse to start.
    if (text !== undefined) await rm(pidFile, { force: true });
    return;
  }
  if (!(await isServerOf(cluster, pid))) {
    // A server that is really there would still be seen by its shared memory, whose key is the directory's.
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
    `A PostgreSQL still runs on ${cluster.dataDirectory} (process ${pid}) and does not end.`,
    `End it: kill -9 ${pid}.`,
  );
}

/**
 * Whether the process is a PostgreSQL on this data directory; false for one that has ended but is not yet reaped. A file
 * may name any process, and a stranger's command line may name our folder (`less …/pg18/postgresql.conf`): so it has to
 * run that program, as that user, on exactly that directory.
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
    // No such process, or not one that we may know of.
    return false;
  }
}

/** PostgreSQL works in its data directory. Where that may not be seen, the rest has to do. */
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
    // It ended in between.
  }
}
