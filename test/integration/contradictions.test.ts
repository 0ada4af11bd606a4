// Holds invariants 10 of SPEC.md.
import { expect, test } from 'vitest';
import type { EmulatorOptions } from '../../src/emulator/index.ts';
import { createSync } from '../../src/sync/sync.ts';
import type { SyncOptions } from '../../src/sync/types.ts';
import { tableDigests } from '../support/compare.ts';
import { type TestDatabase, testDatabase } from '../support/postgres.ts';
import { emulate, options, queries, SITE, settledDays } from '../support/property.ts';

/** Answers without rows to all queries that match. */
const noRows = (match: object) => ({ match, action: { kind: 'noRows' as const } });

const days = settledDays(3);

async function run(
  database: TestDatabase,
  rules: NonNullable<EmulatorOptions['faults']>['rules'],
  more: Partial<SyncOptions>,
) {
  await using emulator = await emulate({ rowsPerDay: 600, faults: { rules } });
  await using sync = createSync(options(database.url, emulator, days, more));
  return { outcome: await sync.run(), asked: queries(emulator) };
}

/** Empty slices that nobody will ask for again. */
const sealedEmpty = (database: TestDatabase) =>
  database.sql`select from longtail.slice where status = 'complete' and final and rows = 0`;

test.each(['web', 'image', 'discover', 'googleNews'] as const)(
  'a day of %s with clicks that comes back without rows is asked for again, and fails with the reason',
  async (type) => {
    await using database = await testDatabase();
    const { outcome, asked } = await run(database, [noRows({ dimensions: 'country', date: days[0] })], {
      datasets: ['page', 'country'],
      searchTypes: [type],
      maxAttempts: 3,
    });
    expect(outcome).toMatchObject({ status: 'completeWithFailures', slices: { complete: 5, failed: 1 } });
    expect(outcome.failures[0]).toMatchObject({
      dataset: 'country',
      date: days[0],
      reason: expect.stringMatching(
        /^Google returns no rows, but its calendar shows \d+ clicks for the day$/,
      ),
    });
    expect(asked.filter(({ date, dimensions }) => date === days[0] && dimensions === 'country').length).toBe(
      3,
    );
    expect(await sealedEmpty(database)).toHaveLength(0);
  },
);

test('a calendar that is empty as a whole, of days that are known: no day is empty, and none is lost', async () => {
  await using database = await testDatabase();
  const first = await run(database, [], { datasets: ['page'] });
  expect(first.outcome).toMatchObject({ status: 'complete', rows: expect.any(Number) });
  const held = await tableDigests(database.sql, SITE);
  const { outcome, asked } = await run(
    database,
    [noRows({ dimensions: 'date' }), noRows({ dimensions: 'query' })],
    { datasets: ['page', 'query'], refresh: true },
  );
  // Asked three times, it is believed for no day of which there was data.
  const calendars = asked.filter(({ dimensions, date }) => dimensions === 'date' && date === days.at(-1));
  expect(calendars).toHaveLength(3);
  expect(outcome).toMatchObject({ status: 'completeWithFailures', slices: { complete: 3, failed: 3 } });
  for (const { dataset, reason } of outcome.failures) {
    expect(dataset).toBe('query');
    expect(reason).toMatch(/leaves the day out of its calendar/);
  }
  expect(await sealedEmpty(database)).toHaveLength(0);
  expect(await tableDigests(database.sql, SITE)).toEqual(held);
});

test('a final day that is empty at a refresh keeps its rows, is told of once, and is not asked for again', async () => {
  await using database = await testDatabase();
  await run(database, [], { datasets: ['page'] });
  const held = await tableDigests(database.sql, SITE);
  const rules = [noRows({ dimensions: 'page', date: days[1] })];
  const { outcome } = await run(database, rules, { datasets: ['page'], refresh: true, maxAttempts: 2 });
  expect(outcome).toMatchObject({ status: 'completeWithFailures', slices: { complete: 2, failed: 1 } });
  expect(outcome.failures).toMatchObject([{ date: days[1], reason: expect.stringMatching(/^shrunk: /) }]);
  const later = await run(database, rules, { datasets: ['page'] });
  expect(later.outcome).toMatchObject({
    status: 'complete',
    apiCalls: 0,
    slices: { complete: 3, failed: 0 },
  });
  expect(await tableDigests(database.sql, SITE)).toEqual(held);
});
