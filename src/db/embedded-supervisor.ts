/**
 * The process that owns the embedded PostgreSQL of one directory. It runs detached, in a session of its own, so that no
 * Ctrl-C reaches it; PostgreSQL is its child.
 *
 *   waiting for the lock ─► preparing ─► running ─► stopping ─► gone
 *            │                  │           ▲ │
 *            ▼                  ▼           └─┘ PostgreSQL died: started again, a bounded number of times
 *          gone              failed ─► gone
 *
 * It lives for its holders: the command that started it (its standard input) and every client connected to its control
 * socket. The system takes them away when they die. When none is left it stops PostgreSQL and ends.
 */
import { randomBytes } from 'node:crypto';
import { chown, stat } from 'node:fs/promises';
import { systemClock } from '../domain/clock.ts';
import { LongtailError } from '../errors.ts';
import { runsAsRoot } from './embedded-account.ts';
import { findNativePackage, usableBinaries } from './embedded-binaries.ts';
import { type Clients, openClients, removeSocket } from './embedded-clients.ts';
import {
  type Cluster,
  createCluster,
  type Postmaster,
  runSingleUser,
  SERVER_USER,
} from './embedded-cluster.ts';
import { embeddedError } from './embedded-error.ts';
import {
  dropUnfinished,
  type EmbeddedFiles,
  embeddedFiles,
  findDataHome,
  readIfThere,
  readState,
  type ServerState,
  writePrivate,
} from './embedded-files.ts';
import { holdLock } from './embedded-lock.ts';
import { boundedLog } from './embedded-log.ts';
import { endOrphan, startReliably } from './embedded-start.ts';
import { within } from './embedded-wait.ts';

/** What `startEmbedded` hands over, as JSON in the first argument. Everybody can read it there: no secrets. */
export interface SupervisorOptions {
  readonly directory: string;
  readonly sharedDirectory: string;
  /** False only for tests, whose data is thrown away. */
  readonly sync: boolean;
}

type Log = (line: string) => void;

/** How often PostgreSQL is started again when it dies under its clients. */
const MAX_DEATHS = 5;
/** A checkpoint on a slow disk takes long; what it does not finish is done again at the next start. */
const FAST_STOP_MS = 60_000;
const IMMEDIATE_STOP_MS = 10_000;
/** How long those who wait for a server that failed may take to hear of it. */
const FAREWELL_MS = 10_000;

async function supervise(options: SupervisorOptions): Promise<void> {
  const files = await embeddedFiles(options.directory);
  let starterGone = false;
  process.stdin.once('close', () => {
    starterGone = true;
  });
  process.stdin.resume();
  if (!(await holdLock(files.lock, systemClock, () => starterGone))) return;

  const log = boundedLog(files.log);
  const before = await readState(files);
  if (before?.controlPath !== undefined) await removeSocket(before.controlPath);
  const clients = await openClients(files.directory, process.stdin, starterGone);
  if (runsAsRoot()) await giveToOwner(files, [files.lock, clients.controlPath]);
  const state: ServerState = {
    ...portOf(before),
    supervisorPid: process.pid,
    controlPath: clients.controlPath,
  };
  await writeState(files, state);
  try {
    const cluster = await prepare(files, options, clients, log);
    await run(cluster, files, state, clients, log);
  } catch (error) {
    const { message, nextStep } = asLongtailError(error);
    log(`longtail: ${message}`);
    clients.tell({ kind: 'failed', message, nextStep });
    await within(systemClock, FAREWELL_MS, clients.gone);
  } finally {
    await writeState(files, { ...portOf(await readState(files)), supervisorPid: process.pid });
    await clients.close();
  }
}

/** Everything up to the point where the data directory is there, ours, and of this version. */
async function prepare(
  files: EmbeddedFiles,
  options: SupervisorOptions,
  clients: Clients,
  log: Log,
): Promise<Cluster> {
  const found = await findNativePackage();
  const { home, dataDirectory, account, exists } = await findDataHome(
    files,
    options.sharedDirectory,
    found.major,
  );
  await dropUnfinished(home);
  const binaries = await usableBinaries(found, account, async () => home);
  const cluster: Cluster = { binaries, account, dataDirectory };
  const known = (await readIfThere(files.password)) !== undefined;
  const fresh = randomBytes(32).toString('base64url');
  if (!exists) {
    clients.tell({ kind: 'note', text: `Setting up PostgreSQL ${found.major} in ${dataDirectory}.` });
    // The password first: data whose password is known to nobody would have to be opened by force.
    if (!known) await writePrivate(files, files.password, fresh);
    const password = (await readIfThere(files.password)) ?? fresh;
    await createCluster(cluster, { password, sync: options.sync });
  } else if (!known) {
    log('longtail: the password file is missing; the data gets a new password');
    await endOrphan(cluster, systemClock, log);
    await runSingleUser(cluster, 'postgres', [`ALTER ROLE ${SERVER_USER} PASSWORD '${fresh}'`]);
    await writePrivate(files, files.password, fresh);
  }
  return cluster;
}

/** Keeps PostgreSQL up until the last client is gone, or the system asks us to end. */
async function run(
  cluster: Cluster,
  files: EmbeddedFiles,
  state: ServerState,
  clients: Clients,
  log: Log,
): Promise<void> {
  let port = state.port;
  for (let deaths = 0; deaths <= MAX_DEATHS; deaths += 1) {
    const preferred = port === undefined ? {} : { preferredPort: port };
    const postmaster = await startReliably(cluster, { ...preferred, log, clock: systemClock });
    port = postmaster.port;
    const { dataDirectory } = cluster;
    await writeState(files, { ...state, port, serverPid: postmaster.pid, dataDirectory });
    clients.tell({ kind: 'ready', port });
    const end = await Promise.race([
      clients.gone.then(() => 'gone' as const),
      terminated.then(() => 'terminated' as const),
      postmaster.exited.then(() => 'died' as const),
    ]);
    if (end !== 'died') {
      await stop(postmaster);
      // Without this they would take us for crashed, and start another one.
      if (end === 'terminated') clients.tell({ kind: 'stopped' });
      return;
    }
    log('longtail: PostgreSQL ended by itself');
  }
  throw embeddedError(`The embedded PostgreSQL died ${MAX_DEATHS + 1} times.`, `Read ${files.log}.`);
}

async function stop(postmaster: Postmaster): Promise<void> {
  postmaster.signal('fast');
  if (await within(systemClock, FAST_STOP_MS, postmaster.exited)) return;
  postmaster.signal('immediate');
  if (await within(systemClock, IMMEDIATE_STOP_MS, postmaster.exited)) return;
  postmaster.signal('kill');
  await postmaster.exited;
}

function portOf(state: ServerState | undefined): { readonly port?: number } {
  return state?.port === undefined ? {} : { port: state.port };
}

function writeState(files: EmbeddedFiles, state: ServerState): Promise<void> {
  return writePrivate(files, files.state, `${JSON.stringify(state, null, 2)}\n`);
}

/** Root may be running in a user's directory: what it makes there stays usable for that user. */
async function giveToOwner(files: EmbeddedFiles, paths: readonly string[]): Promise<void> {
  const { uid, gid } = await stat(files.directory);
  for (const path of paths) await chown(path, uid, gid);
}

function asLongtailError(error: unknown): LongtailError {
  if (error instanceof LongtailError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return embeddedError(`The embedded PostgreSQL did not start: ${message}`, 'Mend what it says.', error);
}

// A Ctrl-C or a closed terminal is not ours to answer; SIGTERM is how a system shuts down.
process.on('SIGINT', () => undefined);
process.on('SIGHUP', () => undefined);
const terminated = new Promise<void>((resolve) => {
  process.on('SIGTERM', resolve);
});
process.umask(0o077);
await supervise(JSON.parse(process.argv[2] ?? '{}'));
process.exit();
