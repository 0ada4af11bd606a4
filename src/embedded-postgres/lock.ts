import { closeSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { Clock } from '../domain/clock.ts';
import { pause } from '../domain/wait.ts';
import { type Folder, openToAppend } from './folder.ts';

const BUSY = 5;
const RETRY_MS = 20;

/**
 * Waits for the lock on a file of the working directory and holds it for as long as this process lives: one server on
 * one directory. False when `givenUp` says so before it was had.
 *
 * It is SQLite's lock on a file, since Node has no other one that the system takes away from a process that dies. A
 * file with a process id in it would have to be judged stale or not, and ids come again, in containers at once.
 */
export async function holdLock(
  folder: Folder,
  name: string,
  clock: Clock,
  givenUp: () => boolean,
): Promise<boolean> {
  // Made by us, and closed again before SQLite opens it: to close it later would take away the lock.
  const made = openToAppend(folder, name);
  closeSync(made);
  // Not made by SQLite, which would follow a link.
  const file = new DatabaseSync(`file:${name}?mode=rw`, { timeout: 0 });
  for (;;) {
    if (givenUp()) {
      file.close();
      return false;
    }
    try {
      // Nothing is ever written: a journal would only lie about. Either statement finds the file locked.
      file.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
      held.push(file);
      return true;
    } catch (error) {
      if (!isBusy(error)) throw error;
    }
    await pause(clock, RETRY_MS);
  }
}

/** Referred to, so that they are not collected, and their locks with them. */
const held: DatabaseSync[] = [];

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === BUSY;
}
