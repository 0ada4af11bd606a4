// Holds invariants 7 of SPEC.md.
/** Slices of parts of a day, and of selections: each has versions of its own. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { CoverageRange } from '../../../src/domain/coverage.ts';
import type { SliceKey } from '../../../src/domain/slice.ts';
import { readOutcome } from '../../../src/postgres/queries/run-outcome.ts';
import { readStatus } from '../../../src/postgres/queries/status.ts';
import type { TestDatabase } from '../../support/postgres.ts';
import {
  beginRun,
  commit,
  databaseWithRun,
  leaveRun,
  openOne,
  type TestRun,
  unwrap,
} from '../../support/synchronisation.ts';

let database: TestDatabase;
let current: TestRun;

beforeEach(async () => {
  ({ database, current } = await databaseWithRun());
});
afterEach(() => leaveRun(database, current));

const DATE = '2026-03-01';
const FIRST = { dataset: 'searchAppearance', date: DATE };
const RANGE: CoverageRange = {
  from: DATE,
  to: DATE,
  searchTypes: ['web'],
  datasets: ['searchAppearance', 'page+searchAppearance'],
};
const partKey = (value: string) => ({
  dataset: 'page+searchAppearance',
  date: DATE,
  part: `searchAppearance=${value}`,
});

const row = (...keys: string[]) => ({ keys, clicks: 1, impressions: 2, position: 1 });

async function fetched(
  key: Partial<SliceKey>,
  rows: readonly ReturnType<typeof row>[],
  final = true,
): Promise<void> {
  const { slice } = await openOne(current.store, key);
  expect(await commit(current.store, slice, rows, { final })).toMatchObject({ next: { kind: 'sealed' } });
}

async function figures() {
  const { planned, complete, failed, empty } = await readOutcome(database.sql, current.run, RANGE);
  const { months } = await readStatus(database.sql);
  const month = months.find(({ dataset }) => dataset === 'page+searchAppearance');
  return { planned, complete, failed, empty, status: month?.complete };
}

test('parts are sealed one by one, and the day is complete when all are', async () => {
  await fetched(FIRST, [row('A'), row('B')]);
  expect(unwrap(await current.store.readAppearances(RANGE))).toEqual([
    { searchType: 'web', date: DATE, values: ['A', 'B'] },
  ]);
  expect(await figures()).toMatchObject({ planned: 2, complete: 1 });
  await fetched(partKey('A'), [row('https://x/')]);
  expect(await figures()).toMatchObject({ planned: 2, complete: 1 });
  await fetched(partKey('B'), [row('https://x/'), row('https://y/')]);
  expect(await figures()).toEqual({ planned: 2, complete: 2, failed: 0, empty: 0, status: 1 });
  expect(unwrap(await current.store.readCoverage(RANGE)).map(({ dataset, part }) => [dataset, part])).toEqual(
    [
      ['page+searchAppearance', 'searchAppearance=A'],
      ['page+searchAppearance', 'searchAppearance=B'],
      ['searchAppearance', undefined],
    ],
  );
  const rows = await database.sql`
    select page, search_appearance from search_analytics where dataset = 'page+searchAppearance' order by 2, 1`;
  expect(rows.map((one) => Object.values(one))).toEqual([
    ['https://x/', 'A'],
    ['https://x/', 'B'],
    ['https://y/', 'B'],
  ]);

  // Another version of one leaves the other alone; a failed one is the day's failure.
  await fetched(partKey('A'), [row('https://z/')]);
  const { slice } = await openOne(current.store, partKey('B'));
  unwrap(await current.store.failSlice(slice.id, 'no'));
  expect(await figures()).toMatchObject({ complete: 1, failed: 1 });
  const { failures } = await readOutcome(database.sql, current.run, RANGE);
  expect(failures).toEqual([{ searchType: 'web', ...partKey('B'), reason: 'no' }]);
  const pages = await database.sql`
    select page from search_analytics where dataset = 'page+searchAppearance' order by 1`;
  expect(pages.map(({ page }) => page)).toEqual(['https://x/', 'https://y/', 'https://z/']);
});

test('a part with duplicates is looked at again as that part', async () => {
  const { slice } = await openOne(current.store, partKey('A'));
  const answers = [row('https://x/'), row('https://x/')];
  const first = await commit(current.store, slice, answers.slice(0, 1), { rowLimit: 1 });
  expect(first).toMatchObject({ next: { kind: 'page' } });
  const second = await commit(current.store, slice, answers.slice(1), { rowLimit: 2, startRow: 1 });
  expect(second).toMatchObject({ next: { kind: 'again' } });
  const looks = await database.sql`select part, second_look from longtail.slice order by version`;
  expect([...looks]).toEqual([
    { part: 'searchAppearance=A', second_look: false },
    { part: 'searchAppearance=A', second_look: true },
  ]);
});

test('an open part is continued as itself, and days without data are sealed by part', async () => {
  const { slice } = await openOne(current.store, partKey('A'));
  const again = await openOne(current.store, partKey('A'));
  expect(again.slice).toEqual(slice);
  expect((await openOne(current.store, partKey('B'))).slice.id).not.toBe(slice.id);
  const keys = [{ searchType: 'web', ...partKey('A') } as const];
  expect(unwrap(await current.store.sealEmptySlices(keys, { final: true }))).toBe(1);
  const rows = await database.sql`select part, status from longtail.slice order by part, id`;
  expect([...rows]).toEqual([
    { part: 'searchAppearance=A', status: 'abandoned' },
    { part: 'searchAppearance=A', status: 'complete' },
    { part: 'searchAppearance=B', status: 'open' },
  ]);
});

test('a selection has slices of its own, and a refresh of its own', async () => {
  await fetched({ dataset: 'page' }, [row('https://x/')]);
  await current.lock.release();
  const selection = { filterKey: 'page contains "x"', aggregationType: '' };
  current = await beginRun(database.sql, { selection, refresh: true });
  const range = { ...RANGE, datasets: ['page'] };
  expect(unwrap(await current.store.readCoverage(range))).toEqual([]);
  await fetched({ dataset: 'page' }, [row('https://x/filtered')]);
  expect(unwrap(await current.store.readCoverage(range))).toHaveLength(1);
  const shown = await database.sql`
    select page, '' as filter from search_analytics union all select page, filter from search_analytics_filtered
    order by 2`;
  expect([...shown]).toEqual([
    { page: 'https://x/', filter: '' },
    { page: 'https://x/filtered', filter: selection.filterKey },
  ]);
  // The refresh that was cut off is the selection's alone.
  await current.lock.release();
  current = await beginRun(database.sql);
  expect(current.refreshCutOff).toBe(null);
  await current.lock.release();
  current = await beginRun(database.sql, { selection });
  expect(current.refreshCutOff).not.toBe(null);
});

test('a refused combination is remembered for a month', async () => {
  const { slice } = await openOne(current.store, { dataset: 'country' });
  const refused = { searchType: 'web', dataset: 'country', reason: 'Cannot group by that.' } as const;
  unwrap(await current.store.refuseSlice(slice.id, refused));
  expect(unwrap(await current.store.readRefused())).toEqual([refused]);
  const outcome = await readOutcome(database.sql, current.run, { ...RANGE, datasets: ['country', 'page'] });
  expect(outcome).toMatchObject({ planned: 1, failed: 0, refused: [refused] });
  await database.sql`update longtail.not_served set refused_at = now() - interval '31 days'`;
  expect(unwrap(await current.store.readRefused())).toEqual([]);
});
