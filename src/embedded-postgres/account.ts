import { execFile } from 'node:child_process';
import { realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { embeddedError } from './error.ts';
import { currentUser, lstatIfThere } from './folder.ts';

/**
 * The account that runs PostgreSQL, in the form that `spawn` takes. Empty: the current user. PostgreSQL refuses to run as
 * root, so root runs it under an account without special rights.
 */
export type ServerAccount = { readonly uid: number; readonly gid: number } | Readonly<Record<never, never>>;

/** Accounts that systems provide, the best first. None is ever created. */
const CANDIDATES = ['postgres', '_postgres', 'nobody', 'daemon'] as const;

const run = promisify(execFile);

/** Whether this process is root, so that PostgreSQL needs another account. */
function runsAsRoot(): boolean {
  return currentUser().uid === 0;
}

/**
 * The account for the data in `dataDirectory`. If the data exists, its owner: data changes owners only by `chown`.
 * Otherwise the first candidate of the system that this process may switch to.
 */
export async function serverAccount(dataDirectory: string): Promise<ServerAccount> {
  const owner = lstatIfThere(dataDirectory);
  if (!runsAsRoot()) {
    if (owner === undefined || owner.uid === currentUser().uid) return {};
    throw embeddedError(
      `The data in ${dataDirectory} belongs to another user (uid ${owner.uid}).`,
      'Run longtail as that user, or in another directory.',
    );
  }
  if (owner !== undefined && owner.uid !== 0) return { uid: owner.uid, gid: await groupOf(owner) };
  for (const name of CANDIDATES) {
    const account = await lookUp(name);
    if (account !== undefined && (await canSwitchTo(account))) return account;
  }
  throw embeddedError(
    `PostgreSQL does not run as root, and none of the accounts ${CANDIDATES.join(', ')} can run it here.`,
    'Run longtail as a normal user.',
  );
}

/** The first folder on the way to `path` that the account may not enter. Undefined: it can reach `path`. */
export async function obstacleFor(account: ServerAccount, path: string): Promise<string | undefined> {
  if (!('uid' in account)) return undefined;
  // From the root down, so that the message names the topmost closed folder.
  const way: string[] = [];
  for (let at = await realpath(path); ; at = dirname(at)) {
    way.unshift(at);
    if (at === dirname(at)) break;
  }
  for (const folder of way) {
    const { mode, uid, gid } = await stat(folder);
    const search = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
    if ((mode & search) === 0) return folder;
  }
  return undefined;
}

/** The owner's primary group. The folder's group may have more rights, and every database user could use them. */
async function groupOf({ uid, gid }: { uid: number; gid: number }): Promise<number> {
  try {
    const { stdout } = await run('id', ['-g', String(uid)]);
    return Number(stdout.trim());
  } catch {
    // An owner without a name has no primary group either. Root's group is never used.
    return gid === 0 ? uid : gid;
  }
}

async function lookUp(name: string): Promise<{ uid: number; gid: number } | undefined> {
  try {
    const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]);
    const account = { uid: Number(uid.stdout.trim()), gid: Number(gid.stdout.trim()) };
    return account.uid > 0 && account.gid > 0 ? account : undefined;
  } catch {
    // No such account.
    return undefined;
  }
}

/** In a container, the account may exist without this process being allowed to switch to it. */
async function canSwitchTo(account: { uid: number; gid: number }): Promise<boolean> {
  try {
    await run('id', ['-u'], { cwd: '/', ...account });
    return true;
  } catch {
    return false;
  }
}
