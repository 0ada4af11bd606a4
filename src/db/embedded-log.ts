import {
  closeSync,
  constants,
  fchownSync,
  fstatSync,
  openSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { runsAsRoot } from './embedded-account.ts';

/** The log and the one before it: PostgreSQL's lines are few, a broken disk's are not. */
const MAX_LOG_BYTES = 4_000_000;

/** Opens a log for appending, for its owner alone. A link in its place is refused: root may be writing for a user. */
export function openLog(path: string): number {
  const { O_APPEND, O_CREAT, O_WRONLY, O_NOFOLLOW } = constants;
  const file = openSync(path, O_APPEND | O_CREAT | O_WRONLY | O_NOFOLLOW, 0o600);
  if (runsAsRoot()) {
    const { uid, gid } = statSync(dirname(path));
    fchownSync(file, uid, gid);
  }
  return file;
}

/** Appends lines to `path`; at 4 MB the file moves to `path.1`, in the place of an older one. */
export function boundedLog(path: string): (line: string) => void {
  let file = openLog(path);
  let bytes = fstatSync(file).size;
  return (line) => {
    try {
      if (bytes > MAX_LOG_BYTES) {
        renameSync(path, `${path}.1`);
        closeSync(file);
        file = openLog(path);
        bytes = 0;
      }
      bytes += writeSync(file, `${line}\n`);
    } catch {
      // A full disk: the server goes on, and says so to those who ask it.
    }
  };
}
