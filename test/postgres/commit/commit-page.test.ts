// Holds invariants 1 of SPEC.md.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createStore } from '../../../src/postgres/store.ts';
import type { TestDatabase } from '../../support/postgres.ts';
import {
  beginRun,
  commit,
  databaseWithRun,
  leaveRun,
  makeRows,
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

interface SliceState {
  status: string;
  rows: number;
  clicks: number;
  duplicates: number;
  replaced: number;
  capped: boolean;
  final: boolean;
  error: string | null;
}

async function sliceState(id: string): Promise<SliceState | undefined> {
  const rows = await database.sql<SliceState[]>`
    select status, rows::float8 as rows, clicks::float8 as clicks, duplicate_rows as duplicates,
      replaced_characters as replaced, capped, final, error
    from longtail.slice where id = ${id}`;
  return rows[0];
}

async function seen(): Promise<string[]> {
  const rows = await database.sql<{ page: string }[]>`select page from public.search_analytics order by page`;
  return rows.map(({ page }) => page);
}

afterEach(() => {
  vi.unstubAllEnvs();
});

describe.each(['fast', 'public'])('on the %s path', (path) => {
  beforeEach(() => {
    if (path === 'public') vi.stubEnv('LONGTAIL_FAST_PATHS', 'off');
  });

  test('a short first page is the whole slice: seen at once, with its figures', async () => {
    const { slice } = await openOne(current.store);
    expect(await seen()).toEqual([]);
    expect(await commit(current.store, slice, makeRows(3), { final: false })).toEqual({
      kind: 'committed',
      rows: 3,
      next: { kind: 'sealed' },
    });
    const rows = await database.sql`select * from public.search_analytics order by clicks desc`;
    expect(Object.keys(rows[0] ?? {})).toEqual(
      'site_url search_type dataset date page query country device clicks impressions ctr position search_appearance data_state'.split(
        ' ',
      ),
    );
    expect(rows).toHaveLength(3);
    expect(rows[0]).toMatchObject({
      site_url: 'sc-domain:example.com',
      dataset: 'page+query',
      country: null,
    });
    expect(rows[0]).toMatchObject({
      clicks: '3',
      impressions: '30',
      ctr: 0.1,
      position: 1,
      data_state: 'all',
    });
    expect(await sliceState(slice.id)).toMatchObject({
      status: 'complete',
      rows: 3,
      clicks: 6,
      final: false,
    });
  });

  test('a slice of several pages is invisible until its short page', async () => {
    const { slice } = await openOne(current.store);
    const rows = makeRows(25);
    expect(await commit(current.store, slice, rows.slice(0, 10))).toMatchObject({
      next: { kind: 'page', startRow: 10 },
    });
    expect(await commit(current.store, slice, rows.slice(10, 20), { startRow: 10 })).toMatchObject({
      next: { kind: 'page', startRow: 20 },
    });
    expect(await seen()).toEqual([]);
    expect(await commit(current.store, slice, rows.slice(20), { startRow: 20 })).toMatchObject({
      next: { kind: 'sealed' },
    });
    expect(await seen()).toHaveLength(25);
  });

  test('exactly a page of rows: an empty page ends the slice', async () => {
    const { slice } = await openOne(current.store);
    await commit(current.store, slice, makeRows(10));
    expect(await commit(current.store, slice, [], { startRow: 10, mayBeEmpty: false })).toMatchObject({
      kind: 'committed',
      rows: 0,
      next: { kind: 'sealed' },
    });
    expect(await sliceState(slice.id)).toMatchObject({ status: 'complete', rows: 10 });
  });

  test('pages in any order seal the slice when the last gap is closed', async () => {
    const { slice } = await openOne(current.store);
    const rows = makeRows(15);
    expect(await commit(current.store, slice, rows.slice(10), { startRow: 10 })).toMatchObject({
      next: { kind: 'page', startRow: 0 },
    });
    expect(await seen()).toEqual([]);
    expect(await commit(current.store, slice, rows.slice(0, 10))).toMatchObject({ next: { kind: 'sealed' } });
    expect(await seen()).toHaveLength(15);
  });

  test('both pages of a slice at once: one of them seals it', async () => {
    for (let round = 0; round < 10; round += 1) {
      const { slice } = await openOne(current.store, { date: `2026-04-${10 + round}` });
      const rows = makeRows(15);
      const results = await Promise.all([
        commit(current.store, slice, rows.slice(0, 10)),
        commit(current.store, slice, rows.slice(10), { startRow: 10 }),
      ]);
      const ends = results.map((result) => ('next' in result ? result.next.kind : result.kind));
      expect(ends.toSorted()).toEqual(['page', 'sealed']);
    }
  });

  test('a page a second time changes nothing and has the same sequel', async () => {
    const { slice } = await openOne(current.store);
    const rows = makeRows(15);
    const first = await commit(current.store, slice, rows.slice(0, 10));
    expect(await commit(current.store, slice, rows.slice(0, 10))).toEqual({
      ...first,
      kind: 'alreadyCommitted',
    });
    const second = await commit(current.store, slice, rows.slice(10), { startRow: 10 });
    expect(await commit(current.store, slice, rows.slice(10), { startRow: 10 })).toEqual({
      ...second,
      kind: 'alreadyCommitted',
    });
    expect(await seen()).toHaveLength(15);
  });

  test('the same page by ten writers is written once', async () => {
    const { slice } = await openOne(current.store);
    const results = await Promise.all(
      Array.from({ length: 8 }, () => commit(current.store, slice, makeRows(5))),
    );
    expect(results.filter(({ kind }) => kind === 'committed')).toHaveLength(1);
    expect(results.filter(({ kind }) => kind === 'alreadyCommitted')).toHaveLength(7);
    expect(await seen()).toHaveLength(5);
  });

  test('a reader sees the old day or the new one, never both and never half', async () => {
    const first = await openOne(current.store);
    await commit(current.store, first.slice, makeRows(30, 'v0-'), { rowLimit: 100 });
    let isDone = false;
    const reading = (async () => {
      const kinds = new Set<string>();
      while (!isDone) {
        const pages = await seen();
        kinds.add(`${pages.length}/${new Set(pages.map((page) => page.split('/')[3]?.split('-')[0])).size}`);
      }
      return kinds;
    })();
    for (let version = 1; version <= 20; version += 1) {
      const { slice } = await openOne(current.store);
      const rows = makeRows(30, `v${version}-`);
      await commit(current.store, slice, rows.slice(0, 20), { rowLimit: 20 });
      expect(
        await commit(current.store, slice, rows.slice(20), { startRow: 20, rowLimit: 20 }),
      ).toMatchObject({
        next: { kind: 'sealed' },
      });
    }
    isDone = true;
    expect([...(await reading)]).toEqual(['30/1']);
    const statuses =
      await database.sql`select status, count(*)::int as count from longtail.slice group by status order by status`;
    expect([...statuses]).toEqual([
      { status: 'complete', count: 1 },
      { status: 'superseded', count: 20 },
    ]);
  });

  test('a slice that has ended takes no page', async () => {
    const { slice } = await openOne(current.store);
    unwrap(await current.store.failSlice(slice.id, 'five attempts'));
    expect(await commit(current.store, slice, makeRows(3))).toMatchObject({ kind: 'rejected' });
    expect(await sliceState(slice.id)).toMatchObject({ status: 'failed', error: 'five attempts' });
  });

  test.each([
    ['a number out of range', [{ keys: ['a', 'b'], clicks: 1e30, impressions: 1, position: 1 }]],
    [
      'half a click',
      [
        { keys: ['a', 'b'], clicks: 0.5, impressions: 1, position: 1 },
        { keys: ['c', 'd'], clicks: 0.5, impressions: 1, position: 1 },
      ],
    ],
    ['no number', [{ keys: ['a', 'b'], clicks: Number.NaN, impressions: 1, position: 1 }]],
  ])('rows that PostgreSQL refuses leave nothing: %s', async (_, rows) => {
    const { slice } = await openOne(current.store);
    const reason =
      path === 'fast'
        ? /PostgreSQL rejected the rows: .*(out of range|invalid input)/
        : // The driver drops a reason that arrives after the last row.
          /PostgreSQL rejected the rows: .*(out of range|invalid input|log of the database server)/;
    expect(await commit(current.store, slice, rows)).toMatchObject({
      kind: 'rejected',
      reason: expect.stringMatching(reason),
    });
    expect(await commit(current.store, slice, makeRows(2))).toMatchObject({ kind: 'committed' });
  });

  test('characters that PostgreSQL cannot hold are replaced and counted', async () => {
    const { slice } = await openOne(current.store);
    const row = { keys: ['a\0b', '\ud800x\0'], clicks: 1, impressions: 1, position: 1 };
    await commit(current.store, slice, [...makeRows(9), row]);
    await commit(current.store, slice, [{ ...row, keys: ['c', 'd\0'] }], { startRow: 10 });
    expect(await sliceState(slice.id)).toMatchObject({ status: 'complete', rows: 11, replaced: 4 });
    expect(await seen()).toContain('a\ufffdb');
  });

  test('nothing replaces rows by none, and less than half only if forced', async () => {
    const WIDE = { rowLimit: 1_000 };
    const { slice } = await openOne(current.store);
    await commit(current.store, slice, makeRows(109), WIDE);
    const empty = await openOne(current.store);
    expect(await commit(current.store, empty.slice, [])).toMatchObject({
      next: { kind: 'failed', reason: expect.stringContaining('shrunk') },
    });
    const less = await openOne(current.store);
    const shrunk = await commit(current.store, less.slice, makeRows(54), WIDE);
    expect(shrunk).toMatchObject({ next: { kind: 'failed', reason: expect.stringContaining('109 before') } });
    expect(await commit(current.store, less.slice, makeRows(54), WIDE)).toEqual({
      ...shrunk,
      kind: 'alreadyCommitted',
    });
    expect(await sliceState(less.slice.id)).toMatchObject({ status: 'failed' });
    expect(await seen()).toHaveLength(109);
    const half = await openOne(current.store);
    expect(await commit(current.store, half.slice, makeRows(55), WIDE)).toMatchObject({
      next: { kind: 'sealed' },
    });

    await current.lock.release();
    current = await beginRun(database.sql, { acceptShrunk: true });
    const forced = await openOne(current.store);
    expect(await commit(current.store, forced.slice, makeRows(1), WIDE)).toMatchObject({
      next: { kind: 'sealed' },
    });
    const none = await openOne(current.store);
    expect(await commit(current.store, none.slice, [])).toMatchObject({ next: { kind: 'failed' } });
    expect(await seen()).toHaveLength(1);
  });

  test('an empty day that may yet be published is not complete', async () => {
    const { slice } = await openOne(current.store);
    const late = await commit(current.store, slice, [], { mayBeEmpty: false });
    expect(late).toEqual({ kind: 'committed', rows: 0, next: { kind: 'notPublished' } });
    expect(await commit(current.store, slice, [], { mayBeEmpty: false })).toEqual({
      ...late,
      kind: 'alreadyCommitted',
    });
    expect(await sliceState(slice.id)).toMatchObject({ status: 'abandoned' });
    const again = await openOne(current.store);
    expect(await commit(current.store, again.slice, [], { mayBeEmpty: true })).toMatchObject({
      next: { kind: 'sealed' },
    });
    expect(await sliceState(again.slice.id)).toMatchObject({ status: 'complete', rows: 0 });
  });

  test('a cap of 50,000 rows is noted', async () => {
    const { slice } = await openOne(current.store, { dataset: 'page' });
    const rows = makeRows(50_000).map((row) => ({ ...row, keys: row.keys.slice(0, 1) }));
    await commit(current.store, slice, rows.slice(0, 25_000), { rowLimit: 25_000 });
    await commit(current.store, slice, rows.slice(25_000), { startRow: 25_000, rowLimit: 25_000 });
    await commit(current.store, slice, [], { startRow: 50_000, rowLimit: 25_000 });
    expect(await sliceState(slice.id)).toMatchObject({
      status: 'complete',
      rows: 50_000,
      capped: true,
      duplicates: 0,
    });
  });

  test('duplicates lead to a second look, and the better version stays', async () => {
    const { slice } = await openOne(current.store);
    const rows = makeRows(15);
    await commit(current.store, slice, rows.slice(0, 10));
    // Two keys of the first page come again on the second; two others were never given.
    const result = await commit(current.store, slice, [...rows.slice(8, 10), ...rows.slice(12)], {
      startRow: 10,
    });
    if (result.kind !== 'committed' || result.next.kind !== 'again') throw new Error(JSON.stringify(result));
    expect(await sliceState(slice.id)).toMatchObject({ status: 'complete', rows: 15, duplicates: 2 });
    expect(await commit(current.store, slice, rows.slice(10), { startRow: 10 })).toEqual({
      ...result,
      kind: 'alreadyCommitted',
    });

    const second = { ...slice, id: result.next.sliceId };
    await commit(current.store, second, rows.slice(0, 10));
    expect(await commit(current.store, second, rows.slice(10), { startRow: 10 })).toMatchObject({
      next: { kind: 'sealed' },
    });
    expect(await sliceState(second.id)).toMatchObject({ status: 'complete', duplicates: 0 });
    expect(await sliceState(slice.id)).toMatchObject({ status: 'superseded' });
    expect(await seen()).toHaveLength(15);
  });

  test('a second look that is worse is dropped; one that has duplicates, too, is accepted', async () => {
    const rows = makeRows(20);
    for (const [date, repeated, status] of [
      ['2026-05-01', 5, 'abandoned'],
      ['2026-05-02', 2, 'complete'],
    ] as const) {
      const { slice } = await openOne(current.store, { date });
      await commit(current.store, slice, rows.slice(0, 10));
      const first = await commit(current.store, slice, rows.slice(8, 17), { startRow: 10 });
      if (!('next' in first) || first.next.kind !== 'again') throw new Error(JSON.stringify(first));
      const second = { ...slice, id: first.next.sliceId };
      await commit(current.store, second, rows.slice(0, 10));
      expect(
        await commit(current.store, second, rows.slice(10 - repeated, 19 - repeated), { startRow: 10 }),
      ).toMatchObject({ next: { kind: 'sealed' } });
      expect(await sliceState(second.id)).toMatchObject({ status });
      expect(await sliceState(slice.id)).toMatchObject({
        status: status === 'complete' ? 'superseded' : 'complete',
      });
    }
  });

  test('duplicates are found, too, when another process wrote the first page', async () => {
    const { slice } = await openOne(current.store);
    const rows = makeRows(15);
    await commit(current.store, slice, rows.slice(0, 10));
    const resumed = createStore({ sql: database.sql }, current.run);
    expect(
      await commit(resumed, slice, [...rows.slice(9, 10), ...rows.slice(11)], { startRow: 10 }),
    ).toMatchObject({
      next: { kind: 'again' },
    });
    expect(await sliceState(slice.id)).toMatchObject({ duplicates: 1 });
  });
});
