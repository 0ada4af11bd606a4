import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import type { Sql } from 'postgres';
import { type Emulator, startEmulator } from '../../../src/emulator/index.ts';
import { differences, servedRows } from '../../support/compare.ts';
import { ledgerProblems } from '../../support/ledger-check.ts';
import type { TestServer } from '../../support/postgres.ts';
import { SITE, settledDays } from '../../support/property.ts';
import { openSql } from '../../support/sql.ts';
import { type SyncProcess, startSyncProcess } from '../../support/sync-process.ts';
import { until } from '../../support/until.ts';
import { type BreakableProxy, startBreakableProxy } from './breakable-proxy.ts';
import { type EmulatorProcess, type EmulatorSettings, startEmulatorProcess } from './emulator-process.ts';

const datasets = ['page', 'page+query'] as const;
/** Quota of the emulator and of the command alike. */
const QPM = 600;

export interface StageOptions extends Partial<EmulatorSettings> {
  readonly days?: number;
  /** Instead of a database on the common server. */
  readonly server?: TestServer;
}

export interface SyncOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** One fault's surroundings: an empty database, an emulator, a proxy before each, and a reader who watches the view. */
export interface Stage extends AsyncDisposable {
  readonly server: TestServer;
  readonly sql: Sql;
  readonly emulator: EmulatorProcess;
  readonly toDatabase: BreakableProxy;
  readonly toEmulator: BreakableProxy;
  /** The newest of its days. */
  readonly to: string;
  /** The built `longtail sync`, through both proxies. */
  sync(options?: SyncOptions): SyncProcess;
  /** Slices that the view shows now. */
  shown(): Promise<number>;
  /**
   * What is wrong after a run that ended, however it did: in words, empty when nothing is. `blind`: the database could not
   * be asked at the end, so a commit whose answer was lost may be there untold.
   */
  judge(run: SyncProcess, sight?: 'blind'): Promise<readonly string[]>;
  /** Makes all well again, runs to the end and says what is wrong then. */
  finish(options?: SyncOptions): Promise<readonly string[]>;
}

export async function setStage(common: TestServer, options: StageOptions): Promise<Stage> {
  const { days: dayCount = 10, server = common, ...changed } = options;
  const settings: EmulatorSettings = { rowsPerDay: 300, latencyMs: 40, qpm: QPM, ...changed };
  const days = settledDays(dayCount);
  const [to = ''] = days;
  const from = days.at(-1) ?? '';
  const range = { siteUrl: SITE, searchTypes: ['web'], datasets, days } as const;
  await using stack = new AsyncDisposableStack();

  // The same seed, the same rows: what the process serves is known here without asking it.
  const served = stack.use(await startEmulator({ sites: [SITE], rowsPerDay: settings.rowsPerDay }));
  const name = `chaos_${randomBytes(6).toString('hex')}`;
  const url = new URL(server.url);
  const admin = openSql(server.url);
  await admin.unsafe(`create database ${name} template template0 encoding 'UTF8'`);
  await admin.end();
  url.pathname = `/${name}`;
  const sql = openSql(url.href, { max: 2, idleTimeoutS: 5 });
  stack.defer(() => sql.end({ timeout: 1 }));
  const emulator = stack.use(await startEmulatorProcess(settings));
  const toDatabase = stack.use(await startBreakableProxy(url.href));
  const toEmulator = stack.use(await startBreakableProxy(emulator.url));
  const stopReader = startReader(sql, await truthOf(served, days));
  stack.defer(async () => void (await stopReader()));
  const runs: SyncProcess[] = [];
  stack.defer(async () => {
    for (const run of runs) await run.kill();
  });

  const sync = ({ args = [], env = {} }: SyncOptions = {}): SyncProcess => {
    const run = startSyncProcess({
      databaseUrl: toDatabase.url,
      emulator: toEmulator,
      from,
      to,
      args: [
        ...['--batch-size', '2', '--datasets', datasets.join(',')],
        ...(args.includes('--qpm') ? [] : ['--qpm', String(settings.qpm)]),
        ...args,
      ],
      env,
    });
    runs.push(run);
    return run;
  };
  const isMigrated = async (): Promise<boolean> => {
    const [row] = await sql`select to_regclass('public.search_analytics') is not null as found`;
    return row?.found === true;
  };
  const shown = async (): Promise<number> => ((await isMigrated()) ? (await visible(sql)).size : 0);

  const judge: Stage['judge'] = async (run, sight) => {
    const { code } = await run.ended;
    const problems: string[] = [];
    const open = (): Promise<number> => connections(sql, name);
    // A connection of this reader's own may still have to learn that the server was away.
    await until(async () => (await open().catch(() => -1)) === 0, 'its connections are gone').catch(
      (error: Error) => {
        problems.push(error.message);
      },
    );
    problems.push(...processesOf(toDatabase.url).map((command) => `left running: ${command}`));
    if (!(await isMigrated())) return problems;
    problems.push(...(await ledgerProblems(sql)));
    if (code === 0) problems.push(...(await differences(sql, served, range)));
    else problems.push(...(await misstated(run, sql, sight === 'blind')));
    return problems;
  };

  const finish = async (more: SyncOptions = {}): Promise<readonly string[]> => {
    toDatabase.turn({ kind: 'fair' });
    toEmulator.turn({ kind: 'fair' });
    const run = sync(more);
    const { code } = await run.ended;
    const problems = [...(await judge(run))];
    if (code !== 0) problems.push(`the run after it ended with ${code}: ${run.written().slice(-300)}`);
    const { maxInAnyWindow, refusals } = await emulator.counters();
    if (maxInAnyWindow > settings.qpm) problems.push(`${maxInAnyWindow} requests in a minute`);
    if (refusals > 0 && settings.faults === undefined) problems.push(`${refusals} refused for want of quota`);
    problems.push(...(await stopReader()));
    return problems;
  };

  const everything = stack.move();
  return {
    ...{ server, sql, emulator, toDatabase, toEmulator, to, sync, shown, judge, finish },
    [Symbol.asyncDispose]: () => everything.disposeAsync(),
  };
}

/** Slices as a reader sums them up: `dataset date` → `rows clicks impressions`. */
async function visible(sql: Sql): Promise<Map<string, string>> {
  const rows = await sql<{ name: string; sums: string }[]>`
    select concat_ws(' ', dataset, date) as name, concat_ws(' ', count(*), sum(clicks), sum(impressions)) as sums
    from search_analytics group by dataset, date`;
  return new Map(rows.map(({ name, sums }) => [name, sums]));
}

async function truthOf(served: Emulator, days: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const sums = new Map<string, string>();
  for (const date of days) {
    for (const dataset of datasets) {
      const { totals } = await servedRows(served, { siteUrl: SITE, searchType: 'web', dataset, date });
      sums.set(`${dataset} ${date}`, `${totals.rows} ${totals.clicks} ${totals.impressions}`);
    }
  }
  return sums;
}

/** Looks at the view all the time. A slice is there as the server has it, or not at all. */
function startReader(sql: Sql, truth: ReadonlyMap<string, string>): () => Promise<readonly string[]> {
  const problems = new Set<string>();
  let isOver = false;
  const reading = (async () => {
    while (!isOver) {
      // No view yet, or no server at the moment.
      const seen = await visible(sql).catch(() => new Map<string, string>());
      for (const [name, sums] of seen) {
        if (sums !== truth.get(name))
          problems.add(`the view showed ${sums} of ${name}, not ${truth.get(name)}`);
      }
      // It shares the machine with what it watches.
      await new Promise((resolve) => setTimeout(resolve, 40));
    }
  })();
  return async () => {
    isOver = true;
    await reading;
    return [...problems];
  };
}

async function connections(sql: Sql, database: string): Promise<number> {
  const [row] = await sql<{ count: number }[]>`
    select count(*)::int as count from pg_stat_activity where datname = ${database} and application_name = 'longtail'`;
  return row?.count ?? 0;
}

/** Processes that were given this database. */
function processesOf(databaseUrl: string): string[] {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return [];
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      return command.includes(databaseUrl) ? [command.slice(0, 100)] : [];
    } catch {
      return []; // gone meanwhile
    }
  });
}

/** A run that did not complete says how much is there; that must be so. */
async function misstated(run: SyncProcess, sql: Sql, isBlind: boolean): Promise<string[]> {
  let told: Record<string, unknown>;
  try {
    told = run.json();
  } catch {
    return []; // killed: it said nothing
  }
  const { status, slices, failures } = told as {
    status: string;
    slices: { complete: number };
    failures: object[];
  };
  // It broke off before it could look.
  if (status === 'failed') return [];
  const [held] = await sql<{ complete: number; failed: number }[]>`
    select count(*) filter (where status = 'complete')::int as complete,
      count(*) filter (where status = 'failed')::int as failed from longtail.slice`;
  const there = held?.complete ?? 0;
  const isSo =
    failures.length === held?.failed && (isBlind ? slices.complete <= there : slices.complete === there);
  return isSo
    ? []
    : [
        `it told of ${slices.complete} slices and ${failures.length} failures, there are ${JSON.stringify(held)}`,
      ];
}
