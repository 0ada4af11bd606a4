/** Part 4: what people use today, with the same jobs, server and PostgreSQL. */
import type { EmulatorOptions } from '../../src/emulator/index.ts';
import { prepareAnswers } from '../support/answers.ts';
import { startChild } from '../support/child.ts';
import { type BenchContext, repeat } from '../support/context.ts';
import { type BenchEmulator, startBenchEmulator } from '../support/emulator.ts';
import { bodyOf, dataJob, type Job, type JobSlice, latencyJob, slicesOf } from '../support/jobs.ts';
import type { PeerKind, PeerReport, PeerTask } from '../support/peer-process.ts';
import { withDatabase } from '../support/postgres.ts';
import { type Goal, goal, type PartResult, type Table } from '../support/report.ts';
import { medianBy } from '../support/statistics.ts';
import { runSync } from '../support/sync.ts';
import { seconds, times, whole } from '../support/text.ts';
import { serverAt } from './latency.ts';

export interface PeerFigure {
  readonly name: string;
  readonly isOurs: boolean;
  /** The slices that were fetched, of all in the job. */
  readonly sampled: number;
  readonly slices: number;
  readonly rows: number;
  /** Time of the sample. */
  readonly measuredMs: number;
  /** Time of the whole job: measured, or scaled from the sample. */
  readonly wallMs: number;
  readonly isScaled: boolean;
}

export interface PeerFigures {
  readonly latency: readonly PeerFigure[];
  readonly data: readonly PeerFigure[];
}

const NAMES: Readonly<Record<PeerKind, string>> = {
  loop: 'Google’s client in a loop, inserts of 1,000 rows by Drizzle',
  queue: 'the same with p-queue (3 at a time) and p-throttle',
  upserts: 'one page at a time with upserts, as Singer targets do',
};
const KINDS: readonly PeerKind[] = ['loop', 'queue', 'upserts'];
/** Slices in the samples. Each waits two seconds in the latency-bound job, and has 50,000 rows in the data-bound one. */
const SAMPLES = { latency: { loop: 20, queue: 60, upserts: 20 }, data: { loop: 6, queue: 9, upserts: 6 } };
const OURS = { latency: [3, 8], data: [3] } as const;

export async function peers(context: BenchContext): Promise<PartResult<PeerFigures>> {
  const small = latencyJob(context.scale);
  const large = dataJob(150, context.scale);
  const latency = await compare(context, 'latency', small.job, {
    ...small.emulator,
    ...serverAt(context.scale),
  });
  const data = await compare(context, 'data', large.job, large.emulator);
  return {
    title: 'What people use today',
    figures: { latency, data },
    tables: [table('The latency-bound job', latency), table('The data-bound job', data)],
    goals: [
      ...goalsOf('Latency-bound', latency, { loop: 20, queue: 8 }),
      ...goalsOf('Data-bound', data, { loop: 2, queue: 2 }),
    ],
    notes: [
      'Figures with * are scaled: the job’s first slices were fetched, and their time multiplied by the slices that are left out. Each ran in a process of its own, its imports not counted.',
      'The loops write into a table without an index, the upserts into one with a primary key. None of them remembers what it has, retries, or shows whole days only.',
    ],
  };
}

async function compare(
  context: BenchContext,
  name: keyof typeof SAMPLES,
  job: Job,
  options: EmulatorOptions,
): Promise<PeerFigure[]> {
  const slices = slicesOf(job);
  const rowsPerDay = options.rowsPerDay ?? 0;
  const prepare =
    name === 'latency' ? slices.map((slice) => ({ siteUrl: job.siteUrl, body: bodyOf(slice) })) : [];
  await using emulator = await startBenchEmulator({ ...options, answerCacheBytes: 8 * 2 ** 30 }, prepare);
  const figures: PeerFigure[] = [];
  // Not measured: the answers are prepared in this run.
  if (name === 'data' && !context.isTrial) await ours(context, job, emulator, slices.length, OURS.data[0], 1);
  for (const concurrency of context.isTrial ? [3] : OURS[name]) {
    figures.push(await ours(context, job, emulator, slices.length, concurrency, context.runs));
  }
  for (const kind of KINDS) {
    const sample = slices.slice(0, SAMPLES[name][kind]);
    if (name === 'data') await prepareAnswers(emulator.url, job.siteUrl, sample, rowsPerDay);
    figures.push(await theirs(context, job, emulator, kind, sample, slices.length));
  }
  for (const figure of figures) context.say(`${name}: ${figure.name}: ${seconds(figure.wallMs)}`);
  return figures;
}

async function ours(
  context: BenchContext,
  job: Job,
  emulator: BenchEmulator,
  slices: number,
  maxConcurrency: number,
  runs: number,
): Promise<PeerFigure> {
  const { siteUrl, from, to, datasets, searchTypes } = job;
  const results = await repeat(runs, () =>
    withDatabase(context.server, (database) =>
      runSync(context, {
        ...{ siteUrl, from, to, datasets, searchTypes, database },
        apiRoot: emulator.url,
        maxConcurrency,
      }),
    ),
  );
  const { wallMs, outcome } = medianBy(results, (result) => result.wallMs);
  return {
    name: `Longtail, concurrency ${maxConcurrency}`,
    isOurs: true,
    sampled: slices,
    slices,
    rows: outcome.rows,
    measuredMs: wallMs,
    wallMs,
    isScaled: false,
  };
}

async function theirs(
  context: BenchContext,
  job: Job,
  emulator: BenchEmulator,
  kind: PeerKind,
  sample: readonly JobSlice[],
  slices: number,
): Promise<PeerFigure> {
  const results = await repeat(context.runs, () =>
    withDatabase(context.server, async (database) => {
      const task: PeerTask = { kind, apiRoot: emulator.url, database, siteUrl: job.siteUrl, slices: sample };
      await using child = await startChild(new URL('../support/peer-process.ts', import.meta.url), task);
      return (await child.next()) as PeerReport;
    }),
  );
  const { wallMs, rows } = medianBy(results, (result) => result.wallMs);
  return {
    name: NAMES[kind],
    isOurs: false,
    sampled: sample.length,
    slices,
    rows,
    measuredMs: wallMs,
    wallMs: (wallMs * slices) / sample.length,
    isScaled: sample.length < slices,
  };
}

function table(title: string, figures: readonly PeerFigure[]): Table {
  const best = quickest(figures);
  return {
    title,
    columns: ['', 'slices fetched', 'measured', 'whole job', 'rows/s', 'Longtail is quicker'],
    rows: figures.map((figure) => [
      figure.name,
      `${whole(figure.sampled)} of ${whole(figure.slices)}`,
      seconds(figure.measuredMs),
      `${seconds(figure.wallMs)}${figure.isScaled ? ' *' : ''}`,
      whole(figure.rows / (figure.measuredMs / 1_000)),
      figure.isOurs ? '' : times(figure.wallMs / best),
    ]),
  };
}

const quickest = (figures: readonly PeerFigure[]): number =>
  Math.min(...figures.filter(({ isOurs }) => isOurs).map(({ wallMs }) => wallMs));

function goalsOf(
  job: string,
  figures: readonly PeerFigure[],
  wanted: { readonly loop: number; readonly queue: number },
): Goal[] {
  const best = quickest(figures);
  return (['loop', 'queue'] as const).map((kind) => {
    const ratio = (figures.find(({ name }) => name === NAMES[kind])?.wallMs ?? 0) / best;
    const what = kind === 'loop' ? 'Google’s client in a loop' : 'p-queue and p-throttle';
    return goal(`${job}, against ${what}`, `≥ ${wanted[kind]}×`, times(ratio), ratio >= wanted[kind]);
  });
}
