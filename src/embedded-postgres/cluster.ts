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

/** The superuser of the embedded server. Not `longtail`: a role's own schema is the first in its search path. */
export const SERVER_USER = 'postgres';
/** What it was called in earlier versions. */
export const FORMER_USER = 'longtail';
export const SERVER_DATABASE = 'longtail';

/** A PostgreSQL data directory, and who may run programs on it. */
export interface Cluster {
  readonly binaries: Binaries;
  readonly account: ServerAccount;
  readonly dataDirectory: string;
  /** The folder that holds it, as our own calls reach it. Default: that part of its path. */
  readonly home?: string;
}

export interface CreateOptions {
  readonly password: string;
  /** The superuser. Default: `longtail`, with its own schema first in its search path: the harder case, for tests. */
  readonly user?: string;
  /** False only where the data is thrown away: a power cut would leave it broken. */
  readonly sync: boolean;
}

/**
 * A companion that is loaded in bulk and asked now and then, and loses nothing it has confirmed: `fsync` stays on.
 * Nobody replicates from it, so WAL is minimal; checkpoints come rarely, so that a first load writes its pages once.
 */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  // TCP alone: the path of a socket may hold only about 100 bytes, and ours has the user's directory in it.
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
 * What PostgreSQL's programs get to see of our environment. Everything else stays out: a `PGOPTIONS` or `PGDATA` of the
 * user's would change what they do. `LC_ALL=C` because we read their messages.
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

/** Makes the data directory: UTF-8, byte order for texts, password sign-in alone. It appears whole or not at all. */
export async function createCluster(cluster: Cluster, options: CreateOptions): Promise<void> {
  const { account, dataDirectory } = cluster;
  const home = cluster.home ?? dirname(dataDirectory);
  const making = await mkdtemp(join(home, 'making-'));
  const data = join(making, 'data');
  const passwordFile = join(making, 'password');
  // The same, as the programs reach it.
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
        `The embedded PostgreSQL could not make its data directory ${dataDirectory}: ${lastWords(output)}`,
        'Mend what it says, then start again.',
      );
    }
    await runSingleUser({ ...cluster, dataDirectory: join(shown, 'data') }, 'postgres', [
      `CREATE DATABASE ${SERVER_DATABASE} TEMPLATE template0`,
    ]);
    await rename(data, join(home, basename(dataDirectory)));
  } finally {
    // Closed to the other account again, before we go through what it made.
    await chmod(making, 0o700);
    await rm(making, { recursive: true, force: true });
  }
}

/**
 * Runs statements on a data directory that no server runs on. Each ends with its line. They go in through standard
 * input, since arguments can be read by everybody on the machine, and are not repeated in an error's output.
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
  // It goes on after an error, and ends as if all was well.
  if (exitCode !== 0 || /^\S* ?\S* ?\S* ?\[\d+\] (ERROR|FATAL|PANIC):/m.test(errors)) {
    throw embeddedError(
      `The embedded PostgreSQL could not be set up: ${lastWords(errors)}`,
      'Mend what it says, then start again.',
    );
  }
  return output;
}

/** The cluster's superuser, under whatever name. No server runs on the data. */
export async function superuserOf(cluster: Cluster): Promise<string> {
  const output = await runSingleUser(cluster, 'postgres', ['SELECT rolname FROM pg_authid WHERE oid = 10']);
  const [, name] = /1: rolname = "(.*)"\t\(/.exec(output) ?? [];
  if (name === undefined) {
    throw embeddedError(
      `The superuser of the data in ${cluster.dataDirectory} cannot be found.`,
      'Put the data back from your backup, or move it away to begin anew.',
    );
  }
  return name;
}

/** Gives the superuser of earlier versions its new name, with its password and all that it owns. No server runs. */
export async function renameFormerUser(cluster: Cluster): Promise<void> {
  const helper = 'longtail_renames';
  await runSingleUser(cluster, 'postgres', [
    'BEGIN',
    // Nobody can rename the role that he is.
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
  /** Of the output, what came on standard error. Both mixed, a prompt may stand before it on its line. */
  readonly errors: string;
}

/** Runs a program to its end; where its user has no name, once more with one. */
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
  // Beside the data, or, where that lies on a file system without programs, in a temporary folder.
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
    // By a short name, as seen from its folder: the variable has no way to write a space.
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
    // It may end before it has read everything; its exit code says so.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

/** A running PostgreSQL. */
export interface Postmaster {
  readonly pid: number;
  readonly port: number;
  /** Resolves when the process is gone, however it went. */
  readonly exited: Promise<void>;
  /** `fast` ends sessions and writes all out; `immediate` leaves it to recovery at the next start; `kill` is kill -9. */
  signal(how: 'fast' | 'immediate' | 'kill'): void;
}

export interface StartOptions {
  readonly port: number;
  readonly settings?: Readonly<Record<string, string>>;
  /** Every line that the server writes. */
  readonly log: (line: string) => void;
}

/** A replica takes read-only ones. */
const READY = /database system is ready to accept (?:read-only )?connections/;
const SIGNALS = { fast: 'SIGINT', immediate: 'SIGQUIT', kill: 'SIGKILL' } as const;

/**
 * What a start came to. `portTaken` and `stillInUse` (processes of a server that was killed have not ended yet) pass
 * with another port, or a moment later.
 */
export type StartResult =
  | { readonly kind: 'started'; readonly postmaster: Postmaster }
  | { readonly kind: 'portTaken' | 'stillInUse' | 'failed'; readonly reason: string };

/** Starts PostgreSQL and waits until it takes connections. */
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
    // After a kill -9 its children hold the pipe a little longer, so this is not `close`.
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

/** The last line that says what went wrong, without the server's own prefix. */
function lastWords(output: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  const telling =
    lines.findLast((line) => /(FATAL|PANIC|ERROR|error):/.test(line)) ?? lines.at(-1) ?? 'it said nothing';
  return telling.replace(/^.*?(FATAL|PANIC|ERROR|error):\s*/, '').trim();
}

/** A port on loopback that nothing listened on a moment ago; `preferred` when it is such a one. */
export async function freePort(preferred?: number): Promise<number> {
  if (preferred !== undefined && (await tryListen(preferred)) !== undefined) return preferred;
  const port = await tryListen(0);
  if (port === undefined) throw embeddedError('No port is free on 127.0.0.1.', 'Close some programs.');
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
