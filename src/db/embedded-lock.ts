import { DatabaseSync } from 'node:sqlite';
import type { Clock } from '../domain/clock.ts';
import { pause } from './embedded-wait.ts';

const BUSY = 5;
const RETRY_MS = 20;

/**
 * Waits for the lock on `path` and holds it for as long as this process lives: one server on one directory. False when
 * `givenUp` says so before it was had.
 *
 * It is SQLite's lock on a file, since Node has no other one that the system takes away from a process that dies. A
 * file with a process id in it would have to be judged stale or not, and ids come again, in containers at once.
 */
export async function holdLock(path: string, clock: Clock, givenUp: () => boolean): Promise<boolean> {
  const file = new DatabaseSync(path, { timeout: 0 });
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
