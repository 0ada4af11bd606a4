import { afterEach, beforeEach, expect, test } from 'vitest';
import { connect } from '../../src/db/connect.ts';
import { createStore } from '../../src/db/store.ts';
import { ledgerProblems } from '../support/ledger-check.ts';
import type { TestDatabase } from '../support/postgres.ts';
import {
  beginRun,
  commit,
  makeRows,
  migratedDatabase,
  openOne,
  type TestRun,
  unwrap,
} from '../support/synchronisation.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

let database: TestDatabase;
let test1: TestRun;

beforeEach(async () => {
  database = await migratedDatabase();
  test1 = await beginRun(database.sql);
});
afterEach(async () => {
  try {
    // Whatever happened, the ledger is right.
    expect(await ledgerProblems(database.sql)).toEqual([]);
  } finally {
    await test1.lock.release();
    await database.close();
  }
});

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

test('a short first page is the whole slice: seen at once, with its figures', async () => {
  const { slice } = await openOne(test1.store);
  expect(await seen()).toEqual([]);
  expect(await commit(test1.store, slice, makeRows(3), { final: false })).toEqual({
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
  expect(rows[0]).toMatchObject({ site_url: 'sc-domain:example.com', dataset: 'page+query', country: null });
  expect(rows[0]).toMatchObject({ clicks: '3', impressions: '30', ctr: 0.1, position: 1, data_state: 'all' });
  expect(await sliceState(slice.id)).toMatchObject({ status: 'complete', rows: 3, clicks: 6, final: false });
});

test('a slice of several pages is invisible until its short page', async () => {
  const { slice } = await openOne(test1.store);
  const rows = makeRows(25);
  expect(await commit(test1.store, slice, rows.slice(0, 10))).toMatchObject({
    next: { kind: 'page', startRow: 10 },
  });
  expect(await commit(test1.store, slice, rows.slice(10, 20), { startRow: 10 })).toMatchObject({
    next: { kind: 'page', startRow: 20 },
  });
  expect(await seen()).toEqual([]);
  expect(await commit(test1.store, slice, rows.slice(20), { startRow: 20 })).toMatchObject({
    next: { kind: 'sealed' },
  });
  expect(await seen()).toHaveLength(25);
});

test('exactly a page of rows: an empty page ends the slice', async () => {
  const { slice } = await openOne(test1.store);
  await commit(test1.store, slice, makeRows(10));
  expect(await commit(test1.store, slice, [], { startRow: 10, mayBeEmpty: false })).toMatchObject({
    kind: 'committed',
    rows: 0,
    next: { kind: 'sealed' },
  });
  expect(await sliceState(slice.id)).toMatchObject({ status: 'complete', rows: 10 });
});

test('pages in any order seal the slice when the last gap is closed', async () => {
  const { slice } = await openOne(test1.store);
  const rows = makeRows(15);
  expect(await commit(test1.store, slice, rows.slice(10), { startRow: 10 })).toMatchObject({
    next: { kind: 'page', startRow: 0 },
  });
  expect(await seen()).toEqual([]);
  expect(await commit(test1.store, slice, rows.slice(0, 10))).toMatchObject({ next: { kind: 'sealed' } });
  expect(await seen()).toHaveLength(15);
});

test('both pages of a slice at once: one of them seals it', async () => {
  for (let round = 0; round < 10; round += 1) {
    const { slice } = await openOne(test1.store, { date: `2026-04-${10 + round}` });
    const rows = makeRows(15);
    const results = await Promise.all([
      commit(test1.store, slice, rows.slice(0, 10)),
      commit(test1.store, slice, rows.slice(10), { startRow: 10 }),
    ]);
    const ends = results.map((result) => ('next' in result ? result.next.kind : result.kind));
    expect(ends.toSorted()).toEqual(['page', 'sealed']);
  }
});

test('a page a second time changes nothing and has the same sequel', async () => {
  const { slice } = await openOne(test1.store);
  const rows = makeRows(15);
  const first = await commit(test1.store, slice, rows.slice(0, 10));
  expect(await commit(test1.store, slice, rows.slice(0, 10))).toEqual({ ...first, kind: 'alreadyCommitted' });
  const second = await commit(test1.store, slice, rows.slice(10), { startRow: 10 });
  expect(await commit(test1.store, slice, rows.slice(10), { startRow: 10 })).toEqual({
    ...second,
    kind: 'alreadyCommitted',
  });
  expect(await seen()).toHaveLength(15);
});

test('the same page by ten writers is written once', async () => {
  const { slice } = await openOne(test1.store);
  const results = await Promise.all(Array.from({ length: 8 }, () => commit(test1.store, slice, makeRows(5))));
  expect(results.filter(({ kind }) => kind === 'committed')).toHaveLength(1);
  expect(results.filter(({ kind }) => kind === 'alreadyCommitted')).toHaveLength(7);
  expect(await seen()).toHaveLength(5);
});

test('a reader sees the old day or the new one, never both and never half', async () => {
  const first = await openOne(test1.store);
  await commit(test1.store, first.slice, makeRows(30, 'v0-'), { rowLimit: 100 });
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
    const { slice } = await openOne(test1.store);
    const rows = makeRows(30, `v${version}-`);
    await commit(test1.store, slice, rows.slice(0, 20), { rowLimit: 20 });
    expect(await commit(test1.store, slice, rows.slice(20), { startRow: 20, rowLimit: 20 })).toMatchObject({
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

test('an older epoch cannot write', async () => {
  const { slice } = await openOne(test1.store);
  await test1.lock.release();
  const next = await beginRun(database.sql);
  expect(await commit(test1.store, slice, makeRows(3))).toMatchObject({ kind: 'fatal', code: 'FENCED_OFF' });
  expect(await test1.store.failSlice(slice.id, 'x')).toMatchObject({ kind: 'fatal', code: 'FENCED_OFF' });
  expect(await seen()).toEqual([]);
  await next.lock.release();
});

test('a commit under way holds the fence: who takes over waits for it', async () => {
  const { slice } = await openOne(test1.store);
  // Somebody locks the slice, so that the commit waits with the run's row in its hands.
  const locked = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const holding = database.sql.begin(async (tx) => {
    await tx`select from longtail.slice where id = ${slice.id} for update`;
    locked.resolve();
    await go.promise;
  });
  await locked.promise;
  const committing = commit(test1.store, slice, makeRows(3));
  await waitForBlocked(1);
  await test1.lock.release();
  const taking = beginRun(database.sql);
  await waitForBlocked(2);
  go.resolve();
  await holding;
  expect(await committing).toMatchObject({ kind: 'committed' });
  const next = await taking;
  await next.lock.release();
});

async function waitForBlocked(count: number): Promise<void> {
  for (;;) {
    const rows = await database.sql`
      select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
    if (rows.length >= count) return;
  }
}

test('a slice that has ended takes no page', async () => {
  const { slice } = await openOne(test1.store);
  unwrap(await test1.store.failSlice(slice.id, 'five attempts'));
  expect(await commit(test1.store, slice, makeRows(3))).toMatchObject({ kind: 'rejected' });
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
  const { slice } = await openOne(test1.store);
  expect(await commit(test1.store, slice, rows)).toMatchObject({
    kind: 'rejected',
    reason: expect.stringMatching(/PostgreSQL would not take the rows: .*(out of range|invalid input)/),
  });
  expect(await commit(test1.store, slice, makeRows(2))).toMatchObject({ kind: 'committed' });
});

test('characters that PostgreSQL cannot hold are replaced and counted', async () => {
  const { slice } = await openOne(test1.store);
  const row = { keys: ['a\0b', '\ud800x\0'], clicks: 1, impressions: 1, position: 1 };
  await commit(test1.store, slice, [...makeRows(9), row]);
  await commit(test1.store, slice, [{ ...row, keys: ['c', 'd\0'] }], { startRow: 10 });
  expect(await sliceState(slice.id)).toMatchObject({ status: 'complete', rows: 11, replaced: 4 });
  expect(await seen()).toContain('a\ufffdb');
});

test('nothing replaces rows by none, and less than half only if forced', async () => {
  const { slice } = await openOne(test1.store);
  await commit(test1.store, slice, makeRows(9));
  const empty = await openOne(test1.store);
  expect(await commit(test1.store, empty.slice, [])).toMatchObject({
    next: { kind: 'failed', reason: expect.stringContaining('shrunk') },
  });
  const less = await openOne(test1.store);
  const shrunk = await commit(test1.store, less.slice, makeRows(4));
  expect(shrunk).toMatchObject({ next: { kind: 'failed', reason: expect.stringContaining('9 before') } });
  expect(await commit(test1.store, less.slice, makeRows(4))).toEqual({ ...shrunk, kind: 'alreadyCommitted' });
  expect(await sliceState(less.slice.id)).toMatchObject({ status: 'failed' });
  expect(await seen()).toHaveLength(9);
  const half = await openOne(test1.store);
  expect(await commit(test1.store, half.slice, makeRows(5))).toMatchObject({ next: { kind: 'sealed' } });

  await test1.lock.release();
  test1 = await beginRun(database.sql, { force: true });
  const forced = await openOne(test1.store);
  expect(await commit(test1.store, forced.slice, makeRows(1))).toMatchObject({ next: { kind: 'sealed' } });
  const none = await openOne(test1.store);
  expect(await commit(test1.store, none.slice, [])).toMatchObject({ next: { kind: 'failed' } });
  expect(await seen()).toHaveLength(1);
});

test('an empty day that may yet be published is not complete', async () => {
  const { slice } = await openOne(test1.store);
  const late = await commit(test1.store, slice, [], { mayBeEmpty: false });
  expect(late).toEqual({ kind: 'committed', rows: 0, next: { kind: 'notPublished' } });
  expect(await commit(test1.store, slice, [], { mayBeEmpty: false })).toEqual({
    ...late,
    kind: 'alreadyCommitted',
  });
  expect(await sliceState(slice.id)).toMatchObject({ status: 'abandoned' });
  const again = await openOne(test1.store);
  expect(await commit(test1.store, again.slice, [], { mayBeEmpty: true })).toMatchObject({
    next: { kind: 'sealed' },
  });
  expect(await sliceState(again.slice.id)).toMatchObject({ status: 'complete', rows: 0 });
});

test('a cap of 50,000 rows is noted', async () => {
  const { slice } = await openOne(test1.store, { dataset: 'page' });
  const rows = makeRows(50_000).map((row) => ({ ...row, keys: row.keys.slice(0, 1) }));
  await commit(test1.store, slice, rows.slice(0, 25_000), { rowLimit: 25_000 });
  await commit(test1.store, slice, rows.slice(25_000), { startRow: 25_000, rowLimit: 25_000 });
  await commit(test1.store, slice, [], { startRow: 50_000, rowLimit: 25_000 });
  expect(await sliceState(slice.id)).toMatchObject({
    status: 'complete',
    rows: 50_000,
    capped: true,
    duplicates: 0,
  });
});

test('duplicates lead to a second look, and the better version stays', async () => {
  const { slice } = await openOne(test1.store);
  const rows = makeRows(15);
  await commit(test1.store, slice, rows.slice(0, 10));
  // Two keys of the first page come again on the second; two others were never given.
  const result = await commit(test1.store, slice, [...rows.slice(8, 10), ...rows.slice(12)], {
    startRow: 10,
  });
  if (result.kind !== 'committed' || result.next.kind !== 'again') throw new Error(JSON.stringify(result));
  expect(await sliceState(slice.id)).toMatchObject({ status: 'complete', rows: 15, duplicates: 2 });
  expect(await commit(test1.store, slice, rows.slice(10), { startRow: 10 })).toEqual({
    ...result,
    kind: 'alreadyCommitted',
  });

  const second = { ...slice, id: result.next.sliceId };
  await commit(test1.store, second, rows.slice(0, 10));
  expect(await commit(test1.store, second, rows.slice(10), { startRow: 10 })).toMatchObject({
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
    const { slice } = await openOne(test1.store, { date });
    await commit(test1.store, slice, rows.slice(0, 10));
    const first = await commit(test1.store, slice, rows.slice(8, 17), { startRow: 10 });
    if (!('next' in first) || first.next.kind !== 'again') throw new Error(JSON.stringify(first));
    const second = { ...slice, id: first.next.sliceId };
    await commit(test1.store, second, rows.slice(0, 10));
    expect(
      await commit(test1.store, second, rows.slice(10 - repeated, 19 - repeated), { startRow: 10 }),
    ).toMatchObject({ next: { kind: 'sealed' } });
    expect(await sliceState(second.id)).toMatchObject({ status });
    expect(await sliceState(slice.id)).toMatchObject({
      status: status === 'complete' ? 'superseded' : 'complete',
    });
  }
});

test('duplicates are found, too, when another process wrote the first page', async () => {
  const { slice } = await openOne(test1.store);
  const rows = makeRows(15);
  await commit(test1.store, slice, rows.slice(0, 10));
  const resumed = createStore({ sql: database.sql }, test1.run);
  expect(
    await commit(resumed, slice, [...rows.slice(9, 10), ...rows.slice(11)], { startRow: 10 }),
  ).toMatchObject({
    next: { kind: 'again' },
  });
  expect(await sliceState(slice.id)).toMatchObject({ duplicates: 1 });
});

test('without prepared statements, as through a transaction pooler, all is the same', async () => {
  const plain = await connect(database.url, { max: 4, applicationName: 'plain', prepare: false });
  try {
    await test1.lock.release();
    test1 = await beginRun(plain.sql);
    const { slice } = await openOne(test1.store);
    const rows = makeRows(15);
    await commit(test1.store, slice, rows.slice(0, 10));
    await commit(test1.store, slice, rows.slice(10), { startRow: 10 });
    const lease = { leaseId: 'a', scopes: ['site:x'], tokens: 2 };
    unwrap(await test1.store.recordLease(lease));
    unwrap(await test1.store.settleLease({ leaseId: 'a', settled: 1, returned: 0, graceMs: 5.5 }));
    expect(unwrap(await test1.store.readOpenLeases(['site:x'], 60_000))).toHaveLength(2);
    // Nothing was left on a session that another client would then meet: no prepared statement, no setting.
    const left = await plain.sql`
      select (select count(*)::int from pg_prepared_statements) as prepared, current_setting('lock_timeout') as timeout,
        current_setting('synchronous_commit') as durability`.simple();
    expect(left[0]).toEqual({ prepared: 0, timeout: '0', durability: 'on' });
    await test1.lock.release();
  } finally {
    await plain.close({ timeoutMs: 1_000 });
  }
  expect(await seen()).toHaveLength(15);
});

test('a COMMIT whose answer is lost is found out on another connection', async () => {
  const { slice } = await openOne(test1.store);
  let isArmed = true;
  let sawCommit = false;
  await using proxy = await startTcpProxy(database.url, {
    onRequest(bytes) {
      if (isArmed && bytes.includes('commit')) sawCommit = true;
    },
    onAnswer(bytes, connection) {
      if (!isArmed || !sawCommit || !bytes.includes('COMMIT')) return bytes;
      isArmed = false;
      connection.destroy();
      return null;
    },
  });
  const away = await connect(proxy.url, { max: 3, applicationName: 'test' });
  try {
    const store = createStore(away, test1.run);
    expect(await commit(store, slice, makeRows(3))).toEqual({
      kind: 'alreadyCommitted',
      rows: 3,
      next: { kind: 'sealed' },
    });
    expect(isArmed).toBe(false);
  } finally {
    await away.close({ timeoutMs: 100 });
  }
});

test('a connection lost before COMMIT leaves nothing, and is the database being away', async () => {
  const { slice } = await openOne(test1.store);
  let isArmed = true;
  await using proxy = await startTcpProxy(database.url, {
    onRequest(bytes, connection) {
      if (isArmed && bytes.includes('query 2\t')) {
        isArmed = false;
        connection.destroy();
      }
    },
  });
  const away = await connect(proxy.url, { max: 3, applicationName: 'test' });
  try {
    const store = createStore(away, test1.run);
    expect(await commit(store, slice, makeRows(3))).toMatchObject({ kind: 'databaseAway' });
    expect(isArmed).toBe(false);
    expect(await commit(store, slice, makeRows(3))).toMatchObject({ kind: 'committed' });
  } finally {
    await away.close({ timeoutMs: 100 });
  }
});

test('backends killed while eight writers commit: every page is there once', {
  timeout: 60_000,
}, async () => {
  const unhandled: unknown[] = [];
  const onUnhandled = (reason: unknown): void => void unhandled.push(reason);
  process.on('unhandledRejection', onUnhandled);
  const keys = Array.from({ length: 60 }, (_, index) => ({
    searchType: 'web' as const,
    dataset: 'page+query',
    date: `2026-0${1 + Math.floor(index / 20)}-${String(1 + (index % 20)).padStart(2, '0')}`,
  }));
  const opened = [...unwrap(await test1.store.openSlices(keys, { continueYoungerThanMinutes: 15 }))];
  const writers = await connect(database.url, { max: 8, applicationName: 'writers' });
  const store = createStore(writers, test1.run);
  let isDone = false;
  try {
    const killing = (async () => {
      while (!isDone) {
        await database.sql`
          select pg_terminate_backend(pid) from pg_stat_activity
          where application_name = 'writers' and datname = current_database() and state <> 'idle'
          order by random() limit 1`;
      }
    })();
    let away = 0;
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (let next = opened.pop(); next !== undefined; next = opened.pop()) {
          for (;;) {
            const result = await commit(store, next.slice, makeRows(200), { rowLimit: 1_000 });
            if (result.kind === 'committed' || result.kind === 'alreadyCommitted') break;
            expect(result).toMatchObject({ kind: 'databaseAway' });
            away += 1;
            if (away > 40) isDone = true;
          }
        }
      }),
    );
    isDone = true;
    await killing;
    expect(away).toBeGreaterThan(0);
    expect(await seen()).toHaveLength(60 * 200);
    expect(unhandled).toEqual([]);
  } finally {
    isDone = true;
    process.off('unhandledRejection', onUnhandled);
    await writers.close({ timeoutMs: 1_000 });
  }
});

test('a lock that is not had in time is the database being away', async () => {
  const { slice } = await openOne(test1.store);
  const locked = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const holding = database.sql.begin(async (tx) => {
    await tx`lock table longtail.slice_page in access exclusive mode`;
    locked.resolve();
    await go.promise;
  });
  await locked.promise;
  const store = createStore({ sql: database.sql }, test1.run, { lockTimeoutMs: 50 });
  expect(await commit(store, slice, makeRows(3))).toMatchObject({ kind: 'databaseAway' });
  go.resolve();
  await holding;
});
