/**
 * @module-tag long
 * A real Prometheus scrapes a backend with runs and `longtail metrics`: every panel shows something, and no secret is in it.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ROWS } from '../../scripts/dashboards/panels.ts';
import { freePort } from '../../src/embedded-postgres/cluster.ts';
import { startEmulator } from '../../src/emulator/index.ts';
import { useLongtail } from '../cli/support/longtail.ts';
import { testDatabase } from '../support/postgres.ts';
import { whyNot } from './support/tools.ts';

const SITE = 'sc-domain:example.com';
const RULES = fileURLToPath(new URL('../../dashboards/longtail.rules.yml', import.meta.url));
const BACKEND = new URL('./support/backend.ts', import.meta.url);
const reason = whyNot('prometheus');
const { start } = useLongtail();

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}

async function startPrometheus(targets: readonly string[]): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'longtail-prometheus-'));
  const config = join(folder, 'prometheus.yml');
  const job = (target: string, index: number) => ({
    job_name: `longtail-${index}`,
    static_configs: [{ targets: [target] }],
  });
  writeFileSync(
    config,
    JSON.stringify({
      global: { scrape_interval: '1s', evaluation_interval: '1s' },
      rule_files: [RULES],
      scrape_configs: targets.map(job),
    }),
  );
  const port = await freePort();
  const child = spawn(
    'prometheus',
    [
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: 'ignore' },
  );
  onTestFinished(async () => {
    await end(child);
    rmSync(folder, { recursive: true, force: true });
  });
  const url = `http://127.0.0.1:${port}`;
  const isReady = () =>
    fetch(`${url}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
  await expect.poll(isReady, { timeout: 30_000 }).toBe(true);
  return url;
}

interface Answer {
  readonly status: string;
  readonly data?: { readonly result: readonly unknown[] };
}

async function ask(url: string, expr: string): Promise<readonly unknown[]> {
  const response = await fetch(`${url}/api/v1/query?${new URLSearchParams({ query: expr })}`);
  const { status, data }: Answer = JSON.parse(await response.text());
  expect(status, expr).toBe('success');
  return data?.result ?? [];
}

describe.skipIf(reason !== undefined)(`with Prometheus${reason === undefined ? '' : `: ${reason}`}`, () => {
  it('every panel shows something of real runs', { timeout: 120_000 }, async () => {
    const [emulator, database] = await Promise.all([
      startEmulator({ rowsPerDay: 20, sites: [SITE] }),
      testDatabase(),
    ]);
    onTestFinished(async () => {
      await Promise.all([emulator.close(), database.close()]);
    });
    const port = await freePort();
    const backend = fork(BACKEND, [], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      execArgv: [],
      env: {
        PATH: process.env.PATH,
        DATABASE: database.url,
        API_ROOT: emulator.url,
        SITE,
        OTEL_METRICS_EXPORTER: 'prometheus',
        OTEL_EXPORTER_PROMETHEUS_HOST: '127.0.0.1',
        OTEL_EXPORTER_PROMETHEUS_PORT: String(port),
        OTEL_NODE_RESOURCE_DETECTORS: 'none',
      },
    });
    onTestFinished(() => end(backend));
    await once(backend, 'message');
    // The third run plans, and then waits for its first rows.
    emulator.setFaults({
      rules: [{ match: { dimensions: 'page' }, action: { kind: 'delay', ms: 300_000 } }],
    });
    const served = start(['metrics', '--port', '0'], { env: { DATABASE_URL: database.url } });
    await expect.poll(() => served.said().stdout, { timeout: 30_000 }).toMatch(/127\.0\.0\.1:\d+/);
    const [, ownPort = ''] = /127\.0\.0\.1:(\d+)/.exec(served.said().stdout) ?? [];
    const targets = [`127.0.0.1:${port}`, `127.0.0.1:${ownPort}`];
    const prometheus = await startPrometheus(targets);
    backend.send('go on');

    for (const { title, queries } of ROWS.flatMap(({ panels }) => panels)) {
      for (const { expr } of queries) {
        const asked = expr
          .replaceAll('$property', '.+')
          .replaceAll('$__rate_interval', '1m')
          .replaceAll('$__range', '1h');
        const count = async () => (await ask(prometheus, asked)).length;
        await expect.poll(count, { timeout: 30_000, message: `${title}: ${asked}` }).toBeGreaterThan(0);
      }
    }
    // Nothing is wrong, so nothing but what a moment of waiting may set off fires.
    expect(await ask(prometheus, 'ALERTS{alertstate="firing",severity=~"page|ticket"}')).toEqual([]);
    const { password } = new URL(database.url);
    for (const target of targets) {
      const text = await (await fetch(`http://${target}/metrics`)).text();
      expect(text).toContain(SITE);
      expect(text).not.toContain(password);
    }
    served.child.kill('SIGINT');
    expect((await served.finished).code).toBe(0);
  });
});
