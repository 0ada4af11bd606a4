/** Part 6: more days. The time must grow linearly, the memory must not grow. */
import { type BenchContext, repeat } from '../support/context.ts';
import { startBenchEmulator } from '../support/emulator.ts';
import { dataJob } from '../support/jobs.ts';
import { withDatabase } from '../support/postgres.ts';
import { goal, type PartResult } from '../support/report.ts';
import { medianBy } from '../support/statistics.ts';
import { runSync } from '../support/sync.ts';
import { megabytes, percent, seconds, whole } from '../support/text.ts';

export interface GrowthFigure {
  readonly days: number;
  readonly rows: number;
  readonly wallMs: number;
  readonly peakRssBytes: number;
}

export interface GrowthFigures {
  readonly concurrency: number;
  readonly sizes: readonly GrowthFigure[];
}

const DAYS = [30, 60, 120, 240, 480] as const;
const CONCURRENCY = 3;

export async function growth(context: BenchContext): Promise<PartResult<GrowthFigures>> {
  const sizes: GrowthFigure[] = [];
  await using emulator = await startBenchEmulator(dataJob(1, context.scale).emulator);
  for (const days of context.isTrial ? [DAYS[0]] : DAYS) {
    const { siteUrl, from, to, datasets, searchTypes } = dataJob(days, context.scale).job;
    const runOnce = () =>
      withDatabase(context.server, (database) =>
        runSync(context, {
          ...{ siteUrl, from, to, datasets, searchTypes, database },
          apiRoot: emulator.url,
          maxConcurrency: CONCURRENCY,
        }),
      );
    // Not measured: the emulator prepares its answers in this run.
    await runOnce();
    const results = await repeat(context.runs, runOnce);
    const { wallMs, outcome } = medianBy(results, (result) => result.wallMs);
    const peak = medianBy(results, (result) => result.peakRssBytes).peakRssBytes;
    sizes.push({ days: outcome.slices.planned, rows: outcome.rows, wallMs, peakRssBytes: peak });
    context.say(`${outcome.slices.planned} days: ${seconds(wallMs)}, ${megabytes(peak)}`);
  }
  return present({ concurrency: CONCURRENCY, sizes });
}

function present(figures: GrowthFigures): PartResult<GrowthFigures> {
  const { sizes, concurrency } = figures;
  const [first, last] = [sizes[0], sizes.at(-1)];
  if (first === undefined || last === undefined) throw new Error('growth needs at least one size');
  const straight = last.wallMs / ((first.wallMs * last.days) / first.days) - 1;
  const peaks = sizes.map(({ peakRssBytes }) => peakRssBytes);
  const rise = last.peakRssBytes / first.peakRssBytes - 1;
  return {
    title: `Growth: days of ${whole(first.rows / first.days)} rows`,
    figures,
    tables: [
      {
        title: `At concurrency ${concurrency}`,
        columns: ['days', 'rows', 'time', 'time a day', 'rows/s', 'peak memory'],
        rows: sizes.map(({ days, rows, wallMs, peakRssBytes }) => [
          String(days),
          whole(rows),
          seconds(wallMs),
          `${(wallMs / days).toFixed(1)} ms`,
          whole(rows / (wallMs / 1_000)),
          megabytes(peakRssBytes),
        ]),
      },
    ],
    goals: [
      goal(
        `Growth, ${last.days} days against ${last.days / first.days} × ${first.days} days’ time`,
        'within 10 %',
        percent(straight),
        straight <= 0.1,
      ),
      goal(
        'Growth, peak memory of the most days against the fewest',
        'within 20 %',
        percent(rise),
        rise <= 0.2,
      ),
    ],
    notes: [
      `Peak memory is between ${megabytes(Math.min(...peaks))} and ${megabytes(Math.max(...peaks))}. Before each size comes a run that is not counted: the emulator makes its answers in it.`,
      'What grows with the days: the hashes of the keys of slices that are begun (73 KB each: three batches of 50 begin 150, and 30 days are no more than 30), and by some megabytes V8’s spaces, which widen while a run lasts. V8 is made to mark its heap every few pages (`src/postgres/commit/heap-nudge.ts`).',
    ],
  };
}
