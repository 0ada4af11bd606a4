import { spawn } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import type { ServerAccount } from './account.ts';
import type { Binaries } from './binaries.ts';
import { embeddedError } from './error.ts';
import { currentUser, TEMPORARY_FOLDERS } from './folder.ts';
import { isNameless, namelessLibrary } from './nameless-user.ts';

/** The embedded server's superuser. Not `longtail`: a schema with the role's name would come first in its search path. */
export const SERVER_USER = 'postgres';
/** The superuser's name in earlier versions. */
export const FORMER_USER = 'longtail';
export const SERVER_DATABASE = 'longtail';

/** A PostgreSQL data directory, and the account that runs programs on it. */
export interface Cluster {
  readonly binaries: Binaries;
  readonly account: ServerAccount;
  readonly dataDirectory: string;
  /** The folder that contains it, as this process reaches it. @default the parent folder of `dataDirectory` */
  readonly home?: string;
}

export interface CreateOptions {
  readonly password: string;
  /** The superuser. Default: `longtail`, whose own schema comes first in its search path: the harder case, for tests. */
  readonly user?: string;
  /** False only for throw-away data: a power failure would corrupt it. */
  readonly sync: boolean;
}

/**
 * For a local server that is bulk-loaded, queried now and then, and loses nothing that it has confirmed: `fsync` stays on.
 * There are no replicas, so WAL is minimal. Checkpoints are rare, so that a first load writes each page once.
 */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  // TCP only: a socket's path is limited to about 100 bytes, and this one would include the user's directory.
  unix_socket_directories: '',
  max_connections: '50',
  shared_buffers: '128MB',
  maintenance_work_mem: '128MB',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_logical_replication_workers: '0',
  max_wal_size: '2GB',
  checkpoint_timeout: '15min',
  log_checkpoints: 'off',
  jit: 'off',
  autovacuum: 'on',
  lc_messages: 'C',
  timezone: 'UTC',
  log_timezone: 'UTC',
  logging_collector: 'off',
};

/**
 * The environment of PostgreSQL's programs. Nothing else is passed on: the user's `PGOPTIONS` or `PGDATA` would change
 * what they do. `LC_ALL=C` because Longtail parses their messages.
 */
function serverEnvironment(): NodeJS.ProcessEnv {
  const environment: NodeJS.ProcessEnv = {
    LC_ALL: 'C',
    TZ: 'UTC',
    PATH: process.env.PATH ?? '/usr/bin:/bin',
  };
  const libraries = process.env.LD_LIBRARY_PATH;
  return libraries === undefined ? environment : { ...environment, LD_LIBRARY_PATH: libraries };
}

/** Creates the data directory: UTF-8, text in byte order, sign-in by password only. It appears complete or not at all. */
export async function createCluster(cluster: Cluster, options: CreateOptions): Promise<void> {
  const { account, dataDirectory } = cluster;
  const home = cluster.home ?? dirname(dataDirectory);
  const making = await mkdtemp(join(home, 'making-'));
  const data = join(making, 'data');
  const passwordFile = join(making, 'password');
  // The same folder, as the programs reach it.
  const shown = join(dirname(dataDirectory), basename(making));
  try {
    await mkdir(data, { mode: 0o700 });
    await writeFile(passwordFile, options.password, { mode: 0o600 });
    if ('uid' in account) {
      for (const path of [data, passwordFile]) await chown(path, account.uid, account.gid);
      await chmod(making, 0o711);
    }
    const flags = ['--encoding=UTF8', '--locale=C', '--auth=scram-sha-256', '--no-instructions'];
    if (!options.sync) flags.push('--no-sync');
    const { exitCode, output } = await runProgram(cluster, cluster.binaries.initdb, [
      '-D',
      join(shown, 'data'),
      '-U',
      options.user ?? FORMER_USER,
      `--pwfile=${join(shown, 'password')}`,
      ...flags,
    ]);
    if (exitCode !== 0) {
      throw embeddedError(
        `The embedded PostgreSQL could not create its data directory ${dataDirectory}: ${lastWords(output)}`,
        'Fix what the message names, then start again.',
      );
    }
    await runSingleUser({ ...cluster, dataDirectory: join(shown, 'data') }, 'postgres', [
      `CREATE DATABASE ${SERVER_DATABASE} TEMPLATE template0`,
    ]);
    await rename(data, join(home, basename(dataDirectory)));
  } finally {
    // Close it to the other account before this process works in what that account created.
    await chmod(making, 0o700);
    await rm(making, { recursive: true, force: true });
  }
}

/**
 * Runs statements on a data directory without a running server. Each must end with its line. They are passed through
 * standard input, because every user of the machine can read arguments. Errors do not repeat them.
 */
export async function runSingleUser(
  cluster: Cluster,
  database: string,
  statements: readonly string[],
): Promise<string> {
  const { exitCode, output, errors } = await runProgram(
    cluster,
    cluster.binaries.postgres,
    [
      '--single',
      '-D',
      cluster.dataDirectory,
      '-c',
      'log_checkpoints=off',
      '-c',
      'log_min_error_statement=panic',
      database,
    ],
    statements.map((statement) => `${statement}\n`).join(''),
  );
  // Single-user mode continues after an error and ends with success.
  if (exitCode !== 0 || /^\S* ?\S* ?\S* ?\[\d+\] (ERROR|FATAL|PANIC):/m.test(errors)) {
    throw embeddedError(
      `The embedded PostgreSQL could not be set up: ${lastWords(errors)}`,
      'Fix what the message names, then start again.',
    );
  }
  return output;
}

/** The name of the cluster's superuser. No server may be running on the data. */
export async function superuserOf(cluster: Cluster): Promise<string> {
  const output = await runSingleUser(cluster, 'postgres', ['SELECT rolname FROM pg_authid WHERE oid = 10']);
  const [, name] = /1: rolname = "(.*)"\t\(/.exec(output) ?? [];
  if (name === undefined) {
    throw embeddedError(
      `The superuser of the data in ${cluster.dataDirectory} cannot be found.`,
      'Restore the data from your backup, or move it away to start over.',
    );
  }
  return name;
}

/** Renames the superuser of earlier versions; it keeps its password and everything that it owns. No server may be running. */
export async function renameFormerUser(cluster: Cluster): Promise<void> {
  const helper = 'longtail_renames';
  await runSingleUser(cluster, 'postgres', [
    'BEGIN',
    // A role cannot rename itself.
    `CREATE ROLE ${helper} SUPERUSER`,
    `SET SESSION AUTHORIZATION ${helper}`,
    `ALTER ROLE ${FORMER_USER} RENAME TO ${SERVER_USER}`,
    `SET SESSION AUTHORIZATION ${SERVER_USER}`,
    `DROP ROLE ${helper}`,
    'COMMIT',
  ]);
}

interface Ended {
  readonly exitCode: number | null;
  readonly output: string;
  /** The part of the output from standard error. In the mixed output, a prompt may precede an error on its line. */
  readonly errors: string;
}

/** Runs a program until it ends. If its user has no name, runs it once more with one. */
async function runProgram(
  cluster: Cluster,
  program: string,
  args: readonly string[],
  input = '',
): Promise<Ended> {
  const ended = await runOnce(cluster, program, args, input, {});
  if (ended.exitCode === 0 || !isNameless(ended.output)) return ended;
  const { account, dataDirectory } = cluster;
  const library = namelessLibrary(process.arch, 'uid' in account ? account : currentUser());
  if (library === undefined || process.platform !== 'linux') return ended;
  // Next to the data, or, if that file system does not allow programs, in a temporary folder.
  const home = cluster.home ?? dirname(dataDirectory);
  for (const prefix of [
    join(home, 'making-'),
    ...[tmpdir(), ...TEMPORARY_FOLDERS].map((folder) => join(folder, 'longtail-user-')),
  ]) {
    const named = await runNamed(cluster, program, args, input, prefix, library).catch(() => ended);
    if (!isNameless(named.output)) return named;
  }
  return ended;
}

async function runNamed(
  cluster: Cluster,
  program: string,
  args: readonly string[],
  input: string,
  prefix: string,
  library: Buffer,
): Promise<Ended> {
  const folder = await mkdtemp(prefix);
  try {
    await writeFile(join(folder, 'user.so'), library);
    await chmod(join(folder, 'user.so'), 0o644);
    await chmod(folder, 0o711);
    // By a short relative name: the variable cannot contain a space.
    return await runOnce(cluster, program, args, input, { folder: resolve(folder), library: './user.so' });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function runOnce(
  cluster: Cluster,
  program: string,
  args: readonly string[],
  input: string,
  preload: { readonly folder?: string; readonly library?: string },
): Promise<Ended> {
  return new Promise((done, reject) => {
    const child = spawn(program, args, {
      cwd: preload.folder ?? '/',
      env: { ...serverEnvironment(), ...(preload.library && { LD_PRELOAD: preload.library }) },
      stdio: ['pipe', 'pipe', 'pipe'],
      ...cluster.account,
    });
    let output = '';
    const take = (chunk: string): void => {
      output = (output + chunk).slice(-64_000);
    };
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      take(chunk);
      errors = (errors + chunk).slice(-64_000);
    });
    child.on('error', reject);
    child.on('close', (exitCode) => done({ exitCode, output, errors }));
    // The program may end before it has read everything. Its exit code reports that.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

/** A running PostgreSQL. */
export interface Postmaster {
  readonly pid: number;
  readonly port: number;
  /** Resolves when the process has ended, for whatever reason. */
  readonly exited: Promise<void>;
  /** `fast` ends sessions and writes everything out; `immediate` leaves that to recovery at the next start; `kill` is kill -9. */
  signal(how: 'fast' | 'immediate' | 'kill'): void;
}

export interface StartOptions {
  readonly port: number;
  readonly settings?: Readonly<Record<string, string>>;
  /** Called with every line that the server writes. */
  readonly log: (line: string) => void;
}

/** A standby accepts read-only connections. */
const READY = /database system is ready to accept (?:read-only )?connections/;
const SIGNALS = { fast: 'SIGINT', immediate: 'SIGQUIT', kill: 'SIGKILL' } as const;

/**
 * The result of a start. `portTaken` is solved by another port. `stillInUse` (processes of a killed server have not ended
 * yet) passes after a moment.
 */
export type StartResult =
  | { readonly kind: 'started'; readonly postmaster: Postmaster }
  | { readonly kind: 'portTaken' | 'stillInUse' | 'failed'; readonly reason: string };

/** Starts PostgreSQL and waits until it accepts connections. */
export function startPostmaster(cluster: Cluster, options: StartOptions): Promise<StartResult> {
  const settings = { ...SETTINGS, ...options.settings, port: String(options.port) };
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  return new Promise((resolve) => {
    const child = spawn(cluster.binaries.postgres, ['-D', cluster.dataDirectory, ...args], {
      cwd: '/',
      env: serverEnvironment(),
      stdio: ['ignore', 'ignore', 'pipe'],
      ...cluster.account,
    });
    const lines: string[] = [];
    let rest = '';
    let onExit: () => void = () => undefined;
    const exited = new Promise<void>((done) => {
      onExit = done;
    });
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      const parts = (rest + chunk).split('\n');
      rest = parts.pop() ?? '';
      for (const line of parts) {
        options.log(line);
        if (lines.push(line) > 50) lines.shift();
        const { pid } = child;
        if (pid !== undefined && READY.test(line)) {
          const signal: Postmaster['signal'] = (how) => child.kill(SIGNALS[how]);
          resolve({ kind: 'started', postmaster: { pid, port: options.port, exited, signal } });
        }
      }
    });
    child.on('error', (error) => {
      resolve({ kind: 'failed', reason: error.message });
      onExit();
    });
    // `exit`, not `close`: after a kill -9, its children hold the pipe open a little longer.
    child.on('exit', onExit);
    child.on('close', () => resolve(whyNotStarted(lines.join('\n'))));
  });
}

function whyNotStarted(output: string): StartResult {
  const reason = lastWords(output);
  if (/could not bind|could not create any TCP\/IP sockets/.test(output))
    return { kind: 'portTaken', reason };
  if (/pre-existing shared memory block/.test(output)) return { kind: 'stillInUse', reason };
  return { kind: 'failed', reason };
}

/** The last line that describes the error, without the server's prefix. */
function lastWords(output: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  const telling =
    lines.findLast((line) => /(FATAL|PANIC|ERROR|error):/.test(line)) ?? lines.at(-1) ?? 'it printed nothing';
  return telling.replace(/^.*?(FATAL|PANIC|ERROR|error):\s*/, '').trim();
}

/** A loopback port that was free a moment ago: `preferred` if possible. */
export async function freePort(preferred?: number): Promise<number> {
  if (preferred !== undefined && (await tryListen(preferred)) !== undefined) return preferred;
  const port = await tryListen(0);
  if (port === undefined) throw embeddedError('No port on 127.0.0.1 is free.', 'Close some programs.');
  return port;
}

function tryListen(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.on('error', () => resolve(undefined));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : undefined));
    });
  });
}
