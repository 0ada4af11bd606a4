/** Forty properties of one account in one host, whose connections are cut and which is killed again and again. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Sql } from 'postgres';
import { startBenchEmulator } from '../../../bench/support/emulator.ts';
import { LEASE_MS } from '../../../src/postgres/locks/lease-book.ts';
import { differences } from '../../support/compare.ts';
import { ledgerProblems } from '../../support/ledger-check.ts';
import { emulate, settledDays } from '../../support/property.ts';
import { startCuttingProxy } from './cutting-proxy.ts';
import type { HostReport, HostTask } from './host-process.ts';

export interface Hardship {
  /** How often the host is killed (kill -9), each time a second after its first rows or a little later, and started again. */
  readonly kills: number;
}

export interface FortyFigures {
  /** How long the host's own queries took, the shortest first. */
  readonly waitsMs: readonly number[];
  /** CPU time of the longest turn of the host's event loop. */
  readonly longestTurnMs: number;
  /** Connections of ours that were cut or whose sessions were ended. */
  readonly cut: number;
  /** The most connections of ours at one time. */
  readonly mostConnections: number;
  readonly endings: readonly string[];
  /** As the host counted them, and as the server did. */
  readonly refusals: number;
  readonly requests: number;
  /** The most requests of the account in any {@link WINDOW}. */
  readonly widestWindow: number;
  /** What is wrong with the tables. */
  readonly problems: readonly string[];
  readonly tookMs: number;
}

/** A budget that is used up again and again, so that whatever a killed process took counts. */
export const WINDOW = { scopeKind: 'user', limit: 200, windowMs: 3_000 } as const;
const sites = Array.from({ length: 40 }, (_, index) => `sc-domain:site${index}.example`);
const datasets = ['page', 'page+query'] as const;
const days = settledDays(6);
const served = { sites, rowsPerDay: 60, latencyMs: 100 };
const CUT_EVERY_MS = 1_000;
const KILL_AFTER_MS = 1_000;
const SIGN_WITHIN_MS = 30_000;

/** In an empty database that is nobody else's. */
export async function runForty(url: string, sql: Sql, { kills }: Hardship): Promise<FortyFigures> {
  const startedMs = performance.now();
  await using emulator = await startBenchEmulator(served);
  await using proxy = await startCuttingProxy(url);
  const [to] = days;
  const from = days.at(-1);
  if (from === undefined || to === undefined) throw new Error('no days');
  const task: HostTask = {
    ...{ sites, datasets, from, to, databaseUrl: proxy.url, apiRoot: emulator.url },
    requestsPerMinute: 40_000,
    extraBudgets: [WINDOW],
  };
  const waitsMs: number[] = [];
  let longestTurnMs = 0;
  let cut = 0;
  let phase: 'working' | 'dying' = 'working';
  const stopCutting = every(CUT_EVERY_MS, async (turn) => {
    if (phase === 'dying') return;
    if (turn % 2 === 0) {
      cut += proxy.cut();
      return;
    }
    const ended = await sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name like 'longtail%'`;
    cut += ended.length;
  });
  try {
    for (let life = 0; ; life += 1) {
      const host = startHost(task, (figures) => {
        waitsMs.push(...figures.waitsMs);
        longestTurnMs = Math.max(longestTurnMs, figures.longestTurnMs);
      });
      try {
        if (life < kills) {
          await host.underWay;
          await sleep(KILL_AFTER_MS);
          phase = 'dying';
          await signShown(sql);
          continue;
        }
        const { endings, refusals } = await host.ended;
        await stopCutting();
        const requests = await emulator.requests();
        const counters = await emulator.counters();
        return {
          ...{ longestTurnMs, cut, endings },
          waitsMs: waitsMs.toSorted((one, other) => one - other),
          mostConnections: proxy.most(),
          refusals: refusals + counters.refusals,
          requests: requests.length,
          widestWindow: widest(requests.map(({ arrivedAtMs }) => arrivedAtMs)),
          tookMs: performance.now() - startedMs,
          problems: await problemsOf(sql),
        };
      } finally {
        await host.kill();
        phase = 'working';
      }
    }
  } finally {
    await stopCutting();
  }
}

interface Host {
  /** Its first rows are there. Rejects when it ends before. */
  readonly underWay: Promise<unknown>;
  /** All properties have come to an end, and nothing keeps the process alive. */
  readonly ended: Promise<Extract<HostReport, { kind: 'ended' }>>;
  /** kill -9, and its end. */
  kill(): Promise<void>;
}

function startHost(
  task: HostTask,
  onFigures: (figures: Extract<HostReport, { kind: 'figures' }>) => void,
): Host {
  const child = fork(fileURLToPath(new URL('./host-process.ts', import.meta.url)), [], {
    execArgv: [],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const underWay = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<Extract<HostReport, { kind: 'ended' }>>();
  let last: Extract<HostReport, { kind: 'ended' }> | undefined;
  // Each who waits for one of them hears of it.
  underWay.promise.catch(() => undefined);
  ended.promise.catch(() => undefined);
  // Only host-process.ts writes to this channel.
  child.on('message', (message) => {
    const report = message as HostReport;
    if (report.kind === 'figures') onFigures(report);
    else if (report.kind === 'underWay') underWay.resolve();
    else last = report;
  });
  const exited = once(child, 'exit').then(([code, signal]) => {
    const gone = new Error(`the host ended with ${code ?? signal}`);
    underWay.reject(gone);
    if (last === undefined) ended.reject(gone);
    else ended.resolve(last);
  });
  child.send(task);
  return {
    underWay: underWay.promise,
    ended: ended.promise,
    async kill() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** The tables against what the server has, the ledger's own promise, and leases that nobody has given up. */
async function problemsOf(sql: Sql): Promise<readonly string[]> {
  await using reference = await emulate(served);
  const problems: string[] = [];
  for (const siteUrl of sites) {
    const found = await differences(sql, reference, { siteUrl, searchTypes: ['web'], datasets, days });
    problems.push(...found.map((difference) => `${siteUrl} ${difference}`));
  }
  problems.push(...(await ledgerProblems(sql)));
  return [...problems, ...(await leasesLeft(sql))];
}

/**
 * Waits until every lease says by which lock its process shows that it lives; nothing is cut meanwhile. One that dies in the moment
 * after its sign was cut keeps its properties for a minute, and then a test takes minutes.
 */
async function signShown(sql: Sql): Promise<void> {
  const deadlineMs = performance.now() + SIGN_WITHIN_MS;
  for (;;) {
    const unsigned = await sql`
      select from longtail.lease where presence is null and expires_at > clock_timestamp() limit 1`;
    if (unsigned.length === 0 || performance.now() > deadlineMs) return;
    await sleep(10);
  }
}

/** Of those that count. One whose run ended while all its connections were cut counts for a minute, no longer. */
async function leasesLeft(sql: Sql): Promise<readonly string[]> {
  const deadlineMs = performance.now() + LEASE_MS + 5_000;
  for (;;) {
    const leases = await sql<{ resource: string }[]>`
      select resource from longtail.lease where expires_at > clock_timestamp()`;
    if (leases.length === 0) return [];
    if (performance.now() > deadlineMs) return leases.map(({ resource }) => `a lease of ${resource} is left`);
    await sleep(100);
  }
}

/** The most of these moments, in order, in any {@link WINDOW}. */
function widest(momentsMs: readonly number[]): number {
  let first = 0;
  let most = 0;
  for (const [index, moment] of momentsMs.entries()) {
    while ((momentsMs[first] ?? moment) <= moment - WINDOW.windowMs) first += 1;
    most = Math.max(most, index - first + 1);
  }
  return most;
}

/** Does it again and again until it is stopped; resolves when the last time is over. */
function every(ms: number, work: (turn: number) => Promise<unknown>): () => Promise<void> {
  const over = new AbortController();
  const looping = (async () => {
    for (let turn = 0; !over.signal.aborted; turn += 1) {
      await work(turn);
      await sleep(ms, undefined, { signal: over.signal }).catch(() => undefined);
    }
  })();
  return async () => {
    over.abort();
    await looping;
  };
}
