import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { BIN } from '../../support/command.ts';

export interface Finished {
  /** The exit code, or 128 + the signal's number in words: `SIGKILL`. */
  readonly code: number | string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The built command line as a process of its own. */
export interface LongtailProcess {
  readonly child: ChildProcess;
  readonly finished: Promise<Finished>;
  /** What came so far. */
  readonly said: () => { readonly stdout: string; readonly stderr: string };
}

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** Gives each test of a file a way to run the command line in an empty folder. Afterwards none of it is left. */
export function useLongtail(): {
  readonly folder: () => string;
  readonly start: (args: readonly string[], options?: StartOptions) => LongtailProcess;
  readonly run: (args: readonly string[], options?: StartOptions) => Promise<Finished>;
} {
  let folder = '';
  const started: LongtailProcess[] = [];
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'longtail-cli-'));
    // Where root runs the tests, another account runs PostgreSQL in it.
    await chmod(folder, 0o755);
  });
  afterEach(async () => {
    for (const { child, finished } of started.splice(0)) {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await finished;
    }
    // Embedded servers and the demo's emulator end with their parents, if not at the same instant.
    await expect.poll(() => processesIn(folder), { timeout: 20_000 }).toEqual([]);
    await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  });
  const start = (args: readonly string[], { env = {}, cwd = folder }: StartOptions = {}): LongtailProcess => {
    const child = spawn(process.execPath, [BIN, ...args], {
      cwd,
      // Nothing of the developer's own: a DATABASE_URL of theirs is not for tests.
      env: { PATH: process.env.PATH ?? '', HOME: folder, TMPDIR: tmpdir(), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const finished = once(child, 'close').then(
      ([code, signal]: unknown[]): Finished => ({
        code: typeof code === 'number' ? code : String(signal),
        stdout,
        stderr,
      }),
    );
    const running = { child, finished, said: () => ({ stdout, stderr }) };
    started.push(running);
    return running;
  };
  return { folder: () => folder, start, run: (args, options) => start(args, options).finished };
}

/** The last line of standard output, read as JSON. */
export function lastLineOf(stdout: string): unknown {
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '');
}

/** What no error of ours may look like. */
export const STACK_TRACE = /^\s+at .+:\d+|node:internal|Error:/m;

/** Processes that work in a folder or on it, as far as this system lets one see them: `pid command`. */
export function processesIn(folder: string): readonly string[] {
  const found: string[] = [];
  for (const pid of listOrNone('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      const isIn = readlinkSync(`/proc/${pid}/cwd`).startsWith(folder);
      if (isIn || command.includes(folder)) found.push(`${pid} ${command}`);
    } catch {
      // Gone meanwhile, or another user's.
    }
  }
  return found;
}

function listOrNone(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
