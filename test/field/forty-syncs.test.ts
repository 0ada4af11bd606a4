/** Forty properties of one account in one backend: one pool of three, one limiter, and a database that ends sessions. */
import postgres from 'postgres';
import { expect, test } from 'vitest';
import { createRateLimiter } from '../../src/rate-limiter.ts';
import { createSync } from '../../src/sync.ts';
import { differences } from '../support/compare.ts';
import { ledgerProblems } from '../support/ledger-check.ts';
import { emptyDatabase } from '../support/postgres.ts';
import { emulate, options, settledDays } from '../support/property.ts';

const sites = Array.from({ length: 40 }, (_, index) => `sc-domain:site${index}.example`);
const datasets = ['page', 'page+query'];
const days = settledDays(6);

/** Does it again and again until it is stopped; resolves when the last time is over. */
function every(ms: number, work: () => Promise<unknown>): () => Promise<void> {
  let isOver = false;
  const looping = (async () => {
    while (!isOver) {
      await work();
      await new Promise((resolve) => setTimeout(resolve, ms));
    }
  })();
  return async () => {
    isOver = true;
    await looping;
  };
}

test('forty syncs share a pool of three while their sessions are ended every second', {
  timeout: 240_000,
}, async () => {
  await using emulator = await emulate({ sites, rowsPerDay: 60, latencyMs: 100 });
  await using database = await emptyDatabase();
  const pool = postgres(database.url, { max: 3, onnotice: () => undefined });
  const limiter = createRateLimiter({ requestsPerMinute: 40_000 });
  const waits: number[] = [];
  let ended = 0;
  const stopAsking = every(20, async () => {
    const startedMs = performance.now();
    await pool`select 1`;
    waits.push(performance.now() - startedMs);
  });
  const stopEnding = every(1_000, async () => {
    const sessions = await database.sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name like 'longtail%'`;
    ended += sessions.length;
  });
  let most = 0;
  let refusals = 0;
  const stopCounting = every(100, async () => {
    const [open] = await database.sql<{ count: number }[]>`
      select count(*)::int as count from pg_stat_activity
      where datname = current_database() and application_name like 'longtail%'`;
    most = Math.max(most, open?.count ?? 0);
  });
  try {
    const settings = options(pool, emulator, days, { datasets, rateLimiter: limiter, batchSize: 4 });
    const outcomes = await Promise.all(
      sites.map(async (siteUrl) => {
        // A run that the database let down goes on in the next, as a schedule would have it.
        for (let attempt = 1; ; attempt += 1) {
          await using sync = createSync({ ...settings, siteUrl });
          sync.on('quota', ({ kind }) => {
            if (kind === 'refused') refusals += 1;
          });
          const outcome = await sync.run().catch((error: unknown) => {
            if (attempt === 10) throw error;
            return undefined;
          });
          if (outcome?.status === 'complete' || attempt === 10) return outcome?.status;
        }
      }),
    );
    expect(outcomes.filter((status) => status !== 'complete')).toEqual([]);
  } finally {
    await stopEnding();
    await stopCounting();
    await stopAsking();
    limiter.close();
    await pool.end({ timeout: 1 });
  }
  waits.sort((one, other) => one - other);
  const at = (share: number) => Math.round(waits[Math.floor(share * (waits.length - 1))] ?? 0);
  console.log(
    `${waits.length} queries of the host: median ${at(0.5)} ms, p99 ${at(0.99)} ms, most ${at(1)} ms; ` +
      `${ended} sessions ended, at most ${most} at once`,
  );
  expect(ended).toBeGreaterThan(0);
  expect(most).toBeLessThanOrEqual(3);
  expect(refusals).toBe(0);
  for (const siteUrl of sites) {
    const range = { siteUrl, searchTypes: ['web'], datasets, days } as const;
    expect(await differences(database.sql, emulator, range)).toEqual([]);
  }
  expect(await ledgerProblems(database.sql)).toEqual([]);
  expect(await database.sql`select from longtail.lease`).toHaveLength(0);
});
