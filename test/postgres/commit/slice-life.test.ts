import { afterEach, beforeEach, expect, test } from 'vitest';
import { FIRST_STATUSES, mayFollow, SLICE_STATUSES } from '../../../src/domain/slice-life.ts';
import { finishRun } from '../../../src/postgres/queries/run.ts';
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

test('a slice takes every step of its life, and no other', async () => {
  const { store } = current;
  const { slice: first } = await openOne(store);
  await commit(store, first, makeRows(2));
  const { slice: second } = await openOne(store);
  await commit(store, second, makeRows(3));
  const failing = await openOne(store, { date: '2026-03-02' });
  unwrap(await store.failSlice(failing.slice.id, 'refused'));
  unwrap(
    await store.sealEmptySlices([{ searchType: 'web', dataset: 'page+query', date: '2026-03-02' }], {
      final: true,
    }),
  );
  const late = await openOne(store, { date: '2026-03-03' });
  await commit(store, late.slice, [], { mayBeEmpty: false });

  const seen = await database.sql<{ step: string }[]>`select step from slice_life.seen`;
  const steps = SLICE_STATUSES.flatMap((from) =>
    SLICE_STATUSES.filter((to) => mayFollow(from, to)).map((to) => `${from} → ${to}`),
  );
  expect(seen.map(({ step }) => step).sort()).toEqual(
    [...FIRST_STATUSES.map((to) => `new → ${to}`), ...steps].sort(),
  );
});

test('the tests’ own database refuses any other step', async () => {
  const { slice } = await openOne(current.store);
  await commit(current.store, slice, makeRows(2));
  for (const status of ['open', 'failed', 'abandoned']) {
    await expect(
      database.sql`update longtail.slice set status = ${status} where id = ${slice.id}::text::bigint`,
    ).rejects.toThrow(`may not go from complete to ${status}`);
  }
  expect(await finishRun(database.sql, current.run, { status: 'complete' })).toBe(true);
  await current.lock.release();
  current = await beginRun(database.sql);
});
