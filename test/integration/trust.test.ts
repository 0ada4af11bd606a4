// @module-tag long
// Holds invariants 6, 7, 10 of SPEC.md.

import type { Sql } from 'postgres';
import { expect, test } from 'vitest';
import type { Emulator, EmulatorOptions } from '../../src/emulator/index.ts';
import { createSync } from '../../src/sync/sync.ts';
import type { Progress, Sync } from '../../src/sync/types.ts';
import { differences } from '../support/compare.ts';
import { ledgerProblems } from '../support/ledger-check.ts';
import { testDatabase } from '../support/postgres.ts';
import { daysAgo, emulate, options, queries, SITE, settledDays } from '../support/property.ts';
import { until } from '../support/until.ts';

const datasets = ['page', 'page+query'];
const web = { siteUrl: SITE, searchTypes: ['web'], datasets } as const;
/** Eight rounds and a half. One worker fetches the calendar, three have a speculative batch each: the newest six days. */
const more = { datasets, maxConcurrency: 4, batchSize: 4 };
const days = settledDays(60);
const speculative = days.slice(0, 6);

const CALENDAR = { dimensions: 'date' };
const slowCalendarRules = (ms: number) => [{ match: CALENDAR, action: { kind: 'delay', ms } }] as const;
const slowCalendar = (ms: number): EmulatorOptions => ({
  rowsPerDay: 40,
  faults: { rules: [...slowCalendarRules(ms)] },
});

/** Days of slices that were asked for within so many milliseconds of the first calendar. */
function askedWithin(emulator: Emulator, ms: number): string[] {
  const asked = queries(emulator);
  const first = asked.findIndex(({ dimensions }) => dimensions === 'date');
  const endsAt = (emulator.requests[first]?.arrivedAtMs ?? 0) + ms;
  return asked
    .filter((_, index) => (emulator.requests[index]?.arrivedAtMs ?? endsAt) < endsAt)
    .filter(({ dimensions }) => dimensions !== 'date')
    .map(({ date }) => date);
}

function observe(sync: Sync) {
  const progress: Progress[] = [];
  const ends: string[] = [];
  sync.on('progress', (told) => progress.push(told));
  sync.on('slice', ({ status }) => ends.push(status));
  return { progress, ends };
}

async function expectAllFinal(sql: Sql): Promise<void> {
  expect(
    await sql`select status, final, count(*)::int from longtail.slice
    where status in ('complete', 'open') group by 1, 2`,
  ).toEqual([{ status: 'complete', final: true, count: 120 }]);
  expect(await ledgerProblems(sql)).toEqual([]);
}

test('while the calendar is on its way, the other workers fetch old days, as final as if it had been there', async () => {
  await using emulator = await emulate(slowCalendar(1_000));
  await using database = await testDatabase();
  const settings = options(database.url, emulator, days, more);
  await using sync = createSync(settings);
  const { progress, ends } = observe(sync);
  expect(await sync.run()).toMatchObject({
    status: 'complete',
    apiCalls: 121,
    slices: { complete: 120, failed: 0 },
  });
  expect([...new Set(askedWithin(emulator, 1_000))].sort()).toEqual([...speculative].sort());
  expect(askedWithin(emulator, 1_000)).toHaveLength(12);
  expect(ends).toEqual(Array.from({ length: 120 }, () => 'complete'));
  expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
  await expectAllFinal(database.sql);
  // The speculative ones were done before the plan was known, and count from the moment that it is.
  for (const [index, { slicesDone, slicesPlanned, daysDone, remainingMs }] of progress.entries()) {
    expect(slicesDone).toBeGreaterThanOrEqual(progress[index - 1]?.slicesDone ?? 0);
    expect(daysDone).toBeGreaterThanOrEqual(progress[index - 1]?.daysDone ?? 0);
    if (slicesPlanned === 0) expect(remainingMs).toBeNull();
    else expect(slicesDone).toBeGreaterThanOrEqual(12);
  }
  expect(progress.at(-1)).toMatchObject({
    slicesDone: 120,
    slicesPlanned: 120,
    daysDone: 60,
    daysPlanned: 60,
  });
  await using again = createSync(settings);
  expect(await again.run()).toMatchObject({ status: 'complete', apiCalls: 0 });
});

// What came back empty before the calendar was there means nothing yet; what comes afterwards is an empty day.
test.each([
  ['before the calendar', 600, 0],
  ['after the calendar', 0, 600],
])(
  'a speculative day that the calendar leaves out is complete and empty: its answer comes %s',
  async (_, calendarMs, dayMs) => {
    const hollow = [speculative[1], speculative[4]];
    await using emulator = await emulate({
      rowsPerDay: 40,
      rowsOn: (date) => (hollow.includes(date) ? 0 : undefined),
      faults: {
        rules: [
          { match: CALENDAR, action: { kind: 'delay', ms: calendarMs } },
          ...hollow.map((date) => ({ match: { date }, action: { kind: 'delay', ms: dayMs } }) as const),
        ],
      },
    });
    await using database = await testDatabase();
    const settings = options(database.url, emulator, days, more);
    await using sync = createSync(settings);
    const { progress, ends } = observe(sync);
    expect(await sync.run()).toMatchObject({
      status: 'complete',
      // Asked in vain: four slices of two days.
      apiCalls: 121,
      slices: { planned: 120, complete: 120, failed: 0, empty: 4 },
    });
    expect(new Set(ends)).toEqual(new Set(['complete']));
    expect(progress.at(-1)).toMatchObject({ slicesDone: 120, daysDone: 60 });
    expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
    await expectAllFinal(database.sql);
    await using again = createSync(settings);
    expect(await again.run()).toMatchObject({ status: 'complete', apiCalls: 0 });
  },
);

test('a speculative day that was empty too early, and is in the calendar, is fetched again', async () => {
  // Its rows are there when the slices are asked for again, and not at first.
  const rules = [{ match: { date: speculative[2] ?? '' }, times: 2, action: { kind: 'noRows' } }] as const;
  await using emulator = await emulate({
    ...slowCalendar(1_000),
    faults: { rules: [...slowCalendarRules(1_000), ...rules] },
  });
  await using database = await testDatabase();
  const settings = options(database.url, emulator, days, more);
  await using sync = createSync(settings);
  const { progress, ends } = observe(sync);
  expect(await sync.run()).toMatchObject({ status: 'complete', apiCalls: 123, slices: { complete: 120 } });
  expect(
    queries(emulator).filter(({ date, dimensions }) => date === speculative[2] && dimensions !== 'date'),
  ).toHaveLength(4);
  expect(ends).toEqual(Array.from({ length: 120 }, () => 'complete'));
  expect(progress.at(-1)).toMatchObject({ slicesDone: 120, daysDone: 60 });
  expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
  await expectAllFinal(database.sql);
});

test('what may still change, or is of a type that many properties have not, is not fetched speculatively', async () => {
  const fresh = Array.from({ length: 60 }, (_, index) => daysAgo(index));
  await using emulator = await emulate(slowCalendar(500));
  await using database = await testDatabase();
  await using sync = createSync(
    options(database.url, emulator, fresh, { ...more, searchTypes: ['image', 'web'] }),
  );
  expect(await sync.run()).toMatchObject({ status: 'complete', slices: { failed: 0 } });
  const early = askedWithin(emulator, 500);
  // Two workers fetch calendars.
  expect(early).toHaveLength(8);
  expect(early.every((date) => date <= daysAgo(10))).toBe(true);
  expect(
    queries(emulator)
      .slice(0, 10)
      .filter(({ type }) => type === 'image'),
  ).toMatchObject([{ dimensions: 'date' }]);
  expect(
    await differences(database.sql, emulator, { ...web, searchTypes: ['image', 'web'], days: fresh }),
  ).toEqual([]);
});

test('a calendar that fails for good ends the run, and what was fetched speculatively is fetched again', async () => {
  await using emulator = await emulate({
    rowsPerDay: 40,
    faults: { rules: [{ match: CALENDAR, action: { kind: 'error', error: 'badRequest' } }] },
  });
  await using database = await testDatabase();
  const settings = options(database.url, emulator, days, more);
  await using sync = createSync(settings);
  expect(await sync.run()).toMatchObject({ status: 'failed', failure: { code: 'UNEXPECTED_ANSWER' } });
  emulator.setFaults(undefined);
  await using again = createSync(settings);
  expect(await again.run()).toMatchObject({ status: 'complete', apiCalls: 121, slices: { complete: 120 } });
  expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
  await expectAllFinal(database.sql);
});

test('a calendar that is tried again holds nobody up but the plan, at concurrency 1 too', async () => {
  await using emulator = await emulate({
    rowsPerDay: 40,
    faults: {
      rules: [
        { match: CALENDAR, times: 2, action: { kind: 'error', error: 'backendError' } },
        { match: CALENDAR, times: 1, action: { kind: 'delay', ms: 300 } },
      ],
    },
  });
  await using database = await testDatabase();
  await using sync = createSync(options(database.url, emulator, days, more));
  const { ends } = observe(sync);
  const running = sync.run();
  await until(() => ends.length === 12, 'what is fetched speculatively');
  sync.setConcurrency(1);
  sync.pause();
  await new Promise((resolve) => setTimeout(resolve, 50));
  sync.resume();
  expect(await running).toMatchObject({ status: 'complete', slices: { complete: 120 } });
  await expectAllFinal(database.sql);
});

test('a halt while the plan waits for the calendar ends it at once; the next run resumes', async () => {
  await using emulator = await emulate(slowCalendar(20_000));
  await using database = await testDatabase();
  const settings = options(database.url, emulator, days, more);
  await using sync = createSync(settings);
  const { ends } = observe(sync);
  const running = sync.run();
  await until(() => ends.length === 12, 'what is fetched speculatively');
  const haltedAt = performance.now();
  await sync.halt('enough');
  expect(await running).toMatchObject({ status: 'halted', slices: { complete: 12 } });
  expect(performance.now() - haltedAt).toBeLessThan(3_000);
  emulator.setFaults(undefined);
  await using again = createSync(settings);
  expect(await again.run()).toMatchObject({ status: 'complete', slices: { complete: 120 } });
  expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
  await expectAllFinal(database.sql);
});
