import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Emulator } from '../../src/emulator/index.ts';
import { BIN } from './command.ts';
import { SITE } from './property.ts';

const checkout = fileURLToPath(new URL('../..', import.meta.url));

/** `longtail sync` as its users have it: the built command, in a process of its own. */
export interface SyncProcess extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly startedAtMs: number;
  /** How it ended. `code` is null when a signal ended it. */
  readonly ended: Promise<{ readonly code: number | null; readonly endedAtMs: number }>;
  /** All it has written, to either of its outputs. */
  written(): string;
  /** The object on the last line of standard output, with `--json`. */
  json(): Record<string, unknown>;
  /** kill -9, and its end. */
  kill(): Promise<void>;
}

export interface ProcessOptions {
  readonly databaseUrl: string;
  readonly emulator: Pick<Emulator, 'url'>;
  readonly from: string;
  readonly to: string;
  readonly args?: readonly string[];
  /** Beside the path and a token. */
  readonly env?: Readonly<Record<string, string>>;
}

export function startSyncProcess({
  databaseUrl,
  emulator,
  from,
  to,
  args = [],
  env = {},
}: ProcessOptions): SyncProcess {
  const startedAtMs = Date.now();
  const child = spawn(
    process.execPath,
    [
      BIN,
      'sync',
      ...[
        '--site',
        SITE,
        '--from',
        from,
        '--to',
        to,
        '--database-url',
        databaseUrl,
        '--api-root',
        emulator.url,
      ],
      // An option that is given twice is refused.
      ...(args.includes('--qpm') ? [] : ['--qpm', '40000']),
      ...['--json', ...args],
    ],
    {
      cwd: checkout,
      stdio: ['ignore', 'pipe', 'pipe'],
      // The run's own folder: whoever clears up after an interrupted run knows it by that.
      env: { PATH: process.env.PATH, TMPDIR: process.env.TMPDIR, LONGTAIL_ACCESS_TOKEN: 'a-token', ...env },
    },
  );
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  // `exit`, not `close`: what a user waits for.
  const ended = once(child, 'exit').then(([code]) => ({ code, endedAtMs: Date.now() }));
  const closed = once(child, 'close');
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await closed;
  };
  return {
    child,
    startedAtMs,
    ended: ended.then(async (how) => {
      await closed;
      return how;
    }),
    written: () => `${stdout}\n${stderr}`,
    json: () => JSON.parse(stdout.trim().split('\n').at(-1) ?? ''),
    kill,
    [Symbol.asyncDispose]: kill,
  };
}
