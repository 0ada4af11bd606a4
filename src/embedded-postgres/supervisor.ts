/**
 * The process that owns the embedded PostgreSQL of one directory. It runs detached, in its own session, so that Ctrl-C
 * does not reach it. PostgreSQL is its child.
 *
 *   waiting for the lock ─► preparing ─► running ─► stopping ─► gone
 *            │                  │           ▲ │
 *            ▼                  ▼           └─┘ PostgreSQL died: restarted, a limited number of times
 *          gone              failed ─► gone
 *
 * It runs as long as it has holders: the command that started it (through its standard input) and every client connected
 * to its control socket. The system closes both when a process dies. When none is left, it stops PostgreSQL and ends.
 */
import { randomBytes } from 'node:crypto';
import { systemClock } from '../domain/clock.ts';
import { LongtailError } from '../domain/errors.ts';
import { within } from '../domain/wait.ts';
import { findNativePackage, usableBinaries } from './binaries.ts';
import { type Clients, openClients, removeFallback } from './clients.ts';
import {
  type Cluster,
  createCluster,
  FORMER_USER,
  type Postmaster,
  renameFormerUser,
  runSingleUser,
  SERVER_USER,
  superuserOf,
} from './cluster.ts';
import { embeddedError } from './error.ts';
import {
  dropUnfinished,
  FILES,
  findDataHome,
  isFallback,
  isRoleName,
  readPassword,
  readState,
  type ServerState,
  socketOf,
  writePrivate,
} from './files.ts';
import { checkContents, closeToOthers, currentFolder, type Folder } from './folder.ts';
import { holdLock } from './lock.ts';
import { boundedLog } from './log.ts';
import { endOrphan, startReliably } from './start.ts';

/**
 * Passed by `startEmbedded` as JSON in the first argument, which every user can read: no secrets. The folder itself is
 * passed as the working directory, which cannot be swapped on the way.
 */
export interface SupervisorOptions {
  /** Only shown in process lists. */
  readonly directory: string;
  readonly sharedDirectory: string;
  /** False only for tests, whose data is thrown away. */
  readonly sync: boolean;
}

type Log = (line: string) => void;

/** Maximum restarts when PostgreSQL dies while it has clients. */
const MAX_DEATHS = 5;
/** A checkpoint on a slow disk takes long. What it does not finish is repeated at the next start. */
const FAST_STOP_MS = 60_000;
const IMMEDIATE_STOP_MS = 10_000;
/** How long to wait until clients have heard that the server failed. */
const FAREWELL_MS = 10_000;

async function supervise(options: SupervisorOptions): Promise<void> {
  const folder = currentFolder();
  let starterGone = false;
  process.stdin.once('close', () => {
    starterGone = true;
  });
  process.stdin.resume();
  if (!(await holdLock(folder, FILES.lock, systemClock, () => starterGone))) return;

  checkContents(folder);
  closeToOthers(folder);
  const log = boundedLog(folder, FILES.log);
  const before = readState(folder);
  const stale = before === undefined ? undefined : socketOf(folder, before);
  if (stale !== undefined && isFallback(stale)) await removeFallback(stale);
  const clients = await openClients(folder, process.stdin, starterGone);
  const state: ServerState = {
    ...portOf(before),
    supervisorPid: process.pid,
    controlPath: clients.controlPath,
  };
  try {
    writeState(folder, state);
  } catch (error) {
    // Usually a full disk. Without this file, clients cannot find the server.
    await clients.close();
    throw error;
  }
  try {
    const { cluster, user } = await prepare(folder, options, before?.user, clients, log);
    await run(cluster, folder, { ...state, user }, clients, log);
  } catch (error) {
    const { message, nextStep } = asLongtailError(error);
    log(`longtail: ${message}`);
    clients.tell({ kind: 'failed', message, nextStep });
    await within(systemClock, FAREWELL_MS, clients.gone);
  } finally {
    try {
      const { port, user } = readState(folder) ?? {};
      writeState(folder, { ...portOf({ port }), ...(user && { user }), supervisorPid: process.pid });
    } catch (error) {
      log(`longtail: ${FILES.state} cannot be written: ${asLongtailError(error).message}`);
    }
    await clients.close();
  }
}

/** All steps until the data directory exists, belongs to us and has the right version. */
async function prepare(
  folder: Folder,
  options: SupervisorOptions,
  knownUser: string | undefined,
  clients: Clients,
  log: Log,
): Promise<{ readonly cluster: Cluster; readonly user: string }> {
  const found = await findNativePackage();
  const place = await findDataHome(folder, options.sharedDirectory, found.major);
  const { home, dataDirectory, account, exists } = place;
  await dropUnfinished(home);
  const binaries = await usableBinaries(found, account, async () => home);
  const cluster: Cluster = { binaries, account, dataDirectory, home };
  const known = readPassword(folder);
  const fresh = randomBytes(32).toString('base64url');
  if (!exists) {
    clients.tell({ kind: 'note', text: `Setting up PostgreSQL ${found.major} in ${dataDirectory}.` });
    // Write the password first: without it, existing data could only be opened by force.
    if (known === undefined) writePrivate(folder, FILES.password, fresh);
    await createCluster(cluster, { user: SERVER_USER, password: known ?? fresh, sync: options.sync });
    return { cluster, user: SERVER_USER };
  }
  if (known !== undefined && knownUser === SERVER_USER) return { cluster, user: SERVER_USER };

  await endOrphan(cluster, systemClock, log);
  const user = await settleUser(cluster, log);
  if (known === undefined) {
    log('longtail: the password file is missing; setting a new password');
    await runSingleUser(cluster, 'postgres', [`ALTER ROLE ${user} PASSWORD '${fresh}'`]);
    writePrivate(folder, FILES.password, fresh);
  }
  return { cluster, user };
}

/** The superuser's name. Renames that of earlier versions, unless another role has the new name. */
async function settleUser(cluster: Cluster, log: Log): Promise<string> {
  const user = await superuserOf(cluster);
  if (user === FORMER_USER) {
    try {
      await renameFormerUser(cluster);
      log(`longtail: renamed the role ${FORMER_USER} to ${SERVER_USER}`);
      return SERVER_USER;
    } catch (error) {
      log(`longtail: the role ${FORMER_USER} keeps its name: ${asLongtailError(error).message}`);
      return superuserOf(cluster);
    }
  }
  if (isRoleName(user)) return user;
  throw embeddedError(
    `The superuser of the data in ${cluster.dataDirectory} is called ${JSON.stringify(user)}.`,
    `Rename it to ${SERVER_USER}, or move the data away to start over.`,
  );
}

/** Keeps PostgreSQL running until the last client has gone or the system asks this process to end. */
async function run(
  cluster: Cluster,
  folder: Folder,
  state: ServerState & { readonly user: string },
  clients: Clients,
  log: Log,
): Promise<void> {
  let port = state.port;
  for (let deaths = 0; deaths <= MAX_DEATHS; deaths += 1) {
    const preferred = port === undefined ? {} : { preferredPort: port };
    const postmaster = await startReliably(cluster, { ...preferred, log, clock: systemClock });
    port = postmaster.port;
    const { dataDirectory } = cluster;
    writeState(folder, { ...state, port, serverPid: postmaster.pid, dataDirectory });
    clients.tell({ kind: 'ready', port, user: state.user });
    const end = await Promise.race([
      clients.gone.then(() => 'gone' as const),
      terminated.then(() => 'terminated' as const),
      postmaster.exited.then(() => 'died' as const),
    ]);
    if (end !== 'died') {
      await stop(postmaster);
      // Otherwise clients would take this for a crash and start another supervisor.
      if (end === 'terminated') clients.tell({ kind: 'stopped' });
      return;
    }
    log('longtail: PostgreSQL ended unexpectedly');
  }
  throw embeddedError(
    `The embedded PostgreSQL died ${MAX_DEATHS + 1} times.`,
    `Read ${folder.shown(FILES.log)}.`,
  );
}

async function stop(postmaster: Postmaster): Promise<void> {
  postmaster.signal('fast');
  if (await within(systemClock, FAST_STOP_MS, postmaster.exited)) return;
  postmaster.signal('immediate');
  if (await within(systemClock, IMMEDIATE_STOP_MS, postmaster.exited)) return;
  postmaster.signal('kill');
  await postmaster.exited;
}

function portOf(state: { readonly port?: number | undefined } | undefined): { readonly port?: number } {
  return state?.port === undefined ? {} : { port: state.port };
}

function writeState(folder: Folder, state: ServerState): void {
  writePrivate(folder, FILES.state, `${JSON.stringify(state, null, 2)}\n`);
}

function asLongtailError(error: unknown): LongtailError {
  if (error instanceof LongtailError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return embeddedError(
    `The embedded PostgreSQL did not start: ${message}`,
    'Fix what the message names.',
    error,
  );
}

// Ctrl-C and a closed terminal are not meant for this process. SIGTERM is how a system shuts down.
process.on('SIGINT', () => undefined);
process.on('SIGHUP', () => undefined);
const terminated = new Promise<void>((resolve) => {
  process.on('SIGTERM', resolve);
});
process.umask(0o077);
try {
  await supervise(JSON.parse(process.argv[2] ?? '{}'));
} catch (error) {
  // No client is connected yet. Standard error goes to the log, whose last error the starting command repeats.
  if (error instanceof Error && !(error instanceof LongtailError)) process.stderr.write(`${error.stack}\n`);
  process.stderr.write(`longtail: error: ${asLongtailError(error).message}\n`);
  process.exit(1);
}
process.exit();
