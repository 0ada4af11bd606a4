/**
 * The process that owns one PostgreSQL of the tests. It does what it is told over IPC, and when the test process is gone,
 * even by kill -9, it kills the server and removes the folder. It runs in a session of its own: no Ctrl-C reaches it.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serverAccount } from '../../src/embedded-postgres/account.ts';
import { findNativePackage, usableBinaries } from '../../src/embedded-postgres/binaries.ts';
import {
  type Cluster,
  createCluster,
  freePort,
  type Postmaster,
  startPostmaster,
} from '../../src/embedded-postgres/cluster.ts';

export type Command =
  | {
      readonly kind: 'create';
      readonly password: string;
      readonly settings: Readonly<Record<string, string>>;
    }
  | { readonly kind: 'start' }
  /** Ends the server: `fast` writes all out, `immediate` does not, `kill` is kill -9 of all its processes. */
  | { readonly kind: 'stop'; readonly how: 'fast' | 'immediate' | 'kill' }
  | { readonly kind: 'remove' };

export type Answer =
  | { readonly kind: 'done'; readonly port: number; readonly pid: number }
  | { readonly kind: 'failed'; readonly reason: string };

const folder = mkdtempSync(join(tmpdir(), 'longtail-test-pg-'));
// Where root runs the tests, another account runs the server.
chmodSync(folder, 0o755);
const dataDirectory = join(folder, 'data');
const lines: string[] = [];

let cluster: Cluster | undefined;
let settings: Readonly<Record<string, string>> = {};
let port = 0;
let postmaster: Postmaster | undefined;

async function obey(command: Command): Promise<void> {
  switch (command.kind) {
    case 'create': {
      const account = await serverAccount(dataDirectory);
      const binaries = await usableBinaries(await findNativePackage(), account, async () => folder);
      cluster = { binaries, account, dataDirectory };
      settings = command.settings;
      await createCluster(cluster, { password: command.password, sync: false });
      port = await freePort();
      return;
    }
    case 'start':
      return start();
    case 'stop':
      return stop(command.how);
    case 'remove':
      return remove();
  }
}

/** Nothing is fsynced: the data is thrown away. Everything else is as users have it. */
async function start(): Promise<void> {
  if (cluster === undefined) throw new Error('created first, then started');
  if (postmaster !== undefined) throw new Error('the server runs already');
  const withoutSync = { fsync: 'off', full_page_writes: 'off', ...settings };
  let reason = '';
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const result = await startPostmaster(cluster, { port, settings: withoutSync, log });
    if (result.kind === 'started') {
      postmaster = result.postmaster;
      return;
    }
    reason = result.reason;
    if (result.kind === 'failed') break;
    // After a kill -9 its children still hold the port and the shared memory for a moment.
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${reason}\n${lines.join('\n')}`);
}

async function stop(how: 'fast' | 'immediate' | 'kill'): Promise<void> {
  if (postmaster === undefined) return;
  // Its children would answer for some milliseconds more: killed means that all is gone.
  const children = how === 'kill' ? childrenOf(postmaster.pid) : [];
  postmaster.signal(how);
  await postmaster.exited;
  for (const pid of children) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended by itself.
    }
  }
  postmaster = undefined;
}

function childrenOf(parent: number): number[] {
  const pairs = execFileSync('ps', ['-Ao', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n');
  return pairs.flatMap((line) => {
    const [pid, ppid] = line.trim().split(/\s+/).map(Number);
    return pid !== undefined && ppid === parent ? [pid] : [];
  });
}

async function remove(): Promise<void> {
  const segment = sharedMemorySegment();
  postmaster?.signal('immediate');
  await postmaster?.exited;
  postmaster = undefined;
  if (segment !== undefined) {
    try {
      // A server that was killed leaves a few bytes of shared memory, which only a reboot or its next start would free.
      execFileSync('ipcrm', ['-m', segment], { stdio: 'ignore' });
    } catch {
      // Gone already, as after every orderly end.
    }
  }
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
}

/** The number of the segment: the second word of the seventh line of `postmaster.pid`. */
function sharedMemorySegment(): string | undefined {
  try {
    return readFileSync(join(dataDirectory, 'postmaster.pid'), 'utf8').split('\n')[6]?.trim().split(/\s+/)[1];
  } catch {
    return undefined;
  }
}

function log(line: string): void {
  if (lines.push(line) > 100) lines.shift();
}

function answer(message: Answer): void {
  if (process.connected) process.send?.(message);
}

let queue: Promise<void> = Promise.resolve();
process.on('message', (command: Command) => {
  queue = queue.then(async () => {
    try {
      await obey(command);
      answer({ kind: 'done', port, pid: postmaster?.pid ?? 0 });
    } catch (error) {
      answer({ kind: 'failed', reason: error instanceof Error ? error.message : String(error) });
    }
  });
});
process.on('disconnect', () => {
  queue = queue.then(remove).finally(() => process.exit());
});
