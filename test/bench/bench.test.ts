// @module-tag long
/** Every part of the bench at the smallest size: that it runs and reports, not how fast anything is. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, inject, it } from 'vitest';
import type { DataFigures } from '../../bench/parts/data.ts';
import '../support/postgres.ts';
import { PARTS } from '../../bench/parts/index.ts';
import type { LatencyFigures } from '../../bench/parts/latency.ts';
import type { Report } from '../../bench/support/report.ts';

const run = promisify(execFile);
const script = (name: string): string => fileURLToPath(new URL(`../../bench/${name}`, import.meta.url));

it('every part runs, reports, and is drawn', { timeout: 420_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'longtail-bench-test-'));
  try {
    const options = ['--scale', '0.002', '--runs', '1', '--out', folder, '--server', inject('testServerUrl')];
    const node = ['--disable-warning=ExperimentalWarning'];
    // A bench that hangs is killed: its processes end with it.
    await run(process.execPath, [...node, script('main.ts'), ...options], { timeout: 400_000 });
    const report = JSON.parse(await readFile(join(folder, 'report.json'), 'utf8')) as Report;
    expect(Object.keys(report.parts)).toEqual(Object.keys(PARTS));
    for (const part of Object.values(report.parts)) {
      expect(part.tables.flatMap(({ rows }) => rows).length).toBeGreaterThan(0);
      expect(JSON.stringify([part.tables, part.goals])).not.toMatch(/NaN|Infinity|undefined/);
    }
    const latency = report.parts.latency?.figures as LatencyFigures;
    for (const { wallMs, idealMs, httpCalls } of [...latency.batches, ...latency.plain]) {
      expect(httpCalls).toBeGreaterThan(1);
      expect(idealMs).toBeGreaterThan(0);
      // Nothing is faster than the critical path of what was served.
      expect(wallMs).toBeGreaterThan(idealMs);
    }
    const data = report.parts.data?.figures as DataFigures;
    expect(data.rows).toBe(data.days * 2_000);
    await run(process.execPath, [script('draw.ts'), folder]);
    expect(await readFile(join(folder, 'bench.svg'), 'utf8')).not.toMatch(/NaN|Infinity|undefined/);
    expect(await readFile(join(folder, 'report.md'), 'utf8')).toContain('a small run');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
