// Holds invariants 7 of SPEC.md.

import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Coverage, CoverageRange } from '../../../src/domain/coverage.ts';
import type { SliceKey } from '../../../src/domain/slice.ts';
import { readCalendar } from '../../../src/postgres/queries/calendar.ts';
import { analyze, cleanUp } from '../../../src/postgres/queries/cleanup.ts';
import { finishRun, type RunEnd, type RunParameters } from '../../../src/postgres/queries/run.ts';
import { readOutcome } from '../../../src/postgres/queries/run-outcome.ts';
import { readStatus } from '../../../src/postgres/queries/status.ts';
import type { TestDatabase } from '../../support/postgres.ts';
import {
  beginRun,
  commit,
  databaseWithRun,
  leaveRun,
  makeRows,
  openOne,
  SITE,
  type TestRun,
  unwrap,
} from '../../support/synchronisation.ts';

let database: TestDatabase;
let current: TestRun;

beforeEach(async () => {
  ({ database, current } = await databaseWithRun());
});
afterEach(() => leaveRun(database, current));

const RANGE: CoverageRange = {
  from: '2026-03-01',
  to: '2026-03-31',
  searchTypes: ['web'],
  datasets: ['page+query'],
};
const day = (date: string): SliceKey => ({ searchType: 'web', dataset: 'page+query', date });

/** Ends the run as it would end, or not at all (a crash), and begins the next. */
async function nextRun(end: RunEnd | 'crash', parameters: Partial<RunParameters> = {}): Promise<void> {
  if (end !== 'crash') expect(await finishRun(database.sql, current.run, { status: end })).toBe(true);
  await current.lock.release();
  current = await beginRun(database.sql, parameters);
}

async function coverage(range: Partial<CoverageRange> = {}): Promise<Record<string, string>> {
  const found = unwrap(await current.store.readCoverage({ ...RANGE, ...range }));
  const words = ({ status, final, beforeCutOff }: Coverage): string =>
    [status, ...(final ? ['final'] : []), ...(beforeCutOff ? ['beforeCutOff'] : [])].join(' ');
  return Object.fromEntries(found.map((key) => [key.date, words(key)]));
}

async function complete(date: string, rows = 3, final = true): Promise<void> {
  const { slice } = await openOne(current.store, day(date));
  expect(await commit(current.store, slice, makeRows(rows), { final })).toMatchObject({
    next: { kind: 'sealed' },
  });
}

test('slices open in the order asked for, and are the same when asked for twice', async () => {
  const keys = ['2026-03-09', '2026-03-11', '2026-03-10'].map(day);
  const opened = unwrap(await current.store.openSlices(keys, { continueYoungerThanMinutes: 15 }));
  expect(opened.map(({ slice }) => slice.date)).toEqual(keys.map(({ date }) => date));
  expect(opened[0]).toMatchObject({
    startRow: 0,
    slice: { siteUrl: SITE, searchType: 'web', dataset: 'page+query' },
  });
  expect(unwrap(await current.store.openSlices(keys, { continueYoungerThanMinutes: 15 }))).toEqual(opened);
});

test('a slice that a crashed run left minutes ago goes on from its ledger', async () => {
  const first = await openOne(current.store);
  const rows = makeRows(25);
  await commit(current.store, first.slice, rows.slice(0, 10));
  await nextRun('crash');
  const resumed = await openOne(current.store);
  expect(resumed).toEqual({ slice: first.slice, startRow: 10 });
  await commit(current.store, resumed.slice, rows.slice(10, 20), { startRow: 10 });
  expect(await commit(current.store, resumed.slice, rows.slice(20), { startRow: 20 })).toMatchObject({
    next: { kind: 'sealed' },
  });
});

test('an older one is given up and fetched anew; its rows go when it is cleaned up', async () => {
  const first = await openOne(current.store);
  await commit(current.store, first.slice, makeRows(10));
  await database.sql`update longtail.slice_page set committed_at = now() - interval '16 minutes'`;
  await nextRun('crash');
  const fresh = await openOne(current.store);
  expect(fresh.slice.id).not.toBe(first.slice.id);
  expect(fresh.startRow).toBe(0);
  expect(await cleanUp(database.sql, current.run.propertyId, () => false)).toBe(1);
  expect(await database.sql`select from longtail.fact`).toHaveLength(0);
  expect(await cleanUp(database.sql, current.run.propertyId, () => false)).toBe(0);
});

test('a second look that was given up is still a second look', async () => {
  const { slice } = await openOne(current.store);
  const rows = makeRows(15);
  await commit(current.store, slice, rows.slice(0, 10));
  const result = await commit(current.store, slice, [...rows.slice(9, 10), ...rows.slice(11)], {
    startRow: 10,
  });
  if (!('next' in result) || result.next.kind !== 'again') throw new Error(JSON.stringify(result));
  await commit(current.store, { ...slice, id: result.next.sliceId }, rows.slice(0, 10));
  // A complete version is there, and yet the key is not done.
  expect(await coverage()).toEqual({ '2026-03-01': 'open' });
  await database.sql`update longtail.slice_page set committed_at = now() - interval '1 hour'`;
  await nextRun('crash');
  const fresh = await openOne(current.store);
  await commit(current.store, fresh.slice, rows.slice(0, 10));
  expect(await commit(current.store, fresh.slice, rows.slice(9, 14), { startRow: 10 })).toMatchObject({
    next: { kind: 'sealed' },
  });
  expect(await coverage()).toEqual({ '2026-03-01': 'complete final' });
});

test('coverage tells complete, open and failed apart, and leaves out what is missing', async () => {
  await complete('2026-03-01');
  await complete('2026-03-02', 3, false);
  await openOne(current.store, day('2026-03-03'));
  const failing = await openOne(current.store, day('2026-03-04'));
  unwrap(await current.store.failSlice(failing.slice.id, 'five attempts'));
  await complete('2026-04-01');
  expect(await coverage()).toEqual({
    '2026-03-01': 'complete final',
    '2026-03-02': 'complete',
    '2026-03-03': 'open',
    '2026-03-04': 'failed',
  });
  expect(await coverage({ datasets: ['page'] })).toEqual({});
});

test('a failure is taken up again even where an older version is complete', async () => {
  await complete('2026-03-01');
  const failing = await openOne(current.store);
  unwrap(await current.store.failSlice(failing.slice.id, 'five attempts'));
  expect(await coverage()).toEqual({ '2026-03-01': 'failed' });
  await complete('2026-03-01');
  expect(await coverage()).toEqual({ '2026-03-01': 'complete final' });
});

test('a refresh sees what is older than itself, and not what it has fetched', async () => {
  await complete('2026-03-01');
  await complete('2026-03-02');
  await nextRun('complete', { refresh: true, ...RANGE });
  expect(current.refreshCutOff).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  await complete('2026-03-02');
  expect(await coverage()).toEqual({
    '2026-03-01': 'complete final beforeCutOff',
    '2026-03-02': 'complete final',
  });
});

test.each(['halted', 'failed', 'crash'] as const)(
  'a refresh that %s resumes in the next plain run',
  async (end) => {
    for (const date of ['2026-03-01', '2026-03-02', '2026-04-01']) await complete(date);
    await nextRun('complete', { refresh: true, ...RANGE });
    const cutOff = current.refreshCutOff;
    await complete('2026-03-02');
    await nextRun(end, { from: '2026-02-01', to: '2026-04-30' });
    expect(current.refreshCutOff).toBe(cutOff);
    const whole = await coverage({ from: '2026-02-01', to: '2026-04-30' });
    expect(whole).toEqual({
      '2026-03-01': 'complete final beforeCutOff',
      '2026-03-02': 'complete final',
      // Never asked to be refreshed.
      '2026-04-01': 'complete final',
    });
    // And through a second crash, into a refresh of the same range.
    await nextRun('crash', { refresh: true, ...RANGE });
    expect(current.refreshCutOff).toBe(cutOff);
  },
);

test.each([
  ['it came to its end', 'complete', RANGE, '1 minute'],
  ['it was of other days', 'crash', { from: '2026-05-01', to: '2026-05-31' }, '1 minute'],
  ['it is older than a day', 'crash', RANGE, '25 hours'],
] as const)('a refresh does not go on when %s', async (_, end, range, age) => {
  await nextRun('complete', { refresh: true, ...RANGE });
  await database.sql`update longtail.run set refresh_cut_off = now() - ${age}::text::interval where refresh_cut_off is not null`;
  await nextRun(end, range);
  expect(current.refreshCutOff).toBeNull();
});

test('a refresh of more than the unfinished one starts anew', async () => {
  await nextRun('complete', { refresh: true, ...RANGE });
  const earlier = current.refreshCutOff;
  await nextRun('crash', { refresh: true, ...RANGE, to: '2026-04-30' });
  expect(current.refreshCutOff).not.toBe(earlier);
  expect(current.refreshCutOff).not.toBeNull();
});

test('empty days are sealed at once, replace nothing, and drop what was open', async () => {
  await complete('2026-03-01', 3, false);
  const open = await openOne(current.store, day('2026-03-02'));
  await commit(current.store, open.slice, makeRows(10));
  const keys = ['2026-03-01', '2026-03-02', '2026-03-03'].map(day);
  expect(unwrap(await current.store.sealEmptySlices(keys, { final: true }))).toBe(2);
  expect(await coverage()).toEqual({
    '2026-03-01': 'complete final',
    '2026-03-02': 'complete final',
    '2026-03-03': 'complete final',
  });
  expect(await database.sql`select from public.search_analytics`).toHaveLength(3);
  expect(unwrap(await current.store.sealEmptySlices(keys, { final: true }))).toBe(0);
});

test('the calendar is kept, and days that it no longer names keep their totals', async () => {
  const first = {
    from: '2026-03-01',
    to: '2026-03-05',
    lastPublished: '2026-03-04',
    firstIncomplete: '2026-03-03',
    days: [
      { date: '2026-03-01', clicks: 1, impressions: 10 },
      { date: '2026-03-04', clicks: 4, impressions: 40 },
    ],
  };
  expect(await readCalendar(database.sql, current.run.propertyId, 'web', RANGE)).toBeUndefined();
  unwrap(await current.store.commitCalendar('web', first));
  unwrap(
    await current.store.commitCalendar('web', {
      ...first,
      from: '2026-03-02',
      firstIncomplete: null,
      days: [{ date: '2026-03-04', clicks: 5, impressions: 50 }],
    }),
  );
  const kept = await readCalendar(database.sql, current.run.propertyId, 'web', RANGE);
  expect(kept).toMatchObject({
    from: '2026-03-02',
    to: '2026-03-05',
    lastPublished: '2026-03-04',
    firstIncomplete: null,
    days: [
      { date: '2026-03-04', clicks: 5, impressions: 50 },
      { date: '2026-03-01', clicks: 1, impressions: 10 },
    ],
  });
  expect(kept?.ageMs).toBeGreaterThanOrEqual(0);
});

test('the outcome is read from the tables: earlier runs count, a key counts once', async () => {
  await complete('2026-03-01', 3);
  await nextRun('complete');
  await complete('2026-03-02', 4);
  unwrap(await current.store.sealEmptySlices([day('2026-03-03')], { final: true }));
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const { slice } = await openOne(current.store, day('2026-03-04'));
    unwrap(await current.store.failSlice(slice.id, `try ${attempt}`));
  }
  const { slice } = await openOne(current.store, day('2026-03-05'));
  unwrap(await current.store.failSlice(slice.id, 'mended'));
  await complete('2026-03-05', 5);
  expect(await readOutcome(database.sql, current.run, RANGE)).toEqual({
    complete: 4,
    empty: 1,
    failed: 1,
    rows: 12,
    failures: [{ searchType: 'web', dataset: 'page+query', date: '2026-03-04', reason: 'try 1' }],
  });
});

test('the status counts days by month, the missing ones up to what Google has published', async () => {
  await complete('2026-02-27', 2);
  await complete('2026-03-01', 3);
  unwrap(await current.store.sealEmptySlices([day('2026-03-02')], { final: true }));
  await openOne(current.store, day('2026-03-03'));
  const { slice } = await openOne(current.store, day('2026-03-04'));
  unwrap(await current.store.failSlice(slice.id, 'x'));
  const calendar = { from: '2026-01-01', to: '2026-03-31', firstIncomplete: null, days: [] };
  unwrap(await current.store.commitCalendar('web', { ...calendar, lastPublished: '2026-03-06' }));
  const common = {
    ...{ siteUrl: SITE, searchType: 'web', dataset: 'page+query' },
    ...{ capped: 0, totalClicks: null, hiddenShare: null, duplicatesDropped: 0 },
    ...{ clicks: expect.any(Number), impressions: expect.any(Number) },
  };
  const expected = [
    {
      ...common,
      month: '2026-03',
      complete: 2,
      empty: 1,
      open: 1,
      failed: 1,
      missing: 2,
      rows: 3,
      first: '2026-03-01',
      last: '2026-03-02',
    },
    {
      ...common,
      month: '2026-02',
      complete: 1,
      empty: 0,
      open: 0,
      failed: 0,
      missing: 1,
      rows: 2,
      first: '2026-02-27',
      last: '2026-02-27',
    },
  ];
  const { months, failed, capped } = await readStatus(database.sql);
  expect(months).toEqual(expected);
  expect(failed).toMatchObject([{ date: '2026-03-04', reason: 'x', rows: null }]);
  expect(capped).toEqual([]);
  expect((await readStatus(database.sql, SITE)).months).toEqual(expected);
  expect((await readStatus(database.sql, 'sc-domain:other.com')).months).toEqual([]);
});

test('cleaning up leaves what readers see, stops when asked, and gives up what nobody has touched for a day', async () => {
  await complete('2026-03-01', 3);
  await complete('2026-03-01', 4);
  const failing = await openOne(current.store, day('2026-03-02'));
  await commit(current.store, failing.slice, makeRows(10));
  unwrap(await current.store.failSlice(failing.slice.id, 'x'));
  const left = await openOne(current.store, day('2026-03-03'));
  await commit(current.store, left.slice, makeRows(10));
  await nextRun('crash');
  await database.sql`update longtail.slice_page set committed_at = now() - interval '2 days' where slice_id = ${left.slice.id}`;
  await database.sql`update longtail.slice set opened_at = now() - interval '2 days' where id = ${left.slice.id}`;
  expect(await cleanUp(database.sql, current.run.propertyId, () => true)).toBe(0);
  expect(await database.sql`select from longtail.fact`).toHaveLength(27);
  expect(await cleanUp(database.sql, current.run.propertyId, () => false)).toBe(3);
  expect(await database.sql`select from longtail.fact`).toHaveLength(4);
  expect(await database.sql`select from public.search_analytics`).toHaveLength(4);
  await analyze(database.sql);
});

test('a run ends once, and writes nothing afterwards', async () => {
  const { slice } = await openOne(current.store);
  expect(await finishRun(database.sql, current.run, { status: 'halted', reason: 'asked' })).toBe(true);
  expect(await finishRun(database.sql, current.run, { status: 'complete' })).toBe(false);
  expect(await commit(current.store, slice, makeRows(1))).toMatchObject({
    kind: 'fatal',
    code: 'FENCED_OFF',
  });
});
