// Holds invariants 1, 2 of SPEC.md.
/** Pages of one call, several of them in a transaction: each comes to what it would have come to alone. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Slice } from '../../../src/domain/slice.ts';
import { connect } from '../../../src/postgres/connection/connect.ts';
import { createStore } from '../../../src/postgres/store.ts';
import type { CommitResult } from '../../../src/store/types.ts';
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
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.ts';

let database: TestDatabase;
let current: TestRun;
const never = new AbortController().signal;

beforeEach(async () => {
  ({ database, current } = await databaseWithRun());
});
afterEach(() => leaveRun(database, current));

const SEALED = (rows: number): CommitResult => ({ kind: 'committed', rows, next: { kind: 'sealed' } });

async function openSlices(count: number, store = current.store): Promise<Slice[]> {
  const keys = Array.from({ length: count }, (_, index) => ({
    searchType: 'web' as const,
    dataset: 'page+query' as const,
    date: `2026-0${1 + Math.floor(index / 28)}-${String((index % 28) + 1).padStart(2, '0')}`,
  }));
  const opened = unwrap(await store.openSlices(keys, { continueYoungerThanMinutes: 15 }));
  return opened.map(({ slice }) => slice);
}

/** Hands each slice a whole page of two rows, all at once. */
const commitAll = (
  queue: Parameters<typeof commit>[0],
  slices: readonly Slice[],
): Promise<readonly CommitResult[]> =>
  Promise.all(slices.map((slice, index) => commit(queue, slice, makeRows(2, `${index}-`))));

/** A store of this run's through a proxy, whose connections end with the test. */
async function storeThrough(proxy: TcpProxy) {
  const through = await connect(proxy.url, { max: 2, applicationName: 'test' });
  return {
    store: createStore(through, current.run),
    [Symbol.asyncDispose]: () => through.close({ timeoutMs: 100 }),
  };
}

/** How many transactions wrote the ledger. */
async function transactions(): Promise<number> {
  const [row] = await database.sql<{ count: number }[]>`
    select count(distinct xmin::text)::int as count from longtail.slice_page`;
  return row?.count ?? 0;
}

async function statuses(): Promise<Record<string, number>> {
  const rows = await database.sql<{ status: string; count: number }[]>`
    select status, count(*)::int as count from longtail.slice group by status`;
  return Object.fromEntries(rows.map(({ status, count }) => [status, count]));
}

test('fifty small slices: all are sealed, in a handful of transactions, with their own rows and sums', async () => {
  const slices = await openSlices(50);
  const queue = current.store.openQueue(never);
  const results = await Promise.all(
    slices.map((slice, index) => commit(queue, slice, makeRows(index % 9, `${index}-`))),
  );
  expect(results).toEqual(slices.map((_, index) => SEALED(index % 9)));
  expect(await transactions()).toBe(2);
  expect(await statuses()).toEqual({ complete: 50 });
  const rows = await database.sql<{ id: string; rows: number; clicks: number }[]>`
    select id::text as id, rows::int as rows, clicks::int as clicks from longtail.slice`;
  const sums = new Map(rows.map(({ id, ...figures }) => [id, figures]));
  for (const [index, { id }] of slices.entries()) {
    const count = index % 9;
    expect(sums.get(id)).toEqual({ rows: count, clicks: (count * (count + 1)) / 2 });
  }
  const [seen] = await database.sql<{ count: number; pages: number }[]>`
    select count(*)::int as count, count(distinct page)::int as pages from public.search_analytics`;
  const written = slices.reduce((sum, _, index) => sum + (index % 9), 0);
  expect(seen).toEqual({ count: written, pages: written });
});

test('pages of one slice go one after the other, whatever is between them', async () => {
  const [one, two] = (await openSlices(2)) as [Slice, Slice];
  const queue = current.store.openQueue(never);
  const rows = makeRows(25);
  const results = await Promise.all([
    commit(queue, two, makeRows(3, 'two-')),
    commit(queue, one, rows.slice(0, 10)),
    commit(queue, one, rows.slice(10, 20), { startRow: 10 }),
    commit(queue, one, rows.slice(20), { startRow: 20 }),
  ]);
  expect(results).toEqual([
    SEALED(3),
    { kind: 'committed', rows: 10, next: { kind: 'page', startRow: 10 } },
    { kind: 'committed', rows: 10, next: { kind: 'page', startRow: 20 } },
    SEALED(5),
  ]);
});

test('one page that PostgreSQL refuses is the only one that fails', async () => {
  const slices = await openSlices(6);
  const queue = current.store.openQueue(never);
  const results = await Promise.all(
    slices.map((slice, index) => {
      const rows = makeRows(3, `${index}-`);
      const bad = rows.map((row) => ({ ...row, clicks: Number.NaN }));
      return commit(queue, slice, index === 3 ? bad : rows);
    }),
  );
  expect(results.map(({ kind }) => kind)).toEqual([
    ...['committed', 'committed', 'committed', 'rejected', 'committed', 'committed'],
  ]);
  expect(await statuses()).toEqual({ complete: 5, open: 1 });
});

test('one that is there already, and one whose slice has ended, take nothing from the others', async () => {
  const slices = await openSlices(5);
  const [, there, ended] = slices as [Slice, Slice, Slice];
  await commit(current.store, there, makeRows(4, '1-'));
  unwrap(await current.store.failSlice(ended.id, 'x'));
  const queue = current.store.openQueue(never);
  const results = await Promise.all(
    slices.map((slice, index) => commit(queue, slice, makeRows(4, `${index}-`))),
  );
  expect(results.map(({ kind }) => kind)).toEqual([
    ...['committed', 'alreadyCommitted', 'rejected', 'committed', 'committed'],
  ]);
  expect(await statuses()).toEqual({ complete: 4, failed: 1 });
});

test('every way for a slice to end comes to the same in company as alone', async () => {
  const endings = async (together: boolean, dataset: 'page+query' | 'page') => {
    const open = (day: number) => openOne(current.store, { dataset, date: `2026-03-0${day}` });
    const keysOf = (count: number, salt: string) =>
      makeRows(count, salt).map((row) => ({
        ...row,
        keys: dataset === 'page' ? row.keys.slice(0, 1) : row.keys,
      }));
    // Versions before these: one that is replaced, one that would shrink, one that would become empty.
    for (const day of [1, 2, 3]) {
      await commit(current.store, (await open(day)).slice, keysOf(9, `old${day}-`));
    }
    // As of a size that means something.
    await database.sql`update longtail.slice set rows = 200 where dataset = ${dataset} and date <> '2026-03-01'`;
    // A page of one that is begun, so that the second one has keys to be held against the first's.
    const doubled = (await open(5)).slice;
    await commit(current.store, doubled, keysOf(10, 'd-'));
    const queue = together ? current.store.openQueue(never) : current.store;
    const pages: [Slice, ReturnType<typeof makeRows>, Parameters<typeof commit>[3]][] = [
      [(await open(1)).slice, keysOf(8, 'new-'), {}],
      [(await open(2)).slice, keysOf(2, 'new-'), {}],
      [(await open(3)).slice, [], {}],
      [(await open(4)).slice, [], { mayBeEmpty: false }],
      [doubled, keysOf(10, 'd-').slice(5), { startRow: 10 }],
      [(await open(6)).slice, keysOf(10, 'page-'), {}],
      [(await open(7)).slice, [], { final: false }],
    ];
    const results: CommitResult[] = [];
    if (together) results.push(...(await Promise.all(pages.map((page) => commit(queue, ...page)))));
    else for (const page of pages) results.push(await commit(queue, ...page));
    const slices = await database.sql`
      select date::text, version, status, rows::int, duplicates_dropped, final, data_state, second_look, error
      from longtail.slice where dataset = ${dataset} order by date, version`;
    await database.sql`update longtail.slice set rows = 9 where rows = 200`;
    return {
      results: results.map((result) =>
        // Ids are not the same.
        'next' in result && result.next.kind === 'again' ? { ...result, next: 'again' } : result,
      ),
      slices: [...slices],
    };
  };
  const alone = await endings(false, 'page');
  const together = await endings(true, 'page+query');
  expect(together).toEqual(alone);
  expect(alone.results.map((result) => ('next' in result ? result.next : result.kind))).toMatchObject([
    { kind: 'sealed' },
    { kind: 'failed' },
    { kind: 'failed' },
    { kind: 'notPublished' },
    'again',
    { kind: 'page' },
    { kind: 'sealed' },
  ]);
});

test('an abort lets go of what waits, and not of what is under way', async () => {
  const slices = await openSlices(6);
  const controller = new AbortController();
  const queue = current.store.openQueue(controller.signal);
  const results = slices.map((slice, index) => commit(queue, slice, makeRows(2, `${index}-`)));
  controller.abort();
  expect((await Promise.all(results)).map(({ kind }) => kind)).toEqual([
    ...['committed', 'dropped', 'dropped', 'dropped', 'dropped', 'dropped'],
  ]);
  expect(await statuses()).toEqual({ complete: 1, open: 5 });
});

test('a connection that is lost in the midst of their rows fails all that wait, and leaves nothing half', async () => {
  await using proxy = await startTcpProxy(database.url, {
    onRequest(bytes, connection) {
      if (bytes.includes('query 3-1\t')) connection.destroy();
    },
  });
  await using through = await storeThrough(proxy);
  const slices = await openSlices(6);
  const queue = through.store.openQueue(never);
  const results = await commitAll(queue, slices);
  expect(results.map(({ kind }) => kind)).toEqual([
    ...['committed', 'databaseAway', 'databaseAway', 'databaseAway', 'databaseAway', 'databaseAway'],
  ]);
  // Nothing more is tried on the same queue.
  expect((await commit(queue, slices[1] as Slice, makeRows(2, '1-'))).kind).toBe('databaseAway');
  expect(await statuses()).toEqual({ complete: 1, open: 5 });
});

test('an answer to COMMIT that is lost costs nothing: the pages are there', async () => {
  let commits = 0;
  await using proxy = await startTcpProxy(database.url, {
    onAnswer(bytes, connection) {
      if (!bytes.includes('COMMIT')) return bytes;
      commits += 1;
      if (commits !== 2) return bytes;
      connection.destroy();
      return null;
    },
  });
  await using through = await storeThrough(proxy);
  const slices = await openSlices(6);
  const queue = through.store.openQueue(never);
  const results = await commitAll(queue, slices);
  expect(results.map(({ kind }) => kind)).toEqual([
    'committed',
    ...slices.slice(1).map(() => 'alreadyCommitted'),
  ]);
  expect(await statuses()).toEqual({ complete: 6 });
});

test('a run that was fenced off writes none of them', async () => {
  const slices = await openSlices(4);
  await current.lock.release();
  const next = await beginRun(database.sql);
  const queue = current.store.openQueue(never);
  const results = await commitAll(queue, slices);
  for (const result of results) expect(result).toMatchObject({ kind: 'fatal', code: 'FENCED_OFF' });
  expect(await statuses()).toEqual({ open: 4 });
  await next.lock.release();
});
