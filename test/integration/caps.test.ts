import { expect, test } from 'vitest';
import { summarise } from '../../src/report/summary.ts';
import { createSync } from '../../src/sync/sync.ts';
import { testDatabase } from '../support/postgres.ts';
import { emulate, options, settledDays } from '../support/property.ts';

const same = (text: string): string => text;

test('days with 50,000 rows are capped: in the event, the figures and the summary', async () => {
  await using emulator = await emulate({ rowsPerDay: 50_400 });
  await using database = await testDatabase();
  const days = settledDays(1);
  await using sync = createSync(options(database.url, emulator, days, { datasets: ['page', 'page+query'] }));
  const capped: string[] = [];
  sync.on('slice', (event) => {
    if (event.capped === true) capped.push(event.dataset);
  });
  const outcome = await sync.run();
  expect(outcome).toMatchObject({ status: 'complete', slices: { complete: 2, capped: 1 } });
  expect(capped).toEqual(['page+query']);
  const words = summarise(outcome, { good: same, bad: same, weak: same });
  expect(words).toContain('2 of 2 complete, 1 capped');
  expect(words).toContain('1 slice has as many rows as Google gives at most');
});

test('a cap of queries alone is learned from days that have the same round maximum', async () => {
  await using emulator = await emulate({ rowsPerDay: 4_000, rowCap: 1_000 });
  await using database = await testDatabase();
  const days = settledDays(4);
  const datasets = ['query', 'page+query'];
  const settings = (count: number) => options(database.url, emulator, days.slice(0, count), { datasets });
  await using two = createSync(settings(2));
  expect(await two.run()).toMatchObject({ status: 'complete', rows: 4_000, slices: { capped: 0 } });
  await using four = createSync(settings(4));
  // Of other datasets a round number says nothing.
  expect(await four.run()).toMatchObject({
    status: 'complete',
    rows: 8_000,
    slices: { complete: 8, capped: 4 },
  });
  // A day with more teaches better.
  await using richer = await emulate({ rowsPerDay: 4_000, rowCap: 1_200 });
  await using more = createSync(
    options(database.url, richer, days.slice(0, 1), { datasets: ['query'], refresh: true }),
  );
  expect(await more.run()).toMatchObject({ status: 'complete', slices: { capped: 0 } });
  expect(await database.sql`select from longtail.slice where capped and status = 'complete'`).toHaveLength(0);
});
