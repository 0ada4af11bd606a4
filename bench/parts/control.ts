/** Part 5: halts, tokens, the machines, start-up. */
import { migrate } from '../../src/postgres/schema/migrate.ts';
import { type BenchContext, repeat } from '../support/context.ts';
import { startBenchEmulator } from '../support/emulator.ts';
import { measureHalts } from '../support/halts.ts';
import { type Job, range, SITE } from '../support/jobs.ts';
import { measureMachines } from '../support/machines.ts';
import { withDatabase } from '../support/postgres.ts';
import { goal, type PartResult } from '../support/report.ts';
import { measureStartUp } from '../support/start-up.ts';
import { median, percentile } from '../support/statistics.ts';
import { millis, whole } from '../support/text.ts';
import { measureLeaseInserts, measureTokenWaits } from '../support/tokens.ts';

interface Spread {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly most: number;
}

export interface ControlFigures {
  readonly haltMs: Spread;
  readonly tokenWaitMs: Spread;
  readonly leaseInsertMs: Spread;
  /** CPU time of all machines together, by concurrency. */
  readonly machines: readonly {
    readonly concurrency: number;
    readonly pages: number;
    readonly microsAPage: number;
  }[];
  readonly startUpMs: Spread;
}

const HALTS = 200;
/** About the length of an undisturbed run, so that halts hit its opening, its calls and its end. */
const SPREAD_MS = 700;
const SEED = 20_260_101;

export async function control(context: BenchContext): Promise<PartResult<ControlFigures>> {
  const count = (whole: number): number => Math.max(4, Math.round(whole * context.scale));
  const job: Job = {
    siteUrl: SITE,
    ...range(40),
    datasets: ['page', 'page+query'],
    searchTypes: ['web'],
  };
  const machines = await measureAllMachines(context, count(20_000));
  // Some answers are large, so that some halts hit the middle of a COPY.
  const options = {
    sites: [SITE],
    rowsPerDay: 4_000,
    latencyMs: 40,
    latencyJitter: 0.5,
    answerCacheBytes: 2 ** 28,
  };
  await using emulator = await startBenchEmulator(options);
  const apiRoot = emulator.url;
  return await withDatabase(context.server, async (database) => {
    await migrate(database);
    const waits = await measureTokenWaits(job, database, apiRoot);
    const inserts = await measureLeaseInserts(database, count(1_000));
    const startUps = await repeat(Math.max(context.runs, count(20)), () =>
      measureStartUp(emulator, database),
    );
    context.say(`start-up ${millis(median(startUps))}, ${waits.length} token requests`);
    const halts = await measureHalts({
      job,
      database,
      apiRoot,
      halts: count(HALTS),
      seed: SEED,
      spreadMs: SPREAD_MS,
    });
    return present({
      haltMs: spread(halts.map(({ tookMs }) => tookMs)),
      tokenWaitMs: spread(waits),
      // The first is slower, because it is parsed and planned.
      leaseInsertMs: spread(inserts.slice(1)),
      machines,
      startUpMs: spread(startUps),
    });
  });
}

async function measureAllMachines(context: BenchContext, pages: number): Promise<ControlFigures['machines']> {
  const figures: { concurrency: number; pages: number; microsAPage: number }[] = [];
  for (const concurrency of [3, 16]) {
    // The first run warms up the compiler.
    await measureMachines(pages, concurrency);
    const micros = await repeat(context.runs, () => measureMachines(pages, concurrency));
    figures.push({ concurrency, pages, microsAPage: median(micros) });
  }
  return figures;
}

const spread = (values: readonly number[]): Spread => ({
  count: values.length,
  p50: median(values),
  p99: percentile(values, 0.99),
  most: Math.max(...values),
});

function present(figures: ControlFigures): PartResult<ControlFigures> {
  const { haltMs, tokenWaitMs, leaseInsertMs, machines, startUpMs } = figures;
  const row = (name: string, { count, p50, p99, most }: Spread): string[] => [
    name,
    whole(count),
    ...[p50, p99, most].map(millis),
  ];
  const micros = Math.max(...machines.map(({ microsAPage }) => microsAPage));
  return {
    title: 'Control',
    figures,
    tables: [
      {
        title: 'Times',
        columns: ['', 'times', 'p50', 'p99', 'most'],
        rows: [
          row('from `halt` to the last socket closed', haltMs),
          row('a token request while the quota is free', tokenWaitMs),
          row('its lease’s insert', leaseInsertMs),
          row('from the command line’s start to its first request', startUpMs),
        ],
      },
      {
        title: 'The machines: CPU time a page',
        columns: ['concurrency', 'pages', 'µs a page'],
        rows: machines.map(({ concurrency, pages, microsAPage }) => [
          String(concurrency),
          whole(pages),
          microsAPage.toFixed(1),
        ]),
      },
    ],
    goals: [
      goal('Halt, p99', '< 250 ms', millis(haltMs.p99), haltMs.p99 < 250),
      goal('Machines, CPU a page', '< 100 µs', `${micros.toFixed(1)} µs`, micros < 100),
      goal('Token request when free, p50', '< 1 ms', millis(tokenWaitMs.p50), tokenWaitMs.p50 < 1),
      goal('Its lease’s insert, p50', '< 2 ms', millis(leaseInsertMs.p50), leaseInsertMs.p50 < 2),
    ],
    notes: [
      `Halts come at moments drawn by lot within ${SPREAD_MS} ms of the start, seed ${SEED}; runs that had ended by then are left out. The sockets are those to the API and to PostgreSQL.`,
      'The machines’ figure holds coordinator, workers and limiter, with calls that are answered at once and pages of 25,000 rows that are numbers alone.',
      'The command line refreshes one day in a database that has the schema. The event-loop delay is with the data-bound part.',
    ],
  };
}
