import { closeSync, fstatSync, renameSync, writeSync } from 'node:fs';
import { type Folder, openToAppend } from './folder.ts';

/** Maximum size of the log and of the previous one. PostgreSQL logs little, except with a broken disk. */
const MAX_LOG_BYTES = 4_000_000;

/** Appends lines to a file in the folder. At 4 MB, renames the file to `name.1`, replacing an older one. */
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
      // The disk is full: the server keeps running and reports it to its clients.
    }
  };
}
