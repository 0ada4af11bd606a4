/**
 * A host with many properties in a process of its own: one pool, one limiter, one account, a synchronisation for each
 * property, and queries of its own all the while. Its first message is a {@link HostTask}; it says how it goes in
 * {@link HostReport}s, and ends with whoever started it.
 */
import { once } from 'node:events';
import postgres from 'postgres';
import type { Dataset, Day } from '../../../src/domain/slice.ts';
import type { BudgetRule } from '../../../src/machines/rate-limiter/quota-window.ts';
import { createRateLimiter } from '../../../src/sync/limiter.ts';
import { createSync } from '../../../src/sync/sync.ts';

export interface HostTask {
  readonly databaseUrl: string;
  readonly apiRoot: string;
  readonly sites: readonly string[];
  readonly datasets: readonly Dataset[];
  readonly from: Day;
  readonly to: Day;
  readonly requestsPerMinute: number;
  readonly extraBudgets: readonly BudgetRule[];
}

export type HostReport =
  /** Since the last one. */
  | {
      readonly kind: 'figures';
      /** How long each of the host's own queries took. */
      readonly waitsMs: readonly number[];
      /** CPU time of the longest turn of the event loop. */
      readonly longestTurnMs: number;
    }
  /** The first rows of this process have been committed. */
  | { readonly kind: 'underWay' }
  | {
      readonly kind: 'ended';
      /** What each property came to in the end: its outcome's status, or an error's message. */
      readonly endings: readonly string[];
      readonly refusals: number;
    };

const POOL = 3;
const ASK_EVERY_MS = 20;
const REPORT_EVERY = 5;
const LOOK_EVERY_MS = 5;
/** A run that the database let down resumes in the next one, as with a schedule. */
const MOST_RUNS = 40;

process.on('disconnect', () => process.exit());
// Only forty.ts starts this, with such a task.
const [task] = (await once(process, 'message')) as [HostTask];
const report = (what: HostReport): void => void process.send?.(what);

const pool = postgres(task.databaseUrl, { max: POOL, onnotice: () => undefined });
// A backend has its connection by the time it has forty properties to care for.
await Promise.all(Array.from({ length: POOL }, () => pool`select pg_sleep(0.01)`));
const limiter = createRateLimiter(task);

/** By the thread's own CPU time: what others on the machine do is no turn of ours. */
let longestTurnMs = 0;
let cpuMs = threadCpuMs();
const looking = setInterval(() => {
  const now = threadCpuMs();
  longestTurnMs = Math.max(longestTurnMs, now - cpuMs);
  cpuMs = now;
}, LOOK_EVERY_MS);

function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

let waitsMs: number[] = [];
const tellFigures = (): void => {
  report({ kind: 'figures', waitsMs, longestTurnMs });
  waitsMs = [];
  longestTurnMs = 0;
};
let isOver = false;
const asking = (async () => {
  while (!isOver) {
    const startedMs = performance.now();
    await pool`select 1`;
    waitsMs.push(performance.now() - startedMs);
    if (waitsMs.length === REPORT_EVERY) tellFigures();
    await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
  }
})();

let refusals = 0;
let isUnderWay = false;
const endings = await Promise.all(task.sites.map(synchronise));
isOver = true;
await asking;
clearInterval(looking);
tellFigures();
limiter.close();
await pool.end({ timeout: 1 });
report({ kind: 'ended', endings, refusals });
process.disconnect?.();

async function synchronise(siteUrl: string): Promise<string> {
  const { apiRoot, datasets, from, to } = task;
  let ending = '';
  for (let run = 1; ending !== 'complete' && run <= MOST_RUNS; run += 1) {
    await using sync = createSync({
      ...{ siteUrl, datasets, from, to, apiRoot, batchSize: 4, wait: true },
      database: pool,
      rateLimiter: limiter,
      credentials: { accessToken: 'a-token' },
    });
    sync.on('quota', ({ kind }) => {
      if (kind === 'refused') refusals += 1;
    });
    sync.on('progress', ({ rows }) => {
      if (isUnderWay || rows === 0) return;
      isUnderWay = true;
      report({ kind: 'underWay' });
    });
    ending = await sync.run().then(
      ({ status }) => status,
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
  }
  return ending;
}
