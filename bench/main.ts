/**
 * The bench: `npm run bench [-- part …] [--scale 1] [--runs 3] [--out bench/results] [--profiles DIR] [--server URL]`.
 * Parts: latency, data, quota, peers, control, growth, questions; all of them by default. Each writes its figures into the
 * report as soon as it has them. `--server` uses a PostgreSQL on this machine instead of the embedded one. A scale below 1 only prints
 * the report, unless `--out` says where to write it.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { PARTS } from './parts/index.ts';
import type { BenchContext } from './support/context.ts';
import { describeMachine } from './support/machine.ts';
import { startServer, useServer } from './support/postgres.ts';
import { markdown, type PartReport, type Report } from './support/report.ts';

const TRIAL_SCALE = 0.01;
const RESULTS = fileURLToPath(new URL('./results', import.meta.url));

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    scale: { type: 'string', default: '1' },
    runs: { type: 'string', default: '3' },
    out: { type: 'string' },
    profiles: { type: 'string' },
    server: { type: 'string' },
  },
});
const scale = Number(values.scale);
const runs = Number(values.runs);
if (!(scale > 0 && scale <= 1)) throw new Error('--scale is a number above 0, up to 1.');
if (!Number.isInteger(runs) || runs < 1) throw new Error('--runs is a whole number from 1.');
const names = positionals.length > 0 ? positionals : Object.keys(PARTS);
const folder = values.out === undefined ? (scale === 1 ? RESULTS : undefined) : resolve(values.out);

await using server = values.server === undefined ? await startServer() : await useServer(values.server);
const machine = describeMachine(server.version);
let report = await readReport(folder);
for (const name of names) {
  const part = PARTS[name];
  if (part === undefined) throw new Error(`There is no part "${name}": ${Object.keys(PARTS).join(', ')}.`);
  const context: BenchContext = {
    server,
    scale,
    runs,
    isTrial: scale < TRIAL_SCALE,
    profiles: values.profiles === undefined ? undefined : resolve(values.profiles),
    say: (line) => console.error(`${name}: ${line}`),
  };
  const startedAt = new Date().toISOString();
  const startedMs = performance.now();
  const result = await part(context);
  const measured: PartReport = {
    ...result,
    startedAt,
    durationMs: performance.now() - startedMs,
    scale,
    runs,
    machine,
  };
  report = { parts: inOrder({ ...report.parts, [name]: measured }) };
  if (folder !== undefined) await writeReport(folder, report);
}
if (folder === undefined) console.log(markdown(report));
else console.log(`The report is in ${folder}: report.md, report.json.`);

async function readReport(from: string | undefined): Promise<Report> {
  if (from === undefined) return { parts: {} };
  try {
    // Only this script writes it.
    return JSON.parse(await readFile(`${from}/report.json`, 'utf8')) as Report;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return { parts: {} };
    throw error;
  }
}

async function writeReport(to: string, what: Report): Promise<void> {
  await mkdir(to, { recursive: true });
  await writeFile(`${to}/report.json`, `${JSON.stringify(what, null, 2)}\n`);
  await writeFile(`${to}/report.md`, markdown(what));
}

function inOrder(parts: Readonly<Record<string, PartReport>>): Record<string, PartReport> {
  return Object.fromEntries(
    Object.keys(PARTS).flatMap((name) => {
      const part = parts[name];
      return part === undefined ? [] : [[name, part]];
    }),
  );
}
