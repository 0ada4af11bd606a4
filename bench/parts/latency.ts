/** Part 1: small answers from a slow server. Compares concurrent runs with the critical path of the served calls. */
import type { EmulatorOptions } from '../../src/emulator/index.ts';
import { type BenchContext, repeat } from '../support/context.ts';
import { type BenchEmulator, BUSY_EMULATOR, startBenchEmulator } from '../support/emulator.ts';
import { bodyOf, type Job, latencyJob, slicesOf } from '../support/jobs.ts';
import { withDatabase } from '../support/postgres.ts';
import { goal, type PartResult } from '../support/report.ts';
import { idealMs, type ServedCall, sequentialMs, servedCalls, steadily } from '../support/schedule.ts';
import { medianBy } from '../support/statistics.ts';
import { trySync } from '../support/sync.ts';
import { percent, seconds, times } from '../support/text.ts';

export interface LatencyFigure {
  readonly concurrency: number | 'auto';
  readonly batchSize: number;
  readonly runs: number;
  readonly wallMs: number;
  /** The critical path of this run's calls. */
  readonly idealMs: number;
  /** The sum of the latencies of its calls. */
  readonly sequentialMs: number;
  readonly httpCalls: number;
  /** The time of the sequential loop divided by this run's; 0 until the loop has been measured. */
  readonly speedUp: number;
  /** The number of workers at the end, and the maximum. They differ only with `auto`. */
  readonly mostWorkers: number;
  readonly emulatorCpuMs: number;
  readonly emulatorBusyShare: number;
}

export interface LatencyFigures {
  readonly slices: number;
  readonly latencyMs: number;
  readonly batches: readonly LatencyFigure[];
  readonly plain: readonly LatencyFigure[];
}

const BATCH_SIZE = 50;
const SERVER: EmulatorOptions = { latencyMs: 2_000, latencyJitter: 0.5, perPartMs: 10 };
const CONCURRENCIES = [1, 3, 5, 8, 12, 'auto'] as const;
const PLAIN_CONCURRENCIES = [8, 16, 32] as const;

/** Smaller runs have shorter latencies, in proportion to their size. */
export const serverAt = (scale: number): EmulatorOptions =>
  scale >= 0.5 ? SERVER : { ...SERVER, latencyMs: Math.max(20, 2_000 * scale), perPartMs: 10 * scale };

export async function latency(context: BenchContext): Promise<PartResult<LatencyFigures>> {
  const { scale, runs } = context;
  const { job, emulator } = latencyJob(scale);
  const options = { ...emulator, ...serverAt(scale), answerCacheBytes: 2 ** 28 };
  const slices = slicesOf(job).length;
  const measured: LatencyFigure[] = [];
  const notes: string[] = [];
  for (const concurrency of context.isTrial ? ([1, 3] as const) : CONCURRENCIES) {
    const figure = await measure(context, job, options, { concurrency, batchSize: BATCH_SIZE, runs });
    if (typeof figure === 'string') notes.push(figure);
    else measured.push(figure);
  }
  const plain: LatencyFigure[] = [];
  for (const concurrency of context.isTrial ? ([8] as const) : PLAIN_CONCURRENCIES) {
    const figure = await measure(context, job, options, { concurrency, batchSize: 1, runs: 1 });
    if (typeof figure !== 'string') plain.push(figure);
  }
  const loopMs = measured.find(({ concurrency }) => concurrency === 1)?.wallMs ?? Number.NaN;
  const withSpeed = (figure: LatencyFigure): LatencyFigure => ({
    ...figure,
    speedUp: loopMs / figure.wallMs,
  });
  const figures: LatencyFigures = {
    slices,
    latencyMs: options.latencyMs ?? 0,
    batches: measured.map(withSpeed),
    plain: plain.map(withSpeed),
  };
  return { ...present(figures), notes: [...notes, ...explain(figures)] };
}

async function measure(
  context: BenchContext,
  job: Job,
  options: EmulatorOptions,
  how: { readonly concurrency: number | 'auto'; readonly batchSize: number; readonly runs: number },
): Promise<LatencyFigure | string> {
  const { concurrency, batchSize, runs } = how;
  const results = await repeat(runs, () => measureOnce(context, job, options, concurrency, batchSize));
  const problem = results.find((result) => typeof result === 'string');
  if (problem !== undefined) return problem;
  const figures = results.filter((result) => typeof result !== 'string');
  const middle = medianBy(figures, ({ wallMs }) => wallMs);
  context.say(
    `${transport(batchSize)}, concurrency ${concurrency}: ${seconds(middle.wallMs)}, ideal ${seconds(middle.idealMs)}`,
  );
  return { ...middle, runs };
}

/** Runs with its own emulator. Latencies depend on the numbers of the calls, so they are the same in every run. */
async function measureOnce(
  { server, ...context }: BenchContext,
  job: Job,
  options: EmulatorOptions,
  concurrency: number | 'auto',
  batchSize: number,
): Promise<LatencyFigure | string> {
  const prepare = slicesOf(job).map((slice) => ({ siteUrl: job.siteUrl, body: bodyOf(slice) }));
  await using emulator: BenchEmulator = await startBenchEmulator(options, prepare);
  return await withDatabase(server, async (database) => {
    const { from, to, siteUrl, datasets, searchTypes } = job;
    await emulator.load();
    const report = await trySync(
      { server, ...context },
      {
        siteUrl,
        from,
        to,
        datasets,
        searchTypes,
        database,
        apiRoot: emulator.url,
        maxConcurrency: concurrency,
        batchSize,
      },
    );
    const load = await emulator.load();
    if (report.kind === 'failed') {
      if (concurrency !== 'auto') throw new Error(`${report.code}: ${report.message}`);
      return `Concurrency \`auto\` was not measured: ${report.message}`;
    }
    if (report.outcome.status !== 'complete') throw new Error(`it ended as ${report.outcome.status}`);
    const calls: readonly ServedCall[] = servedCalls(await emulator.requests(), options);
    const workers = concurrency === 'auto' ? report.concurrency : steadily(concurrency);
    return {
      concurrency,
      batchSize,
      runs: 1,
      wallMs: report.wallMs,
      idealMs: idealMs(calls, workers),
      sequentialMs: sequentialMs(calls),
      httpCalls: calls.length,
      speedUp: 0,
      mostWorkers: Math.max(...workers.map((step) => step.workers)),
      emulatorCpuMs: load.cpuMs,
      emulatorBusyShare: load.busyShare,
    };
  });
}

const transport = (batchSize: number): string =>
  batchSize === 1 ? 'plain requests' : `batches of ${batchSize}`;

const nameOf = ({ concurrency, mostWorkers }: LatencyFigure): string =>
  concurrency === 'auto' ? `auto (up to ${mostWorkers})` : String(concurrency);

function present(figures: LatencyFigures): Omit<PartResult<LatencyFigures>, 'notes'> {
  const { slices, batches, plain } = figures;
  const row = (figure: LatencyFigure): string[] => [
    nameOf(figure),
    seconds(figure.wallMs),
    times(figure.speedUp),
    seconds(figure.idealMs),
    percent(figure.wallMs / figure.idealMs - 1),
    String(figure.httpCalls),
    seconds(figure.emulatorCpuMs),
  ];
  const columns = [
    'concurrency',
    'time',
    'against the loop',
    'ideal',
    'above it',
    'HTTP calls',
    'emulator’s CPU',
  ];
  const fixed = batches.filter(({ concurrency }) => concurrency !== 'auto');
  const best = fixed.reduce((most, { speedUp }) => Math.max(most, speedUp), 0);
  const speedOf = (concurrency: number | 'auto'): number =>
    batches.find((figure) => figure.concurrency === concurrency)?.speedUp ?? 0;
  const atLeast = (what: string, wanted: number, found: number) =>
    goal(what, `≥ ${wanted}×`, times(found), found >= wanted);
  const furthest = Math.max(...batches.map(({ wallMs, idealMs: ideal }) => wallMs / ideal - 1));
  return {
    title: `Latency-bound: ${slices} slices of one page, ${figures.latencyMs} ms a call`,
    figures,
    tables: [
      { title: `Batches of ${BATCH_SIZE}`, columns, rows: batches.map(row) },
      { title: 'Plain requests, one run each', columns, rows: plain.map(row) },
    ],
    goals: [
      atLeast('Latency-bound, concurrency 3', 2.7, speedOf(3)),
      atLeast('Latency-bound, concurrency 8', 6.5, speedOf(8)),
      atLeast('Latency-bound, the best fixed concurrency', 8, best),
      atLeast('Latency-bound, `auto`', 5, speedOf('auto')),
      goal('Latency-bound, above the ideal', '≤ 15 %', percent(furthest), furthest <= 0.15),
    ],
  };
}

function explain({ batches, plain }: LatencyFigures): string[] {
  const fastest = (list: readonly LatencyFigure[]): LatencyFigure =>
    medianBy([...list], ({ wallMs }) => wallMs);
  const quickest = batches.toSorted((a, b) => a.wallMs - b.wallMs)[0] ?? fastest(batches);
  const plainest = plain.toSorted((a, b) => a.wallMs - b.wallMs)[0] ?? fastest(plain);
  const winner = quickest.wallMs <= plainest.wallMs ? quickest : plainest;
  const busy = [...batches, ...plain].filter((figure) => figure.emulatorBusyShare > BUSY_EMULATOR);
  return [
    ...busy.map(
      (figure) =>
        `With ${transport(figure.batchSize)} at concurrency ${nameOf(figure)} the emulator’s thread was busy ${percent(figure.emulatorBusyShare)} of the time: it was the bottleneck.`,
    ),
    'Answers were made and compressed beforehand, all but the calendars.',
    'The ideal is the critical path over the latencies that the emulator served in that very run: calendars first, beside them the calls that did not wait for one, then each call as soon as a worker is free.',
    'Latencies follow from the calls’ numbers, so the first call of every run waits as long as that of every other.',
    `Here a batch waits once for all its parts, and 10 ms a part. With that model ${transport(winner.batchSize)} at concurrency ${winner.concurrency} are fastest. Were the parts of a batch served one after another at the latency of a plain request, a batch of 50 would take as long as 50 of them, and plain requests at a high concurrency would win: \`--batch-size 1 --max-concurrency 32\`.`,
  ];
}
