// Holds invariants 5 of SPEC.md.
import type { Sql } from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { migrate } from '../../src/db/migrate.ts';
import type { Emulator } from '../../src/emulator/index.ts';
import { createSync } from '../../src/sync.ts';
import type { Outcome, Sync, SyncOptions } from '../../src/sync-types.ts';
import { type TestDatabase, testDatabase } from '../support/postgres.ts';
import { emulate, options, settledDays, until } from '../support/property.ts';
import { type FreezingProxy, startFreezingProxy, startSilentServer } from './support/freezing-proxy.ts';

/** The three ways in which a host ends a run; each resolves when it is told that the run is over. */
const WAYS = {
  halt: (sync: Sync) => sync.halt('enough'),
  close: (sync: Sync) => sync.close(),
  abort: async (_: Sync, controller: AbortController, running: Promise<unknown>) => {
    controller.abort('aborted');
    await running.catch(() => undefined);
  },
} as const;
type Way = keyof typeof WAYS;
const ALL: readonly Way[] = ['halt', 'close', 'abort'];
const REASONS = { halt: 'enough', close: 'closed', abort: 'aborted' } as const;

const DEADLINE_MS = 500;
/** Where a phase does not hear of a halt, it takes ten seconds at least. */
const BOUND_MS = 3_000;

const days = settledDays(3);
const sites = Array.from({ length: 60 }, (_, index) => `sc-domain:site${index}.example`);
let database: TestDatabase;
let proxy: FreezingProxy;
let emulator: Emulator;
let used = 0;

beforeAll(async () => {
  database = await testDatabase();
  await migrate(database.url);
  proxy = await startFreezingProxy(database.url);
  emulator = await emulate({ rowsPerDay: 20, sites });
});
afterAll(async () => {
  await emulator.close();
  await proxy[Symbol.asyncDispose]();
  await database.close();
});

/** A property and an account of its own for each attempt: what one leaves behind for a moment is no other's concern. */
function settings(
  target: NonNullable<SyncOptions['database']>,
  more: Partial<SyncOptions> = {},
): SyncOptions {
  used += 1;
  const siteUrl = sites[used] ?? '';
  const own = { siteUrl, credentials: { accessToken: `token-${used}` }, haltDeadlineMs: DEADLINE_MS };
  return { ...options(target, emulator, days, { datasets: ['page'] }), ...own, ...more };
}

interface Ended {
  readonly outcome: Outcome;
  readonly tookMs: number;
}

/** Begins a run, waits for it to come where it hangs, and ends it. */
async function endAt(way: Way, given: SyncOptions, hangs: () => boolean | Promise<boolean>): Promise<Ended> {
  const controller = new AbortController();
  await using sync = createSync(given);
  const running = sync.run({ signal: controller.signal });
  running.catch(() => undefined);
  await until(hangs, 'the phase is reached');
  const askedAtMs = performance.now();
  await WAYS[way](sync, controller, running);
  const outcome = await running;
  const tookMs = performance.now() - askedAtMs;
  expect(tookMs).toBeLessThan(BOUND_MS);
  return { outcome, tookMs };
}

/** Sessions of Longtail's, besides those that wait for a lock: the server notices no closed connection while it waits. */
const sessions = async (sql: Sql): Promise<number> => {
  const rows = await sql`
    select from pg_stat_activity where datname = current_database() and application_name like 'longtail%'`;
  return rows.length;
};
const gone = () => until(async () => (await sessions(database.sql)) === 0, 'no connection is left');

test.each(ALL)(
  '%s while getAccessToken never answers: the run ends halted, and nothing was opened',
  async (way) => {
    let asked = 0;
    const credentials = {
      getAccessToken: () => {
        asked += 1;
        return new Promise<string>(() => undefined);
      },
    };
    const { outcome, tookMs } = await endAt(way, settings(database.url, { credentials }), () => asked > 0);
    expect(outcome).toMatchObject({
      status: 'halted',
      haltReason: { kind: 'asked', reason: REASONS[way] },
      slices: { planned: 3, complete: 0, failed: 0, empty: 0 },
      rows: 0,
      apiCalls: 0,
      failures: [],
    });
    // Nothing is waited for at all.
    expect(tookMs).toBeLessThan(2_000);
    expect(await sessions(database.sql)).toBe(0);
  },
);

test.each(ALL)('%s while the database takes the connection and says nothing', async (way) => {
  await using silent = await startSilentServer();
  const url = `postgres://me:secret@127.0.0.1:${silent.port}/db`;
  const { outcome } = await endAt(way, settings(url), () => silent.connections() > 0);
  expect(outcome).toMatchObject({ status: 'halted', apiCalls: 0 });
  await until(() => silent.connections() === 0, 'the connection is closed');
});

/** Where the database falls silent, by what it is asked there. */
const PHASES = {
  'its version is asked for': 'server_version_num',
  'the migrations are looked up': 'from longtail.migrations',
  "the property's lock is taken": 'pg_try_advisory_xact_lock',
  "the property's epoch is raised": 'insert into longtail.property',
  'the run is begun': 'insert into longtail.run',
  'the quota of earlier runs is read': 'longtail.quota_lease',
  'rows are written': 'copy longtail.fact',
  'the end is recorded': 'update longtail.run set status = $1',
  'it is tidied': 'left open by an earlier run',
  'statistics are gathered': 'analyze longtail',
  'the figures are read': 'coalesce(sum(s.rows)',
} as const;

describe.each(Object.entries(PHASES))('the database falls silent as %s', (_, words) => {
  test('halt, close and abort end the run in time, and no connection is left', async () => {
    for (const way of ALL) {
      proxy.thaw();
      proxy.freezeAt(words);
      const { outcome } = await endAt(way, settings(proxy.url), () => proxy.isFrozen());
      expect(outcome).toMatchObject({
        status: 'halted',
        haltReason: { kind: 'asked', reason: REASONS[way] },
      });
      await gone();
    }
  });
});

test('the database falls silent as the run closes: halt, close and abort end it in time', async () => {
  for (const way of ALL) {
    proxy.thaw();
    proxy.freezeAt('select distinct on (s.date', 'answering');
    const { outcome } = await endAt(way, settings(proxy.url), () => proxy.isFrozen());
    // All was done and written down before.
    expect(outcome).toMatchObject({ status: 'complete', slices: { planned: 3, complete: 3 } });
    await gone();
  }
});
