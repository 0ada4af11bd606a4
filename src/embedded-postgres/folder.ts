/**
 * A folder that may lie in somebody else's: opened once, judged by its open descriptor, and from then on reached through
 * that alone. Whoever may rename the folders above it, or put links in their place, changes nothing of what we reach.
 */
import {
  chmodSync,
  closeSync,
  constants,
  type Dirent,
  fchmodSync,
  fchownSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  renameSync,
  rmdirSync,
  type Stats,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { mkdir, mkdtemp } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { embeddedError, systemCode } from './error.ts';

/** Whom the files belong to, and whose rights are used on them. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** An open folder of ours. */
export interface Folder {
  /** Without links: for messages, and for other programs. */
  readonly path: string;
  readonly owner: Owner;
  /** Where our own calls reach what is in it, or (without a name) itself. */
  at(name?: string): string;
  /** The name as people know it. */
  shown(name: string): string;
  /** Safe to call twice. Nothing is reached afterwards. */
  close(): void;
}

const { O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;

/** Where else to look for a temporary folder: `TMPDIR` may be closed to us, missing, or have a long path as well. */
export const TEMPORARY_FOLDERS: readonly string[] = ['/tmp', '/var/tmp', '/dev/shm'];

/** The largest file that is read: ours are short. */
const MAX_TEXT_BYTES = 64_000;
/** How often a file may come or go while it is being opened. */
const MOST_ATTEMPTS = 10;
const MOVE_AWAY = 'Look who made it, move it away, then start again.';

/** The user whose rights this process uses. */
export function currentUser(): Owner {
  return { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
}

/**
 * Opens the folder, and makes it where it is missing. It has to be ours, or when root was reached by `sudo`, of the one
 * who called it: everything in it is then done as that user.
 */
export async function openFolder(directory: string, ignored: string): Promise<Folder> {
  const user = currentUser();
  if (lstatIfThere(directory) === undefined) await makeFolder(directory, user, ignored);
  const path = withoutLink(directory, user);
  // Judged before it is opened, since another user's may be closed to us, and by the descriptor, since that is what is used.
  const owner = ownerOf(lstatSync(path), path, user);
  const file = openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    const found = fstatSync(file);
    if (ownerOf(found, path, user).uid !== owner.uid) throw new Error('it was replaced at this moment.');
    // What others may write to, they could have filled.
    if ((found.mode & 0o022) !== 0 && owner.uid === user.uid) fchmodSync(file, found.mode & 0o755);
  } catch (error) {
    closeSync(file);
    throw error;
  }
  return pinned(file, path, owner);
}

/** The working directory of this process, which the system keeps for it, as such a folder. */
export function currentFolder(): Folder {
  const path = process.cwd();
  const user = currentUser();
  const owner = ownerOf(statSync('.'), path, user);
  if (owner.uid !== user.uid) throw foreign(path, owner.uid, user);
  return {
    path,
    owner,
    at: (name = '.') => name,
    shown: (name) => join(path, name),
    close: () => undefined,
  };
}

function pinned(file: number, path: string, owner: Owner): Folder {
  let open = true;
  // Linux reaches a folder by its descriptor. Elsewhere there is only the path, as it was judged.
  const handle = `/proc/self/fd/${file}`;
  const base = process.platform === 'linux' && isSame(handle, fstatSync(file)) ? handle : path;
  return {
    path,
    owner,
    at(name = '') {
      if (!open) throw new Error(`${path} was closed before it was used`);
      return join(base, name);
    },
    shown: (name) => join(path, name),
    close() {
      if (!open) return;
      open = false;
      closeSync(file);
    },
  };
}

function isSame(path: string, { dev, ino }: Stats): boolean {
  try {
    const found = statSync(path);
    return found.dev === dev && found.ino === ino;
  } catch {
    // A container without /proc.
    return false;
  }
}

/** It appears with all that belongs to it: several commands may be making it at this instant. */
async function makeFolder(directory: string, user: Owner, ignored: string): Promise<void> {
  await mkdir(dirname(directory), { recursive: true });
  const making = await mkdtemp(`${directory}-`);
  const file = openSync(making, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    // Not by its path: who may write to the folder above may have put another one there.
    if (fstatSync(file).uid !== user.uid) throw foreign(making, fstatSync(file).uid, user);
    // Root's is passable, since another account runs PostgreSQL in it. It cannot be listed.
    fchmodSync(file, user.uid === 0 ? 0o711 : 0o700);
    const folder = pinned(file, making, user);
    closeSync(writeNew(folder.at('.gitignore'), 0o600, ignored));
    try {
      renameSync(making, directory);
    } catch (error) {
      unlinkSync(folder.at('.gitignore'));
      rmdirSync(making);
      if (!['EEXIST', 'ENOTEMPTY', 'ENOTDIR'].includes(systemCode(error))) throw error;
    }
  } finally {
    closeSync(file);
  }
}

/**
 * The path to open. A link is followed where nobody else can have made or changed it, and not into a folder that holds
 * other things: what we write and delete there would be among them.
 */
function withoutLink(directory: string, user: Owner): string {
  const found = lstatSync(directory);
  if (!found.isSymbolicLink()) return realpathSync(directory);
  const above = statSync(dirname(directory));
  const isOurs = [user.uid, 0].includes(found.uid) && [user.uid, 0].includes(above.uid);
  const isOpen = (above.mode & 0o022) !== 0 && (above.mode & 0o1000) === 0;
  if (!isOurs || isOpen) {
    throw embeddedError(
      `${directory} is a symbolic link that another user may have made; it is not followed.`,
      MOVE_AWAY,
    );
  }
  const path = realpathSync(directory);
  const other = readdirSync(path).find((name) => !isKnown(name));
  if (other !== undefined) {
    throw embeddedError(
      `${directory} is a symbolic link to ${path}, which holds other things (${JSON.stringify(other)}); it is not followed.`,
      'Link it to a folder of its own, or move the link away.',
    );
  }
  return path;
}

function ownerOf(found: Stats, path: string, user: Owner): Owner {
  if (!found.isDirectory()) throw new Error('it is a file.');
  if (found.uid === user.uid) return user;
  const caller = sudoCaller(user);
  if (caller?.uid === found.uid) return caller;
  throw foreign(path, found.uid, user);
}

/** Who called `sudo`, which says so to root alone. */
function sudoCaller(user: Owner): Owner | undefined {
  const [uid, gid] = [process.env.SUDO_UID, process.env.SUDO_GID].map(Number);
  if (user.uid !== 0 || uid === undefined || gid === undefined) return undefined;
  return Number.isSafeInteger(uid) && Number.isSafeInteger(gid) && uid > 0 && gid > 0
    ? { uid, gid }
    : undefined;
}

function foreign(path: string, uid: number, user: Owner): Error {
  return embeddedError(
    `${path} belongs to another user (uid ${uid}).`,
    user.uid === 0
      ? `Run longtail as that user (sudo -u '#${uid}'), or in another directory.`
      : 'Run longtail as that user, or in another directory.',
  );
}

/** Plain files, for their owner's eyes alone. */
const LOCK = 'lock';
const PLAIN = [LOCK, 'server.json', 'password', 'server.log', 'server.log.1', 'data-location'];
const SOCKET = 'control.sock';

function isKnown(name: string): boolean {
  return (
    PLAIN.some((plain) => name.startsWith(plain)) ||
    name === SOCKET ||
    /^(pg\d+$|\.gitignore$|making-|binaries-)/.test(name)
  );
}

/** Refuses the folder when something in it is not what we would have made. Nothing is opened, followed or changed. */
export function checkContents(folder: Folder): void {
  for (const { name } of entriesOf(folder)) {
    const found = lstatIfThere(folder.at(name));
    // It went in between, as files do that are being replaced.
    if (found === undefined) continue;
    const shown = folder.shown(name);
    if (PLAIN.includes(name)) {
      checkPlain(found, shown, folder.owner);
      if (name === LOCK && found.size > 0) throw strange(shown, 'is not empty, as Longtail’s is');
    } else if (name === SOCKET) {
      if (!found.isSocket()) throw strange(shown, 'is not a socket');
      if (found.uid !== folder.owner.uid) throw strange(shown, `belongs to another user (uid ${found.uid})`);
    } else if (/^pg\d+$/.test(name)) {
      if (!found.isDirectory()) throw strange(shown, whatItIs(found, 'folder'));
    } else if (name.startsWith('binaries-')) {
      if (!found.isDirectory()) throw strange(shown, whatItIs(found, 'folder'));
      if (![folder.owner.uid, 0].includes(found.uid)) {
        throw strange(shown, `belongs to another user (uid ${found.uid})`);
      }
      if ((found.mode & 0o022) !== 0) throw strange(shown, 'holds programs that others may replace');
    }
  }
}

function entriesOf(folder: Folder): Dirent[] {
  try {
    return readdirSync(folder.at(), { withFileTypes: true });
  } catch (error) {
    throw embeddedError(
      `${folder.path} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      'Run longtail as its owner, or in another directory.',
      error,
    );
  }
}

function checkPlain(found: Stats, shown: string, owner: Owner): void {
  if (!found.isFile()) throw strange(shown, whatItIs(found, 'file'));
  if (found.uid !== owner.uid) throw strange(shown, `belongs to another user (uid ${found.uid})`);
  if (found.nlink > 1) throw strange(shown, 'is a hard link: the same file has another name elsewhere');
}

function whatItIs(found: Stats, expected: 'file' | 'folder'): string {
  return found.isSymbolicLink() ? 'is a symbolic link, which is not followed' : `is not a plain ${expected}`;
}

function strange(shown: string, what: string): Error {
  return embeddedError(`${shown} ${what}.`, MOVE_AWAY);
}

export function lstatIfThere(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/** The text of a short file of ours, or undefined when there is none. Rejects what is a link, a pipe, not ours, or long. */
export function readOwn(folder: Folder, name: string): string | undefined {
  const found = lstatIfThere(folder.at(name));
  if (found === undefined) return undefined;
  checkPlain(found, folder.shown(name), folder.owner);
  const text = readPlain(folder.at(name));
  // One that is being replaced may have gone in between.
  if (text === undefined && found.size > MAX_TEXT_BYTES) {
    throw strange(folder.shown(name), 'is larger than any that Longtail makes');
  }
  if (text === undefined && lstatIfThere(folder.at(name)) !== undefined) {
    throw strange(folder.shown(name), 'cannot be read');
  }
  return text;
}

/** Files of ours that others may read, as a copy without its modes leaves them, are closed to them. */
export function closeToOthers(folder: Folder): void {
  for (const name of PLAIN) {
    const found = lstatIfThere(folder.at(name));
    if (found?.isFile() === true && (found.mode & 0o077) !== 0) chmodSync(folder.at(name), 0o600);
  }
}

/** The text of a short plain file, whoever made it; undefined when there is none, or something else. Never waits. */
export function readPlain(path: string): string | undefined {
  let file: number;
  try {
    file = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch {
    return undefined;
  }
  try {
    if (!fstatSync(file).isFile()) return undefined;
    const buffer = Buffer.alloc(MAX_TEXT_BYTES + 1);
    const bytes = readSync(file, buffer);
    return bytes > MAX_TEXT_BYTES ? undefined : buffer.toString('utf8', 0, bytes);
  } catch {
    return undefined;
  } finally {
    closeSync(file);
  }
}

/** The last lines of a file of ours. */
export function readTail(folder: Folder, name: string): string {
  let file: number;
  try {
    file = openSync(folder.at(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch {
    return '';
  }
  try {
    const found = fstatSync(file);
    if (!found.isFile() || found.uid !== folder.owner.uid) return '';
    const buffer = Buffer.alloc(MAX_TEXT_BYTES);
    const bytes = readSync(file, buffer, 0, buffer.length, Math.max(0, found.size - buffer.length));
    return buffer.toString('utf8', 0, bytes);
  } finally {
    closeSync(file);
  }
}

/** Replaces a file whole, readable by its owner alone. `unique` makes the name that it has until then. */
export function writeOwn(folder: Folder, name: string, text: string, unique: string): void {
  const making = folder.at(`${name}.${unique}`);
  closeSync(writeNew(making, 0o600, text));
  renameSync(making, folder.at(name));
}

/** Opens a file of ours for appending, and makes it where it is missing. */
export function openToAppend(folder: Folder, name: string): number {
  const path = folder.at(name);
  for (let attempt = 1; ; attempt += 1) {
    const found = lstatIfThere(path);
    if (found !== undefined) checkPlain(found, folder.shown(name), folder.owner);
    try {
      // One that is there is not made, and one that is made was not there: only ours is ever given away.
      const how = found === undefined ? O_CREAT | O_EXCL : O_NONBLOCK;
      const file = openSync(path, O_APPEND | O_WRONLY | O_NOFOLLOW | how, 0o600);
      if (found === undefined && folder.owner.uid !== currentUser().uid) {
        fchownSync(file, folder.owner.uid, folder.owner.gid);
      }
      return checkedOpen(file, folder, name);
    } catch (error) {
      // Another command made it, or moved it, in between.
      const passes = systemCode(error) === (found === undefined ? 'EEXIST' : 'ENOENT');
      if (!passes || attempt >= MOST_ATTEMPTS) throw error;
    }
  }
}

function checkedOpen(file: number, folder: Folder, name: string): number {
  try {
    checkPlain(fstatSync(file), folder.shown(name), folder.owner);
    return file;
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

function writeNew(path: string, mode: number, text: string): number {
  const file = openSync(path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, mode);
  try {
    for (let rest = Buffer.from(text); rest.length > 0; ) rest = rest.subarray(writeSync(file, rest));
    return file;
  } catch (error) {
    closeSync(file);
    unlinkSync(path);
    throw error;
  }
}

/** Whether a socket in a temporary folder is one that we, and nobody else, can have made there. */
export function isOwnSocket(path: string, owner: Owner): boolean {
  const [folder, socket] = [lstatIfThere(dirname(path)), lstatIfThere(path)];
  return (
    folder?.isDirectory() === true &&
    folder.uid === owner.uid &&
    (folder.mode & 0o077) === 0 &&
    socket?.isSocket() === true &&
    socket.uid === owner.uid &&
    basename(path) === SOCKET
  );
}
