// @module-tag long
// Holds invariants 5 of SPEC.md.
import postgres, { type Sql } from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Emulator } from '../../src/emulator/index.ts';
import { migrate } from '../../src/postgres/schema/migrate.ts';
import { createSync } from '../../src/sync/sync.ts';
import type { Outcome, Sync, SyncOptions } from '../../src/sync/types.ts';
import { type TestDatabase, testDatabase } from '../support/postgres.ts';
import { emulate, options, settledDays } from '../support/property.ts';
import { until } from '../support/until.ts';
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
const sites = Array.from({ length: 150 }, (_, index) => `sc-domain:site${index}.example`);
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
  'the figures are read': 'bool_or(s.capped)',
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
    proxy.freezeAt('delete from longtail.lease where holder');
    const { outcome } = await endAt(way, settings(proxy.url), () => proxy.isFrozen());
    // All was done and written down before.
    expect(outcome).toMatchObject({ status: 'complete', slices: { planned: 3, complete: 3 } });
    await gone();
  }
});

test('another session holds a table of ours: a halt while the run opens does not wait for it', async () => {
  proxy.thaw();
  for (const table of ['migrations', 'property', 'run']) {
    await database.sql.begin(async (tx) => {
      await tx.unsafe(`lock table longtail.${table} in access exclusive mode`);
      for (const way of ALL) {
        const before = await waiting();
        const { outcome } = await endAt(way, settings(proxy.url), async () => (await waiting()) > before);
        expect(outcome).toMatchObject({ status: 'halted', apiCalls: 0 });
      }
    });
    await gone();
  }
});

const waiting = async (): Promise<number> => {
  const rows = await database.sql`
    select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
  return rows.length;
};

test('a pool passed in is frozen: the halt is heard, and the pool stays the host’s', async () => {
  proxy.thaw();
  const pool = postgres(proxy.url, { max: 8, onnotice: () => undefined });
  try {
    for (const way of ALL) {
      proxy.thaw();
      proxy.freezeAt('insert into longtail.run');
      const { outcome } = await endAt(way, settings(pool), () => proxy.isFrozen());
      expect(outcome).toMatchObject({ status: 'halted' });
    }
    proxy.thaw();
    // What was swallowed never comes, but the host's other connections are its own.
    expect(await pool`select 1 as one`).toEqual([{ one: 1 }]);
  } finally {
    await pool.end({ timeout: 0 });
  }
  await gone();
});

test('what a run that was given up gets later, it gives back: the next run has the property', async () => {
  proxy.thaw();
  const pool = postgres(database.url, { max: 8, onnotice: () => undefined });
  try {
    const given = settings(pool);
    for (const table of ['property', 'run']) {
      await database.sql.begin(async (tx) => {
        await tx.unsafe(`lock table longtail.${table} in access exclusive mode`);
        const { outcome } = await endAt('halt', given, async () => (await waiting()) > 0);
        expect(outcome).toMatchObject({ status: 'halted' });
      });
      // Its step goes on now, and ends: nothing of it may be left.
      const isFree = async () => {
        await using next = createSync(given);
        return await next.run().then(
          ({ status }) => status === 'complete',
          (error: unknown) => {
            expect(error).toMatchObject({ code: expect.stringMatching(/_BUSY$/) });
            return false;
          },
        );
      };
      await until(isFree, 'the property is free');
    }
    const running = await database.sql`
      select from longtail.run r join longtail.property p on p.id = r.property_id
      where p.site_url = ${given.siteUrl} and r.status = 'running'`;
    expect(running).toHaveLength(0);
  } finally {
    await pool.end({ timeout: 1 });
  }
});

describe('a dry run', () => {
  test.each(ALL)(
    '%s while the database says nothing: it rejects with HALTED, and nothing is left',
    async (way) => {
      await using silent = await startSilentServer();
      const controller = new AbortController();
      await using sync = createSync(settings(`postgres://me:secret@127.0.0.1:${silent.port}/db`));
      const planning = sync.dryRun({ signal: controller.signal });
      planning.catch(() => undefined);
      await until(() => silent.connections() > 0, 'it connects');
      const askedAtMs = performance.now();
      await WAYS[way](sync, controller, planning);
      await expect(planning).rejects.toMatchObject({ code: 'HALTED' });
      expect(performance.now() - askedAtMs).toBeLessThan(BOUND_MS);
      await until(() => silent.connections() === 0, 'the connection is closed');
    },
  );

  test('halted while it counts, and counted when it is not', async () => {
    proxy.thaw();
    proxy.freezeAt('with this_run as');
    await using sync = createSync(settings(proxy.url));
    const other = createSync({ ...settings(proxy.url), siteUrl: sites[used] ?? '' });
    // Without the property's row there is nothing to count.
    proxy.thaw();
    await other.run();
    proxy.freezeAt('with this_run as');
    const planning = other.dryRun();
    planning.catch(() => undefined);
    await until(() => proxy.isFrozen(), 'it counts');
    await other.halt();
    await expect(planning).rejects.toMatchObject({ code: 'HALTED' });
    proxy.thaw();
    expect(await sync.dryRun()).toMatchObject({ slicesPlanned: 3, slicesToFetch: 3 });
    expect(await other.dryRun()).toMatchObject({ slicesPlanned: 3, slicesToFetch: 0 });
    await other.close();
    await expect(other.dryRun()).rejects.toMatchObject({ code: 'CLOSED' });
  });
});

describe('the order of wishes', () => {
  test('an abort before the run: nothing is opened, nobody is asked for a token', async () => {
    let asked = 0;
    const credentials = {
      getAccessToken: () => {
        asked += 1;
        return 'a-token';
      },
    };
    for (const [signal, reason] of [
      [AbortSignal.abort('not now'), 'not now'],
      [AbortSignal.abort(), 'the signal was aborted'],
      [AbortSignal.abort(new Error('the shop\0 closes\n early')), 'the shop closes early'],
      [
        AbortSignal.abort({
          toString: () => {
            throw new Error('no words');
          },
        }),
        'an error that cannot be shown as text',
      ],
    ] as const) {
      await using sync = createSync(settings('postgres://nobody@127.0.0.1:1/none', { credentials }));
      expect(await sync.run({ signal })).toMatchObject({
        status: 'halted',
        haltReason: { kind: 'asked', reason },
      });
    }
    expect(asked).toBe(0);
  });

  test('a signal with a time limit halts a run that opens', async () => {
    const credentials = { getAccessToken: () => new Promise<string>(() => undefined) };
    await using sync = createSync(settings(database.url, { credentials }));
    const outcome = await sync.run({ signal: AbortSignal.timeout(50) });
    expect(outcome).toMatchObject({ status: 'halted' });
    expect(outcome.haltReason).toMatchObject({ reason: expect.stringContaining('timeout') });
  });

  test('a reason that PostgreSQL’s text cannot hold is recorded all the same', async () => {
    proxy.thaw();
    const given = settings(proxy.url);
    await using sync = createSync(given);
    sync.pause();
    const running = sync.run();
    let state = '';
    sync.on('progress', (progress) => {
      state = progress.state;
    });
    await until(() => state === 'paused', 'a pause asked for before the run holds');
    await sync.halt(`a\0b \ud800 ${'x'.repeat(5_000)}`);
    expect(await running).toMatchObject({ status: 'halted' });
    const [row] = await database.sql<{ status: string; reason: string }[]>`
      select r.status, r.halt_reason as reason from longtail.run r join longtail.property p on p.id = r.property_id
      where p.site_url = ${given.siteUrl}`;
    expect(row?.status).toBe('halted');
    expect(row?.reason).toMatch(/^a b \ufffd x+$/);
    expect(row?.reason.length).toBeLessThanOrEqual(300);
  });

  test('close before a run, twice, and halt when all is over', async () => {
    const sync = createSync(settings(database.url));
    await sync.halt();
    await Promise.all([sync.close(), sync.close()]);
    await sync.close();
    await expect(sync.run()).rejects.toMatchObject({ code: 'CLOSED' });
    sync.pause();
    sync.resume();
    sync.setConcurrency(2);

    const halted = createSync(settings(database.url));
    // Nothing is under way: there is nothing to halt.
    await halted.halt('too soon');
    expect(await halted.run()).toMatchObject({ status: 'complete' });
    await halted.halt('too late');
    await expect(halted.run()).rejects.toMatchObject({ code: 'ALREADY_RUN' });
    await halted.close();
    await expect(halted.run()).rejects.toMatchObject({ code: 'CLOSED' });
  });

  test('the host’s code throws while a run opens: `await using` ends the run', async () => {
    const credentials = { getAccessToken: () => new Promise<string>(() => undefined) };
    let running: Promise<Outcome> | undefined;
    const host = async (): Promise<void> => {
      await using sync = createSync(settings(database.url, { credentials }));
      running = sync.run();
      throw new Error('the host’s own');
    };
    await expect(host()).rejects.toThrow('the host’s own');
    expect(await running).toMatchObject({ status: 'halted', haltReason: { reason: 'closed' } });
  });

  test('a step that fails as before: the same error, and nothing is left open', async () => {
    const credentials = { getAccessToken: () => Promise.reject(new Error('no network')) };
    await using noToken = createSync(settings(database.url, { credentials }));
    await expect(noToken.run()).rejects.toMatchObject({ code: 'NO_CREDENTIALS' });
    await using noServer = createSync(settings('postgres://nobody@127.0.0.1:1/none'));
    await expect(noServer.run()).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    await noServer.halt();
    await gone();
  });
});
