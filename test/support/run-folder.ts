import { fork } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * One folder for all temporary files of a test run: `TMPDIR` of the workers and of what they start. A process of its own
 * keeps it, and clears it away when the run is over, however that came about. Call the result at an orderly end.
 */
export async function makeRunFolder(): Promise<() => Promise<void>> {
  // A short name: the paths of sockets may not be long.
  const folder = mkdtempSync(join(tmpdir(), 'lt-'));
  // Where root runs the tests, another account runs PostgreSQL in it.
  chmodSync(folder, 0o755);
  // In a session of its own: no Ctrl-C reaches it.
  const keeper = fork(new URL('./run-folder-keeper.ts', import.meta.url), [folder], {
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    execArgv: [],
    env: { PATH: process.env.PATH },
  });
  keeper.unref();
  process.env.TMPDIR = folder;
  return async () => {
    keeper.ref();
    const exited = once(keeper, 'exit');
    keeper.disconnect();
    await exited;
  };
}
