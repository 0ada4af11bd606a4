import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EmulatorCounters, Faults } from '../../../src/emulator/index.ts';
import { BIN } from '../../support/command.ts';
import { SITE } from '../../support/property.ts';

export interface EmulatorSettings {
  readonly rowsPerDay: number;
  readonly latencyMs: number;
  readonly qpm: number;
  readonly faults?: Faults;
}

/** `longtail emulator` in a process of its own, which can be killed and started again at the same address. */
export interface EmulatorProcess extends AsyncDisposable {
  readonly url: string;
  counters(): Promise<EmulatorCounters>;
  /** kill -9. */
  kill(): Promise<void>;
  start(changed?: Partial<EmulatorSettings>): Promise<void>;
}

export async function startEmulatorProcess(settings: EmulatorSettings): Promise<EmulatorProcess> {
  const folder = await mkdtemp(join(tmpdir(), 'longtail-chaos-'));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/`;
  let child: ChildProcess | undefined;
  let current = settings;

  const kill = async (): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  };
  const start = async (changed: Partial<EmulatorSettings> = {}): Promise<void> => {
    await kill();
    current = { ...current, ...changed };
    const { rowsPerDay, latencyMs, qpm, faults = { rules: [] } } = current;
    const file = join(folder, 'faults.json');
    await writeFile(file, JSON.stringify(faults));
    const args = ['--port', port, '--site', SITE, '--rows-per-day', rowsPerDay, '--latency-ms', latencyMs];
    const started = spawn(
      process.execPath,
      [BIN, 'emulator', ...[...args, '--qpm', qpm].map(String), '--faults', file],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    child = started;
    let said = '';
    started.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    await new Promise<void>((resolve, reject) => {
      started.once('exit', () => reject(new Error(`the emulator did not start: ${said}`)));
      started.stdout.once('data', () => resolve());
    });
  };
  try {
    await start();
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  return {
    url,
    async counters() {
      const answer = await fetch(`${url}__emulator/stats`);
      return (await answer.json()) as EmulatorCounters; // the emulator's own type, as JSON
    },
    kill,
    start,
    async [Symbol.asyncDispose]() {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}
