// Holds invariants 10 of SPEC.md.
import type { Sql } from 'postgres';
import { expect, test } from 'vitest';
import { addDays } from '../../src/domain/day.ts';
import { createSync } from '../../src/sync/sync.ts';
import { differences, tableDigests } from '../support/compare.ts';
import { ledgerProblems } from '../support/ledger-check.ts';
import { testDatabase } from '../support/postgres.ts';
import { daysAgo, emulate, options, queries, SITE, settledDays } from '../support/property.ts';

const web = { siteUrl: SITE, searchTypes: ['web'] } as const;

test('late and fresh days are fetched again until they are final, and never taken for empty ones', async () => {
  const datasets = ['page', 'page+query'];
  // The emulator's calendar lags behind ours: of its newest three days it has nothing, some, most.
  let today = daysAgo(10);
  const days = [...Array.from({ length: 8 }, (_, index) => daysAgo(8 + index))];
  await using emulator = await emulate({ rowsPerDay: 300, today: () => today });
  await using database = await testDatabase();
  const settings = options(database.url, emulator, days, { datasets });
  const finals = () => database.sql<{ date: string; final: boolean; state: string }[]>`
    select distinct date::text as date, final, data_state as state from longtail.slice
    where status = 'complete' order by date desc`;

  await using first = createSync(settings);
  // Days 8 and 9 are not published, day 10 has no rows yet: six days are there.
  expect(await first.run()).toMatchObject({
    status: 'complete',
    slices: { planned: 16, complete: 10, empty: 0 },
  });
  expect(await differences(database.sql, emulator, { ...web, datasets, days })).toEqual([]);
  expect((await finals()).map(({ date, final }) => [date, final])).toEqual([
    [daysAgo(11), false],
    [daysAgo(12), false],
    [daysAgo(13), true],
    [daysAgo(14), true],
    [daysAgo(15), true],
  ]);
  expect((await finals()).map(({ state }) => state)).toEqual(['all', 'all', 'final', 'final', 'final']);

  // Two days later: what was fresh is replaced, what was late comes, what was final is not asked for.
  today = addDays(today, 2);
  const before = emulator.requests.length;
  await using second = createSync(settings);
  expect(await second.run()).toMatchObject({ status: 'complete', slices: { complete: 14 } });
  expect(await differences(database.sql, emulator, { ...web, datasets, days })).toEqual([]);
  const asked = queries(emulator).slice(before);
  expect(
    [...new Set(asked.filter(({ dimensions }) => dimensions !== 'date').map(({ date }) => date))].sort(),
  ).toEqual([daysAgo(12), daysAgo(11), daysAgo(10), daysAgo(9)]);

  today = daysAgo(0);
  await using third = createSync(settings);
  expect(await third.run()).toMatchObject({ status: 'complete', slices: { complete: 16, empty: 0 } });
  expect(await differences(database.sql, emulator, { ...web, datasets, days })).toEqual([]);
  expect((await finals()).every(({ final }) => final)).toBe(true);
  await using last = createSync(settings);
  expect(await last.run()).toMatchObject({ status: 'complete', apiCalls: 0 });
  expect(await ledgerProblems(database.sql)).toEqual([]);
});

test('a day that the calendar leaves out is complete without a call', async () => {
  const days = settledDays(5);
  const hollow = [days[1], days[3]];
  await using emulator = await emulate({
    rowsPerDay: 50,
    rowsOn: (date) => (hollow.includes(date) ? 0 : undefined),
  });
  await using database = await testDatabase();
  const settings = options(database.url, emulator, days);
  await using sync = createSync(settings);
  expect(await sync.run()).toMatchObject({
    status: 'complete',
    apiCalls: 7,
    slices: { planned: 10, complete: 10, empty: 4 },
  });
  expect(
    queries(emulator).filter(({ date, dimensions }) => dimensions !== 'date' && hollow.includes(date)),
  ).toEqual([]);
  await using again = createSync(settings);
  expect(await again.run()).toMatchObject({ status: 'complete', apiCalls: 0, slices: { complete: 10 } });
});

test('a published day that has no rows yet is neither empty nor failed: it is asked for again', async () => {
  const days = [daysAgo(11), daysAgo(12), daysAgo(13)];
  const datasets = ['page+query'];
  const today = daysAgo(10);
  // The calendar knows the newest day; the rows come later.
  const rowsOn = (date: string) => {
    const isCalendar = queries(emulator).every(({ dimensions }) => dimensions === 'date');
    return date === days[0] && !isCalendar ? 0 : undefined;
  };
  await using emulator = await emulate({ rowsPerDay: 60, today, rowsOn });
  await using database = await testDatabase();
  const settings = options(database.url, emulator, days, { datasets });
  await using first = createSync(settings);
  const told: string[] = [];
  first.on('slice', ({ date, status }) => told.push(`${date} ${status}`));
  expect(await first.run()).toMatchObject({
    status: 'complete',
    slices: { complete: 2, empty: 0, failed: 0 },
  });
  expect(told).toContain(`${days[0]} notPublished`);

  await using later = await emulate({ rowsPerDay: 60, today });
  await using second = createSync(options(database.url, later, days, { datasets }));
  expect(await second.run()).toMatchObject({ status: 'complete', slices: { complete: 3, empty: 0 } });
  expect(await differences(database.sql, later, { ...web, datasets, days })).toEqual([]);
});

test('a property without any data: nothing is complete, nothing failed', async () => {
  await using emulator = await emulate({ firstDay: daysAgo(2) });
  await using database = await testDatabase();
  await using sync = createSync(options(database.url, emulator, settledDays(3)));
  // All days are before the newest that Google has published: they are empty for good.
  expect(await sync.run()).toMatchObject({
    status: 'complete',
    apiCalls: 1,
    slices: { complete: 6, empty: 6 },
  });
});

test('an answer that is empty or less than half never replaces rows, unless that is asked for', async () => {
  const days = settledDays(4);
  const [shrunk, hollow, gone] = days;
  const datasets = ['page+query'];
  await using database = await testDatabase();
  await using full = await emulate({ rowsPerDay: 200 });
  await using first = createSync(options(database.url, full, days, { datasets }));
  expect(await first.run()).toMatchObject({ status: 'complete', rows: 800 });
  const held = await tableDigests(database.sql, SITE);

  // The calendar has three of the days; when the rows are asked for, one has fewer and one has none.
  await using poor = await emulate({
    rowsPerDay: 200,
    rowsOn: (date) => {
      const isCalendar = queries(poor).every(({ dimensions }) => dimensions === 'date');
      if (date === gone) return 0;
      if (isCalendar) return undefined;
      return date === shrunk ? 90 : date === hollow ? 0 : undefined;
    },
  });
  const again = (more: object) => createSync(options(database.url, poor, days, { datasets, ...more }));
  await using refresh = again({ refresh: true });
  const outcome = await refresh.run();
  expect(outcome).toMatchObject({
    status: 'completeWithFailures',
    rows: 800,
    slices: { complete: 2, failed: 2 },
  });
  expect(outcome.failures.map(({ date, reason }) => [date, reason])).toEqual([
    [
      shrunk,
      'shrunk: Google now returns 90 rows, and returned 200 before; acceptShrunk (--accept-shrunk) accepts them',
    ],
    [hollow, 'shrunk: Google now returns no rows, and returned 200 before'],
  ]);
  expect(await tableDigests(database.sql, SITE)).toEqual(held);

  // The rows from before are final and stay: the next run has nothing to do and nothing to complain of.
  await using plain = again({});
  expect(await plain.run()).toMatchObject({
    status: 'complete',
    rows: 800,
    apiCalls: 0,
    slices: { complete: 4, failed: 0 },
  });
  const kept = await database.sql`
    select date::text, status, rows::int, checked_at > fetched_at as checked, kept_reason from longtail.slice
    where status = 'complete' and kept_reason is not null order by date desc`;
  expect([...kept]).toMatchObject([
    { date: shrunk, rows: 200, checked: true, kept_reason: expect.stringMatching(/^shrunk: .* 90 rows/) },
    { date: hollow, rows: 200, checked: true, kept_reason: expect.stringMatching(/^shrunk: .* no rows/) },
  ]);
  // What was not taken has its sums on record, and no rows.
  const [refused] = await database.sql`
    select s.rows::int, s.clicks > 0 as clicked, fetched_at is not null as fetched, has_facts,
      (select count(*)::int from longtail.fact where slice_id = s.id) as facts
    from longtail.slice s where date = ${shrunk ?? ''} and status = 'abandoned'`;
  expect(refused).toEqual({ rows: 90, clicked: true, fetched: true, has_facts: false, facts: 0 });
  expect(await tableDigests(database.sql, SITE)).toEqual(held);

  // Whoever accepts less has just those asked for again.
  const before = poor.requests.length;

  await using accept = again({ acceptShrunk: true });
  expect(await accept.run()).toMatchObject({
    status: 'completeWithFailures',
    rows: 690,
    slices: { complete: 3, failed: 1 },
  });
  // The calendar is asked for again: it leaves out a day that had clicks.
  const asked = new Set(
    queries(poor)
      .slice(before)
      .map(({ date, dimensions }) => `${date} ${dimensions}`),
  );
  expect([...asked].sort()).toEqual(
    [`${days.at(-1)} date`, `${hollow} page+query`, `${shrunk} page+query`].sort(),
  );
  expect(await ledgerProblems(database.sql)).toEqual([]);
  const [replaced] = await database.sql`
    select rows::int, clicks > 0 as clicked, fetched_at is not null as fetched from longtail.slice
    where date = ${shrunk ?? ''} and status = 'superseded'`;
  expect(replaced).toEqual({ rows: 200, clicked: true, fetched: true });
});

test('a refresh replaces each day at once: no reader sees a part of one, or none', async () => {
  const days = settledDays(12);
  const datasets = ['page', 'page+query'];
  const range = { ...web, datasets, days };
  const more = { datasets, rowsPerPage: 100, batchSize: 4 };
  await using database = await testDatabase();
  await using before = await emulate({ rowsPerDay: 450, seed: 1 });
  await using first = createSync(options(database.url, before, days, more));
  expect(await first.run()).toMatchObject({ status: 'complete' });
  const old = await tableDigests(database.sql, SITE);

  await using after = await emulate({ rowsPerDay: 450, seed: 2, latencyMs: 20 });
  await using refresh = createSync(options(database.url, after, days, { ...more, refresh: true }));
  let isOver = false;
  const seen = watch(database.sql, () => isOver);
  expect(await refresh.run().finally(() => (isOver = true))).toMatchObject({ status: 'complete' });
  const views = await seen;
  expect(await differences(database.sql, after, range)).toEqual([]);
  const fresh = await tableDigests(database.sql, SITE);
  expect(old.size).toBe(24);
  let mixed = 0;
  for (const view of views) {
    expect(view.size).toBe(24);
    let replaced = 0;
    for (const [name, { hash }] of view) {
      expect([old.get(name)?.hash, fresh.get(name)?.hash]).toContain(hash);
      if (hash === fresh.get(name)?.hash) replaced += 1;
    }
    if (replaced > 0 && replaced < 24) mixed += 1;
  }
  // Or it would not have looked while days were replaced.
  expect(mixed).toBeGreaterThan(0);
  expect(await ledgerProblems(database.sql)).toEqual([]);
  const [left] = await database.sql`select count(distinct slice_id)::int as slices from longtail.fact`;
  expect(left?.slices).toBe(24);
});

/** Looks at the view again and again, until `isOver`. */
async function watch(sql: Sql, isOver: () => boolean) {
  const views: Awaited<ReturnType<typeof tableDigests>>[] = [];
  while (!isOver()) views.push(await tableDigests(sql, SITE));
  return views;
}
