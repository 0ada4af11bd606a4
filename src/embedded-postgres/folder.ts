/**
 * A folder that may lie inside another user's. It is opened once, checked through the open descriptor, and afterwards
 * reached only through that. Renaming the folders above it, or replacing them by links, has no effect.
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

/** The owner of the files, whose rights are used on them. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** An open folder. */
export interface Folder {
  /** With links resolved: for messages and other programs. */
  readonly path: string;
  readonly owner: Owner;
  /** The path by which this process reaches an entry, or without a name the folder itself. */
  at(name?: string): string;
  /** The entry's path as shown to people. */
  shown(name: string): string;
  /** Safe to call twice. The folder cannot be used afterwards. */
  close(): void;
}

const { O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;

/** Other temporary folders to try: `TMPDIR` may be inaccessible, missing, or have a long path itself. */
export const TEMPORARY_FOLDERS: readonly string[] = ['/tmp', '/var/tmp', '/dev/shm'];

/** Maximum size of a file to read: Longtail's files are short. */
const MAX_TEXT_BYTES = 64_000;
/** Maximum attempts to open a file that appears or disappears meanwhile. */
const MAX_ATTEMPTS = 10;
const MOVE_AWAY = 'Check who created it, move it away, then start again.';

/** The user with whose rights this process runs. */
export function currentUser(): Owner {
  return { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
}

/**
 * Opens the folder, or creates it. It must belong to the current user or, for root under `sudo`, to the user who called
 * `sudo`. Everything in it is then done as its owner.
 */
export async function openFolder(directory: string, ignored: string): Promise<Folder> {
  const user = currentUser();
  if (lstatIfThere(directory) === undefined) await makeFolder(directory, user, ignored);
  const path = withoutLink(directory, user);
  // Check it before opening, because another user's may be inaccessible, and again by the descriptor, which is what is used.
  const owner = ownerOf(lstatSync(path), path, user);
  const file = openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    const found = fstatSync(file);
    if (ownerOf(found, path, user).uid !== owner.uid)
      throw new Error('it was replaced while it was being opened.');
    // If others may write to it, close it to them. checkContents looks at what it already contains.
    if ((found.mode & 0o022) !== 0 && owner.uid === user.uid) fchmodSync(file, found.mode & 0o755);
  } catch (error) {
    closeSync(file);
    throw error;
  }
  return pinned(file, path, owner);
}

/** This process's working directory as a folder. The system keeps it open. */
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
  // Linux can reach a folder by its descriptor. Elsewhere there is only the checked path.
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

/** Creates the folder atomically with its contents: several processes may be creating it at the same time. */
async function makeFolder(directory: string, user: Owner, ignored: string): Promise<void> {
  await mkdir(dirname(directory), { recursive: true });
  const making = await mkdtemp(`${directory}-`);
  const file = openSync(making, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    // Check the descriptor, not the path: anyone who may write to the parent may have swapped the folder.
    if (fstatSync(file).uid !== user.uid) throw foreign(making, fstatSync(file).uid, user);
    // Root's folder can be entered, because another account runs PostgreSQL in it, but not listed.
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
 * The path to open. A link is followed only if no other user can have created or changed it, and only to a folder
 * without foreign contents, because Longtail writes and deletes files there.
 */
function withoutLink(directory: string, user: Owner): string {
  const found = lstatSync(directory);
  if (!found.isSymbolicLink()) return realpathSync(directory);
  const above = statSync(dirname(directory));
  const isOurs = [user.uid, 0].includes(found.uid) && [user.uid, 0].includes(above.uid);
  const isOpen = (above.mode & 0o022) !== 0 && (above.mode & 0o1000) === 0;
  if (!isOurs || isOpen) {
    throw embeddedError(
      `${directory} is a symbolic link that another user may have created; it is not followed.`,
      MOVE_AWAY,
    );
  }
  const path = realpathSync(directory);
  const other = readdirSync(path).find((name) => !isKnown(name));
  if (other !== undefined) {
    throw embeddedError(
      `${directory} is a symbolic link to ${path}, which contains other files (${JSON.stringify(other)}); it is not followed.`,
      'Link it to a separate folder, or move the link away.',
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

/** The user who called `sudo`. Believed only when this process is root. */
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

/** The names of the regular files, which only their owner may read. */
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

/** Throws if anything in the folder is not as Longtail would create it. Opens, follows and changes nothing. */
export function checkContents(folder: Folder): void {
  for (const { name } of entriesOf(folder)) {
    const found = lstatIfThere(folder.at(name));
    // It disappeared in between, as a file does while it is being replaced.
    if (found === undefined) continue;
    const shown = folder.shown(name);
    if (PLAIN.includes(name)) {
      checkPlain(found, shown, folder.owner);
      if (name === LOCK && found.size > 0) throw strange(shown, 'is not empty, as it should be');
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
      if ((found.mode & 0o022) !== 0) throw strange(shown, 'contains programs that other users may replace');
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
  return found.isSymbolicLink()
    ? 'is a symbolic link, which is not followed'
    : `is not a regular ${expected}`;
}

function strange(shown: string, what: string): Error {
  return embeddedError(`${shown} ${what}.`, MOVE_AWAY);
}

export function lstatIfThere(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/** The text of a short file in the folder. Undefined: there is none. Throws if it is a link, a pipe, too long, or has another owner. */
export function readOwn(folder: Folder, name: string): string | undefined {
  const found = lstatIfThere(folder.at(name));
  if (found === undefined) return undefined;
  checkPlain(found, folder.shown(name), folder.owner);
  const text = readPlain(folder.at(name));
  // A file that is being replaced may have disappeared in between.
  if (text === undefined && found.size > MAX_TEXT_BYTES) {
    throw strange(folder.shown(name), 'is larger than Longtail’s files ever are');
  }
  if (text === undefined && lstatIfThere(folder.at(name)) !== undefined) {
    throw strange(folder.shown(name), 'cannot be read');
  }
  return text;
}

/** Makes Longtail's files private if others may read them, as after a copy that did not preserve modes. */
export function closeToOthers(folder: Folder): void {
  for (const name of PLAIN) {
    const found = lstatIfThere(folder.at(name));
    if (found?.isFile() === true && (found.mode & 0o077) !== 0) chmodSync(folder.at(name), 0o600);
  }
}

/** The text of a short regular file of any owner. Undefined: there is none, or it is something else. Never blocks. */
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

/** The last lines of a file in the folder. */
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

/** Replaces a file as a whole. Only its owner can read it. `unique` makes its temporary name. */
export function writeOwn(folder: Folder, name: string, text: string, unique: string): void {
  const making = folder.at(`${name}.${unique}`);
  closeSync(writeNew(making, 0o600, text));
  renameSync(making, folder.at(name));
}

/** Opens a file in the folder for appending, or creates it. */
export function openToAppend(folder: Folder, name: string): number {
  const path = folder.at(name);
  for (let attempt = 1; ; attempt += 1) {
    const found = lstatIfThere(path);
    if (found !== undefined) checkPlain(found, folder.shown(name), folder.owner);
    try {
      // Either create a new file or open the existing one, never both: so only a new file is ever given to the owner.
      const how = found === undefined ? O_CREAT | O_EXCL : O_NONBLOCK;
      const file = openSync(path, O_APPEND | O_WRONLY | O_NOFOLLOW | how, 0o600);
      if (found === undefined && folder.owner.uid !== currentUser().uid) {
        fchownSync(file, folder.owner.uid, folder.owner.gid);
      }
      return checkedOpen(file, folder, name);
    } catch (error) {
      // Another process created or moved it in between.
      const passes = systemCode(error) === (found === undefined ? 'EEXIST' : 'ENOENT');
      if (!passes || attempt >= MAX_ATTEMPTS) throw error;
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

/** Whether a socket in a temporary folder can only have been created by Longtail as this owner. */
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
