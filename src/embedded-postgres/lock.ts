import { closeSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { Clock } from '../domain/clock.ts';
import { pause } from '../domain/wait.ts';
import { type Folder, openToAppend } from './folder.ts';

const BUSY = 5;
const RETRY_MS = 20;

/**
 * Waits for the lock on a file in the working directory and holds it until this process ends: one server per directory.
 * Returns false if `givenUp` returned true first.
 *
 * It uses SQLite's file lock, the only one in Node that the system releases when a process dies. A file with a process id
 * would have to be checked for staleness, and ids are reused, in containers immediately.
 */
export async function holdLock(
  folder: Folder,
  name: string,
  clock: Clock,
  givenUp: () => boolean,
): Promise<boolean> {
  // Created and closed before SQLite opens it: closing it later would release the lock.
  const made = openToAppend(folder, name);
  closeSync(made);
  // SQLite must not create it: it would follow a link.
  const file = new DatabaseSync(`file:${name}?mode=rw`, { timeout: 0 });
  for (;;) {
    if (givenUp()) {
      file.close();
      return false;
    }
    try {
      // Nothing is ever written: this avoids a leftover journal file. Either statement fails if the file is locked.
      file.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
      held.push(file);
      return true;
    } catch (error) {
      if (!isBusy(error)) throw error;
    }
    await pause(clock, RETRY_MS);
  }
}

/** Referenced so that they, and with them their locks, are not garbage-collected. */
const held: DatabaseSync[] = [];

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === BUSY;
}
