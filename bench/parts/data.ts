/** Part 2: large answers from a fast server. Compares the synchronisation with the limits of the machine. */
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AnswerFigures, measureAnswers } from '../support/answers.ts';
import { type BenchContext, repeat } from '../support/context.ts';
import { type CopyFigure, exportRows, measureCopy } from '../support/copy.ts';
import { type BenchEmulator, startBenchEmulator } from '../support/emulator.ts';
import { dataJob, type Job } from '../support/jobs.ts';
import { measureLoopback } from '../support/loopback.ts';
import { findPsql } from '../support/postgres.ts';
import type { PartResult } from '../support/report.ts';
import { median, medianBy } from '../support/statistics.ts';
import { runSync, type SyncFigures } from '../support/sync.ts';
import { seconds, whole } from '../support/text.ts';
import { type Measured, presentData } from './data-report.ts';

export interface DataFigures {
  readonly days: number;
  readonly rows: number;
  readonly concurrency: number;
  readonly wallMs: number;
  readonly wallMsOfRuns: readonly number[];
  readonly rowsPerSecond: number;
  readonly peakRssBytes: number;
  readonly loopDelayMs: SyncFigures['loopDelayMs'];
  /** CPU time of the synchronisation, the emulator and the server during the median run. */
  readonly cpuMs: { readonly sync: number; readonly emulator: number; readonly server: number | null };
  readonly emulatorBusyShare: number;
  readonly cores: number;
  /** Null if psql is not installed. The driver then feeds the COPY. */
  readonly psql: string | null;
  readonly copyBytes: number;
  readonly copyOne: CopyFigure;
  readonly copyTwo: CopyFigure;
  readonly answers: AnswerFigures;
  readonly loopbackMs: number;
  /** CPU time of the server's COPY, of parsing and of the emulator, divided by the cores. Null if the server's is unknown. */
  readonly sharedCpuMs: number | null;
  /** The largest limit, including COPY on one connection. */
  readonly largestLimitMs: number;
  readonly rooflineRatio: number;
  /** The same with the faster of the two COPYs, which is stricter. */
  readonly strictRatio: number;
}

const DAYS = 150;
const CONCURRENCY = 3;

export async function data(context: BenchContext): Promise<PartResult<DataFigures>> {
  const { job, emulator: options } = dataJob(DAYS, context.scale);
  const folder = await mkdtemp(join(tmpdir(), 'longtail-bench-rows-'));
  await using emulator = await startBenchEmulator(options);
  try {
    // Not measured: the emulator prepares the answers for the following runs.
    const first = await measureSync(context, job, emulator);
    context.say(`the emulator has made ${whole(first.sync.outcome.rows)} rows`);
    await context.server.drop(first.database);
    const runs = await repeat(context.runs, async (run) => {
      const measured = await measureSync(context, job, emulator);
      context.say(`${whole(measured.sync.outcome.rows)} rows in ${seconds(measured.sync.wallMs)}`);
      if (run < context.runs - 1) await context.server.drop(measured.database);
      return measured;
    });
    const last = runs.at(-1)?.database ?? '';
    const rows = await exportRows(last, folder);
    await context.server.drop(last);
    const psql = findPsql();
    const copy = async (connections: 1 | 2): Promise<CopyFigure> => {
      const how = { connections, psql: psql !== undefined };
      const figures = await repeat(context.runs, () => measureCopy(context.server, rows, how));
      const figure = medianBy(figures, ({ wallMs }) => wallMs);
      context.say(`COPY on ${connections}: ${seconds(figure.wallMs)}`);
      return figure;
    };
    const [copyOne, copyTwo] = [await copy(1), await copy(2)];
    const answers = await measureAnswers(emulator.url, job, options.rowsPerDay ?? 0);
    const loopbackMs = median(await repeat(context.runs, () => measureLoopback(answers.wireBytes)));
    const figures = summarise(runs, { copyOne, copyTwo, answers, loopbackMs, copyBytes: rows.bytes, psql });
    return presentData(figures);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

interface SyncRun {
  readonly sync: SyncFigures;
  readonly database: string;
  readonly emulatorCpuMs: number;
  readonly emulatorBusyShare: number;
  readonly serverCpuMs: number | null;
}

/** The caller drops the database. */
async function measureSync(context: BenchContext, job: Job, emulator: BenchEmulator): Promise<SyncRun> {
  const { server } = context;
  const database = await server.database();
  const cpuBefore = await server.cpuMs();
  await emulator.load();
  const { siteUrl, from, to, datasets, searchTypes } = job;
  const sync = await runSync(context, {
    ...{ siteUrl, from, to, datasets, searchTypes, database },
    apiRoot: emulator.url,
    maxConcurrency: CONCURRENCY,
  });
  const load = await emulator.load();
  const cpuAfter = await server.cpuMs();
  return {
    sync,
    database,
    emulatorCpuMs: load.cpuMs,
    emulatorBusyShare: load.busyShare,
    serverCpuMs: cpuBefore === null || cpuAfter === null ? null : cpuAfter - cpuBefore,
  };
}

function summarise(runs: readonly SyncRun[], measured: Measured): DataFigures {
  const { copyOne, copyTwo, answers, loopbackMs, copyBytes, psql } = measured;
  const middle = medianBy(runs, ({ sync }) => sync.wallMs);
  const { sync } = middle;
  const cores = availableParallelism();
  const sharedCpuMs =
    copyOne.serverCpuMs === null
      ? null
      : (copyOne.serverCpuMs + answers.parseMs + middle.emulatorCpuMs) / cores;
  const others = [answers.parseMs, loopbackMs, sharedCpuMs ?? 0];
  const largestLimitMs = Math.max(copyOne.wallMs, copyTwo.wallMs, ...others);
  const strictLimitMs = Math.max(Math.min(copyOne.wallMs, copyTwo.wallMs), ...others);
  return {
    days: sync.outcome.slices.planned,
    rows: sync.outcome.rows,
    concurrency: CONCURRENCY,
    wallMs: sync.wallMs,
    wallMsOfRuns: runs.map((run) => run.sync.wallMs),
    rowsPerSecond: sync.outcome.rows / (sync.wallMs / 1_000),
    peakRssBytes: Math.max(...runs.map((run) => run.sync.peakRssBytes)),
    loopDelayMs: sync.loopDelayMs,
    cpuMs: { sync: sync.cpuMs, emulator: middle.emulatorCpuMs, server: middle.serverCpuMs },
    emulatorBusyShare: middle.emulatorBusyShare,
    cores,
    psql: psql ?? null,
    ...{ copyBytes, copyOne, copyTwo, answers, loopbackMs, sharedCpuMs, largestLimitMs },
    rooflineRatio: sync.wallMs / largestLimitMs,
    strictRatio: sync.wallMs / strictLimitMs,
  };
}
