// @module-tag long
// Holds invariants 1 of SPEC.md.
/** Other people's maintenance of our tables, and locks that they keep for long, while a run writes and while it ends. */
import { describe, expect, test } from 'vitest';
import { migrate } from '../../src/postgres/schema/migrate.ts';
import { createSync } from '../../src/sync/sync.ts';
import { testDatabase } from '../support/postgres.ts';
import { emulate, options, settledDays } from '../support/property.ts';
import { until } from '../support/until.ts';
import { askedAgain, expectWhole, watch } from './support/watching.ts';

const datasets = ['page'];

/** All that there are. */
const TABLES = [
  'property',
  'run',
  'slice',
  'slice_page',
  'fact',
  'day_total',
  'calendar',
  'quota_lease',
  'lease',
  'made_view',
  'not_served',
];

test('these are all of our tables', async () => {
  await using database = await testDatabase();
  await migrate(database.url);
  const found = await database.sql<{ name: string }[]>`
    select relname as name from pg_class where relnamespace = 'longtail'::regnamespace and relkind = 'r'`;
  expect(found.map(({ name }) => name).sort()).toEqual([...TABLES, 'migrations'].sort());
});

// Side by side: each does nothing but wait, on a database of its own.
describe.concurrent('somebody closes a table to everybody for longer than a page waits', () => {
  const days = settledDays(16);

  test.each(TABLES)('longtail.%s: nothing is asked for twice', async (table) => {
    await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 20 });
    await using database = await testDatabase();
    await migrate(database.url);
    await using sync = createSync(options(database.url, emulator, days, { datasets, batchSize: 2 }));
    const watched = watch(sync);
    const running = sync.run();
    await until(() => watched.slices() >= 2, 'some slices');
    await database.sql.begin(async (tx) => {
      await tx.unsafe(`lock table longtail.${table} in access exclusive mode`);
      await new Promise((resolve) => setTimeout(resolve, 4_500));
    });
    expect(await running).toMatchObject({ status: 'complete', slices: { complete: 16, failed: 0 } });
    expect(askedAgain(emulator)).toEqual([]);
    expect(emulator.requests.length).toBe(17);
    await expectWhole(database.sql, emulator, datasets, days);
  });

  test.each(TABLES)('longtail.%s: a halt is heard all the same', async (table) => {
    await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 20 });
    await using database = await testDatabase();
    await migrate(database.url);
    const settings = options(database.url, emulator, days, { datasets, batchSize: 2, haltDeadlineMs: 2_000 });
    await using sync = createSync(settings);
    const watched = watch(sync);
    const running = sync.run();
    await until(() => watched.slices() >= 2, 'some slices');
    const blocker = await database.sql.reserve();
    try {
      await blocker`begin`;
      await blocker.unsafe(`lock table longtail.${table} in access exclusive mode`);
      // Whoever writes there is waiting by now.
      await new Promise((resolve) => setTimeout(resolve, 300));
      const askedAtMs = performance.now();
      await sync.halt();
      expect(performance.now() - askedAtMs).toBeLessThan(8_000);
    } finally {
      await blocker`rollback`;
      blocker.release();
    }
    // What went on beside the lock may have come to its end.
    expect(['halted', 'complete']).toContain((await running).status);
    await using rest = createSync(settings);
    expect(await rest.run()).toMatchObject({ status: 'complete', slices: { complete: 16 } });
    await expectWhole(database.sql, emulator, datasets, days);
  });
});

test('VACUUM FULL, CLUSTER, REINDEX, ANALYZE and new indexes, one after the other, until the run has ended', async () => {
  const days = settledDays(40);
  await using emulator = await emulate({ rowsPerDay: 60, latencyMs: 30 });
  await using database = await testDatabase();
  await migrate(database.url);
  await using sync = createSync(options(database.url, emulator, days, { datasets, batchSize: 2 }));
  let isOver = false;
  const running = sync.run().finally(() => {
    isOver = true;
  });
  const maintain = [
    ...TABLES.flatMap((table) => [
      `vacuum (full, analyze) longtail.${table}`,
      `reindex table longtail.${table}`,
    ]),
    'create index others on longtail.fact (impressions)',
    'cluster longtail.fact using others',
    'drop index longtail.others',
    'analyze',
  ];
  let done = 0;
  while (!isOver) {
    for (const statement of maintain) {
      await database.sql.unsafe(statement).then(
        () => (done += 1),
        // Of two that wait for each other the server ends one: here or there. What needs that one's index fails after it.
        (error: unknown) => expect(String(error)).toMatch(/deadlock detected|"(?:longtail\.)?others"/),
      );
    }
  }
  expect(done).toBeGreaterThan(0);
  expect(await running).toMatchObject({ status: 'complete', slices: { complete: 40, failed: 0 } });
  expect(askedAgain(emulator)).toEqual([]);
  expect(emulator.requests.length).toBe(41);
  await expectWhole(database.sql, emulator, datasets, days);
});

test('two of our tables are locked in the order that crosses ours, again and again: a deadlock costs no request', async () => {
  const days = settledDays(30);
  await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 10 });
  await using database = await testDatabase();
  await migrate(database.url);
  await using sync = createSync(options(database.url, emulator, days, { datasets, batchSize: 2 }));
  let isOver = false;
  const running = sync.run().finally(() => {
    isOver = true;
  });
  while (!isOver) {
    await database.sql
      .begin(async (tx) => {
        await tx`lock table longtail.fact in exclusive mode`;
        await new Promise((resolve) => setTimeout(resolve, 30));
        await tx`lock table longtail.slice in exclusive mode`;
        await tx`lock table longtail.run in access exclusive mode`;
      })
      // Whom of the two the server ends is its choice.
      .catch((error: unknown) => expect(String(error)).toMatch(/deadlock/));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  expect(await running).toMatchObject({ status: 'complete', slices: { complete: 30, failed: 0 } });
  expect(askedAgain(emulator)).toEqual([]);
  await expectWhole(database.sql, emulator, datasets, days);
});

describe.concurrent('a table is closed as the run comes to its end', () => {
  const days = settledDays(4);

  test.each(TABLES)('longtail.%s: it ends complete, when that is over', async (table) => {
    await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 5 });
    await using database = await testDatabase();
    await migrate(database.url);
    await using sync = createSync(options(database.url, emulator, days, { datasets, batchSize: 50 }));
    const watched = watch(sync);
    const running = sync.run();
    await until(() => watched.slices() === days.length, 'all slices');
    await database.sql.begin(async (tx) => {
      await tx.unsafe(`lock table longtail.${table} in access exclusive mode`);
      await new Promise((resolve) => setTimeout(resolve, 4_000));
    });
    expect(await running).toMatchObject({ status: 'complete', slices: { complete: 4, failed: 0 } });
    expect(askedAgain(emulator)).toEqual([]);
    await expectWhole(database.sql, emulator, datasets, days);
  });
});
