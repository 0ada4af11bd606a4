// @module-tag long
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';

const SCRIPT = new URL('run-cli.ts', import.meta.url).pathname;
const children: ChildProcess[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
  }
});

interface Run {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly errors: () => string;
  /** Resolves when the text has come; rejects when the process ends before. */
  readonly shows: (pattern: RegExp) => Promise<RegExpMatchArray>;
  readonly ended: Promise<number | null>;
}

function longtailEmulator(...args: string[]): Run {
  const child = spawn(process.execPath, [SCRIPT, 'emulator', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  let output = '';
  let errors = '';
  const ended = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)));
  child.stderr?.on('data', (chunk) => {
    errors += String(chunk);
  });
  child.stdout?.on('data', (chunk) => {
    output += String(chunk);
  });
  const shows = (pattern: RegExp): Promise<RegExpMatchArray> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const match = output.match(pattern);
        if (match !== null) resolve(match);
      };
      child.stdout?.on('data', look);
      ended.then(() => reject(new Error(`ended: ${errors}`)));
      look();
    });
  return { child, output: () => output, errors: () => errors, shows, ended };
}

describe('longtail emulator', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('listens, says how to use it, and ends on %s', async (signal) => {
    const run = longtailEmulator(
      '--port',
      '0',
      '--site',
      'https://a.example/',
      '--site',
      'sc-domain:b.example',
      '--qpm',
      '2',
    );
    const [, url = ''] = await run.shows(/listens on (http:\/\/127\.0\.0\.1:\d+\/)\n/);
    await run.shows(/Ctrl-C/);
    expect(run.output()).toContain(
      `LONGTAIL_ACCESS_TOKEN=anything npx longtail sync --site https://a.example/ --api-root ${url}\n`,
    );
    const site = encodeURIComponent('sc-domain:b.example');
    const statuses: number[] = [];
    for (let i = 0; i < 3; i++) {
      const response = await fetch(`${url}webmasters/v3/sites/${site}/searchAnalytics/query`, {
        method: 'POST',
        headers: { authorization: 'Bearer x' },
        body: JSON.stringify({ startDate: '2026-05-01', endDate: '2026-05-01' }),
      });
      await response.text();
      statuses.push(response.status);
    }
    expect(statuses).toEqual([200, 200, 403]);
    run.child.kill(signal);
    expect(await run.ended).toBe(0);
    expect(run.output()).toMatch(
      /3 API calls in 3 HTTP calls, 1 refused because of the quota; at most 3 in any 60 seconds\.\n$/,
    );
    expect(run.errors()).toBe('');
  });

  it('takes a fault file', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'longtail-emulator-'));
    try {
      const file = join(folder, 'faults.json');
      await writeFile(file, '{"rules":[{"action":{"kind":"status","status":503}}]}');
      const run = longtailEmulator('--port', '0', '--faults', file);
      const [, url = ''] = await run.shows(/listens on (\S+)\n/);
      const headers = { authorization: 'Bearer x' };
      expect((await fetch(`${url}webmasters/v3/sites`, { headers })).status).toBe(503);

      await writeFile(file, '{"rules":[{"action":{"kind":"explode"}}]}');
      const wrong = longtailEmulator('--port', '0', '--faults', file);
      expect(await wrong.ended).toBe(2);
      expect(wrong.errors()).toMatch(/^The fault file is invalid: rules\[0\]\.action\.kind: .*\n$/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it.each([
    [['--port', '70000'], '--port must be a whole number from 0 to 65535'],
    [['--seed', 'x'], '--seed'],
    [['--rows-per-day', '0'], '--rows-per-day'],
    [['--latency-ms', '-1'], '--latency-ms'],
    [['--qpm', '1.5'], '--qpm'],
    [['--site', 'example.com'], '--site "example.com" is not a property.'],
    [['--faults', '/nowhere/faults.json'], '--faults /nowhere/faults.json cannot be read.'],
  ])('%s: one clear line', async (args, message) => {
    const run = longtailEmulator(...args);
    expect(await run.ended).toBe(2);
    expect(run.errors()).toContain(message);
    expect(run.errors().trim().split('\n')).toHaveLength(1);
    expect(run.output()).toBe('');
  });

  it('names --port when the port is taken', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    try {
      const address = other.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      const run = longtailEmulator('--port', String(port));
      expect(await run.ended).toBe(2);
      expect(run.errors()).toMatch(/^Port \d+ on 127\.0\.0\.1 is used by another program\. .*--port/);
    } finally {
      await new Promise((resolve) => other.close(resolve));
    }
  });
});
