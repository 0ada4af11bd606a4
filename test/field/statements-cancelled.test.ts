// @module-tag long
// Holds invariants 1 of SPEC.md.
/** Somebody, or something, ends our statements and sessions all the time: a watchdog, an impatient pooler, an administrator. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { migrate } from '../../src/postgres/schema/migrate.ts';
import { createSync } from '../../src/sync/sync.ts';
import { startFakePooler } from '../support/fake-pooler.ts';
import { type TestDatabase, testDatabase } from '../support/postgres.ts';
import { emulate, options, settledDays } from '../support/property.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { askedAgain, expectWhole, watch } from './support/watching.ts';

const datasets = ['page', 'page+query'];
const days = settledDays(40);

/** Does it to all sessions but the one that asks, so often, until it is told to stop. */
function everySoOften(database: TestDatabase, what: string, everyMs: number) {
  let isOver = false;
  let hits = 0;
  const working = (async () => {
    while (!isOver) {
      const hit = await database.sql.unsafe(
        `select ${what}(pid) from pg_stat_activity where datname = current_database()
           and pid <> pg_backend_pid() and application_name like 'longtail%'`,
      );
      hits += hit.length;
      await new Promise((resolve) => setTimeout(resolve, everyMs));
    }
  })();
  return {
    hits: () => hits,
    stop: async () => {
      isOver = true;
      await working;
    },
  };
}

describe.each([
  ['cancels every statement', 'pg_cancel_backend', 200],
  ['ends every session', 'pg_terminate_backend', 400],
])('a watchdog that %s of ours', (_, what, everyMs) => {
  test.each(['directly', 'through a transaction pooler'])(
    '%s: nothing is asked for twice',
    async (way) => {
      await using database = await testDatabase();
      await migrate(database.url);
      await using pooler = await startFakePooler(database.url);
      const url = way === 'directly' ? database.url : pooler.url;
      await using emulator = await emulate({ rowsPerDay: 100, latencyMs: 40 });
      await using sync = createSync(
        options(url, emulator, days, { datasets, batchSize: 1, rowsPerPage: 60 }),
      );
      const watched = watch(sync);
      const running = sync.run();
      await until(() => watched.slices() >= 1, 'a slice');
      const watchdog = everySoOften(database, what, everyMs);
      await new Promise((resolve) => setTimeout(resolve, 5_000));
      await watchdog.stop();
      expect(watchdog.hits()).toBeGreaterThan(2);
      expect(await running).toMatchObject({ status: 'complete', slices: { complete: 80, failed: 0 } });
      expect(askedAgain(emulator)).toEqual([]);
      await expectWhole(database.sql, emulator, datasets, days);
      // A pooler may lose a query without a word. It is given up when no byte has moved for 75 seconds.
    },
    240_000,
  );
});

describe('the very first statement of a transaction is cancelled, through a pooler', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await testDatabase();
    await migrate(database.url);
  });
  afterAll(() => database.close());

  test('the run goes on: what comes after it is no bug of ours', async () => {
    await using pooler = await startFakePooler(database.url);
    let cancelled = 0;
    let isArmed = false;
    // In the place of what a session is told it relies on, of the same length.
    await using proxy = await startTcpProxy(pooler.url, {
      onRequest: (bytes) => {
        const from = bytes.indexOf('select pg_catalog.set_config(');
        if (!isArmed || from === -1) return;
        const to = bytes.indexOf('is not null', from);
        if (to === -1) return;
        const instead = 'select pg_cancel_backend(pg_backend_pid()), pg_sleep(5)';
        bytes.fill(' ', from, to + 'is not null'.length);
        bytes.write(instead, from);
        cancelled += 1;
        isArmed = false;
      },
    });
    await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 20 });
    const few = settledDays(20);
    await using sync = createSync(
      options(proxy.url, emulator, few, { datasets: ['page'], batchSize: 1, maxConcurrency: 2 }),
    );
    sync.on('slice', () => (isArmed = true));
    expect(await sync.run()).toMatchObject({ status: 'complete', slices: { complete: 20, failed: 0 } });
    expect(cancelled).toBeGreaterThan(3);
    expect(askedAgain(emulator)).toEqual([]);
    await expectWhole(database.sql, emulator, ['page'], few);
  });
});
