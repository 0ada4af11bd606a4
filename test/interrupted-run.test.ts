// @module-tag long
/** A test run that fails, or is interrupted, leaves no server, no process and no folder. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { processesIn } from './support/embedded.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

test.each([
  ['fails', undefined],
  ['is interrupted by SIGINT', 'SIGINT'],
  ['is ended by SIGTERM', 'SIGTERM'],
  ['is killed', 'SIGKILL'],
] as const)(
  'a run that %s leaves nothing',
  async (_, signal) => {
    const folder = mkdtempSync(join(tmpdir(), 'run-'));
    // Where root runs the tests, another account runs PostgreSQL in it.
    chmodSync(folder, 0o755);
    const temporary = join(folder, 't');
    mkdirSync(temporary, { mode: 0o755 });
    const vitest = spawn(
      process.execPath,
      [
        join(root, 'node_modules/vitest/vitest.mjs'),
        'run',
        '--config',
        'test/support/interrupted/vitest.config.ts',
      ],
      {
        cwd: root,
        stdio: 'ignore',
        env: {
          PATH: process.env.PATH,
          TMPDIR: temporary,
          READY: folder,
          FAILS: signal === undefined ? 'yes' : 'no',
        },
      },
    );
    const exited = once(vitest, 'exit');
    try {
      await expect.poll(() => existsSync(join(folder, 'ready')), { timeout: 120_000 }).toBe(true);
      // Otherwise what is checked below could not fail.
      if (signal !== undefined) expect(readdirSync(temporary)).not.toEqual([]);
      if (signal !== undefined) vitest.kill(signal);
      await exited;
      expect(vitest.exitCode).not.toBe(0);
      await expect.poll(() => readdirSync(temporary), { timeout: 60_000 }).toEqual([]);
      await expect.poll(() => processesIn(temporary), { timeout: 60_000 }).toEqual([]);
    } finally {
      vitest.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    }
  },
  300_000,
);
