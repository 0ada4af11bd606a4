// Holds invariants 2 of SPEC.md.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { connect } from '../../../src/postgres/connection/connect.ts';
import { createStore } from '../../../src/postgres/store.ts';
import { lockWaiters } from '../../support/locks.ts';
import type { TestDatabase } from '../../support/postgres.ts';
import {
  beginRun,
  commit,
  databaseWithRun,
  holdLeases,
  leaveRun,
  makeRows,
  openOne,
  type TestRun,
  unwrap,
} from '../../support/synchronisation.ts';
import { startTcpProxy } from '../../support/tcp-proxy.ts';

let database: TestDatabase;
let current: TestRun;

beforeEach(async () => {
  ({ database, current } = await databaseWithRun());
});
afterEach(() => leaveRun(database, current));

async function seen(): Promise<string[]> {
  const rows = await database.sql<{ page: string }[]>`select page from public.search_analytics order by page`;
  return rows.map(({ page }) => page);
}

test('an older epoch cannot write', async () => {
  const { slice } = await openOne(current.store);
  await current.lock.release();
  const next = await beginRun(database.sql);
  expect(await commit(current.store, slice, makeRows(3))).toMatchObject({
    kind: 'fatal',
    code: 'FENCED_OFF',
  });
  expect(await current.store.failSlice(slice.id, 'x')).toMatchObject({ kind: 'fatal', code: 'FENCED_OFF' });
  expect(await seen()).toEqual([]);
  await next.lock.release();
});

test('a commit under way holds the fence: who takes over waits for it', async () => {
  const { slice } = await openOne(current.store);
  // Somebody locks the slice, so that the commit waits with the run's row in its hands.
  const locked = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const holding = database.sql.begin(async (tx) => {
    await tx`select from longtail.slice where id = ${slice.id} for update`;
    locked.resolve();
    await go.promise;
  });
  await locked.promise;
  const committing = commit(current.store, slice, makeRows(3));
  await waitForBlocked(1);
  await current.lock.release();
  const taking = beginRun(database.sql);
  await waitForBlocked(2);
  go.resolve();
  await holding;
  expect(await committing).toMatchObject({ kind: 'committed' });
  const next = await taking;
  await next.lock.release();
});

async function waitForBlocked(count: number): Promise<void> {
  while ((await lockWaiters(database.sql)) < count);
}

test('without prepared statements, as through a transaction pooler, all is the same', async () => {
  const plain = await connect(database.url, { max: 4, applicationName: 'plain', prepare: false });
  try {
    await current.lock.release();
    current = await beginRun(plain.sql);
    const { slice } = await openOne(current.store);
    const rows = makeRows(15);
    await commit(current.store, slice, rows.slice(0, 10));
    await commit(current.store, slice, rows.slice(10), { startRow: 10 });
    const lease = { leaseId: 'a', scopes: ['site:x'], tokens: 2 };
    await holdLeases(database.sql, current.run.holder, ['site:x']);
    unwrap(await current.store.recordLease(lease));
    unwrap(await current.store.settleLease({ leaseId: 'a', settled: 1, returned: 0, graceMs: 5.5 }));
    expect(unwrap(await current.store.readOpenLeases(['site:x'], 60_000))).toHaveLength(2);
    // Nothing was left on a session that another client would then meet: no prepared statement, no setting.
    const left = await plain.sql`
      select (select count(*)::int from pg_prepared_statements) as prepared, current_setting('lock_timeout') as timeout,
        current_setting('synchronous_commit') as durability`.simple();
    expect(left[0]).toEqual({ prepared: 0, timeout: '0', durability: 'on' });
    await current.lock.release();
  } finally {
    await plain.close({ timeoutMs: 1_000 });
  }
  expect(await seen()).toHaveLength(15);
});

test('a COMMIT whose answer is lost is found out on another connection', async () => {
  const { slice } = await openOne(current.store);
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
    const store = createStore(away, current.run);
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
  const { slice } = await openOne(current.store);
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
    const store = createStore(away, current.run);
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
  const opened = [...unwrap(await current.store.openSlices(keys, { continueYoungerThanMinutes: 15 }))];
  const writers = await connect(database.url, { max: 8, applicationName: 'writers' });
  const store = createStore(writers, current.run);
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
  const { slice } = await openOne(current.store);
  const locked = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const holding = database.sql.begin(async (tx) => {
    await tx`lock table longtail.slice_page in access exclusive mode`;
    locked.resolve();
    await go.promise;
  });
  await locked.promise;
  const store = createStore({ sql: database.sql }, current.run, { lockTimeoutMs: 50 });
  expect(await commit(store, slice, makeRows(3))).toMatchObject({ kind: 'databaseAway' });
  go.resolve();
  await holding;
});
