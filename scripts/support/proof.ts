/** What the proofs share: their own PostgreSQL, and emulators and `longtail sync` as processes. Needs a build. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import postgres from 'postgres';
import { addDays, pacificDay } from '../../src/domain/day.ts';
import { startEmbedded } from '../../src/embedded-postgres/embedded.ts';
import type { EmulatorCounters, RequestRecord } from '../../src/emulator/index.ts';

const checkout = fileURLToPath(new URL('../..', import.meta.url));
const command = join(checkout, 'bin/longtail.js');
export const SITE = 'sc-domain:example.com';

/** A PostgreSQL in a temporary folder, which is removed afterwards. `database` creates an empty database. */
export async function startServer() {
  const folder = await mkdtemp(join(tmpdir(), 'longtail-proof-'));
  // If root runs this, another account runs the server.
  await chmod(folder, 0o755);
  const server = await startEmbedded({
    directory: join(folder, 'data'),
    sharedDirectory: join(folder, 'shared'),
  });
  const admin = postgres(server.url, { max: 1, onnotice: () => undefined });
  let count = 0;
  return {
    async database(): Promise<string> {
      count += 1;
      const name = `proof_${count}`;
      await admin.unsafe(`create database ${name}`);
      const url = new URL(server.url);
      url.pathname = `/${name}`;
      return url.href;
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await admin.end({ timeout: 1 });
      await server.close();
      await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
    },
  };
}

/** `longtail emulator` in its own process. */
export async function startEmulatorProcess(...args: readonly string[]) {
  const child = spawn(process.execPath, [command, 'emulator', '--port', '0', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout });
  const url = await new Promise<string>((resolve, reject) => {
    child.once('exit', () => reject(new Error('the emulator did not start')));
    lines.on('line', (line) => {
      const [found] = /http:\/\/\S+/.exec(line) ?? [];
      if (found !== undefined) resolve(found);
    });
  });
  const ask = async (path: string): Promise<unknown> => (await fetch(`${url}__emulator/${path}`)).json();
  return {
    url,
    // The emulator's own types, as JSON.
    counters: async () => (await ask('stats')) as EmulatorCounters,
    requests: async () => (await ask('requests?last=100000')) as RequestRecord[],
    async [Symbol.asyncDispose](): Promise<void> {
      await end(child, 'SIGKILL');
    },
  };
}

export interface SyncRun {
  readonly child: ChildProcess;
  /** What came on standard error so far. */
  readonly said: () => string;
  /** The exit code, and the object that `--json` prints. */
  readonly ended: Promise<{ readonly code: number | null; readonly outcome: Outcome | undefined }>;
}

/** The fields of `--json` that the proofs read. */
export interface Outcome {
  readonly status: string;
  readonly rows: number;
  readonly apiCalls: number;
  readonly quotaRefusals: number;
  readonly durationMs: number;
  readonly peakRssBytes: number;
}

/** Runs `longtail sync` for the newest `days` final days. */
export function startSync(
  target: { readonly databaseUrl: string; readonly apiRoot: string; readonly days: number },
  ...args: readonly string[]
): SyncRun {
  // A day more, because midnight in California may pass between the start of the run and its end.
  const to = addDays(pacificDay(Date.now()), -4);
  const range = ['--from', addDays(to, 1 - target.days), '--to', to];
  const child = spawn(
    process.execPath,
    [
      ...[command, 'sync', '--site', SITE, ...range, '--json'],
      ...['--database-url', target.databaseUrl, '--api-root', target.apiRoot, ...args],
    ],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, LONGTAIL_ACCESS_TOKEN: 'a-token' },
    },
  );
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => (text += piece));
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (said += piece));
  const ended = once(child, 'close').then(([code]) => {
    const last = text.trim().split('\n').at(-1) ?? '';
    return { code, outcome: last === '' ? undefined : JSON.parse(last) };
  });
  return { child, ended, said: () => said };
}

export async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}

export const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
