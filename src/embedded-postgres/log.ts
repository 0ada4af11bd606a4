import { closeSync, fstatSync, renameSync, writeSync } from 'node:fs';
import { type Folder, openToAppend } from './folder.ts';

/** The log and the one before it: PostgreSQL's lines are few, a broken disk's are not. */
const MAX_LOG_BYTES = 4_000_000;

/** Appends lines to a file of the folder; at 4 MB the file moves to `name.1`, in the place of an older one. */
export function boundedLog(folder: Folder, name: string): (line: string) => void {
  let file = openToAppend(folder, name);
  let bytes = fstatSync(file).size;
  return (line) => {
    try {
      if (bytes > MAX_LOG_BYTES) {
        renameSync(folder.at(name), folder.at(`${name}.1`));
        closeSync(file);
        file = openToAppend(folder, name);
        bytes = 0;
      }
      bytes += writeSync(file, `${line}\n`);
    } catch {
      // A full disk: the server goes on, and says so to those who ask it.
    }
  };
}
