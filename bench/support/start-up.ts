/** Measures from the start of the command's process to the arrival of its first request. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { BenchEmulator } from './emulator.ts';
import { range, SITE } from './jobs.ts';

const COMMAND = fileURLToPath(new URL('../../bin/longtail.js', import.meta.url));

/** In milliseconds. No other client may use the emulator at the same time. */
export async function measureStartUp(emulator: BenchEmulator, database: string): Promise<number> {
  const before = (await emulator.requests()).length;
  const { from, to } = range(1);
  const startedMs = Date.now();
  const child = spawn(
    process.execPath,
    [
      ...[COMMAND, 'sync', '--site', SITE, '--from', from, '--to', to, '--json', '--refresh'],
      ...['--datasets', 'page', '--database-url', database, '--api-root', emulator.url, '--qpm', '40000'],
    ],
    { stdio: 'ignore', env: { PATH: process.env.PATH, LONGTAIL_ACCESS_TOKEN: 'a-token' } },
  );
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`longtail sync ended with ${code}`);
  const first = (await emulator.requests())[before];
  if (first === undefined) throw new Error('longtail sync made no request');
  return first.arrivedAtMs - startedMs;
}
