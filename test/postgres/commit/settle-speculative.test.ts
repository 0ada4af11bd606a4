import { afterAll, beforeAll, expect, test } from 'vitest';
import type { SliceKey } from '../../../src/domain/slice.ts';
import { rowBlock } from '../../../src/rows/row-block.ts';
import type { CommitResult, DayKnowledge } from '../../../src/store/types.ts';
import type { TestDatabase } from '../../support/postgres.ts';
import {
  beginRun,
  commit,
  makeRows,
  migratedDatabase,
  openOne,
  queueOf,
  type TestRun,
  unwrap,
} from '../../support/synchronisation.ts';

let database: TestDatabase;
let current: TestRun;

beforeAll(async () => {
  database = await migratedDatabase();
  const earlier = await beginRun(database.sql);
  for (const date of ['2026-03-01', '2026-03-02']) {
    await commit(earlier.store, (await openOne(earlier.store, { date })).slice, makeRows(2), {
      final: false,
    });
  }
  await earlier.lock.release();
  current = await beginRun(database.sql);
});
afterAll(async () => {
  await current.lock.release();
  await database.close();
});

const key = (date: string): SliceKey => ({ searchType: 'web', dataset: 'page+query', date });

async function states(date: string) {
  return [
    ...(await database.sql`select status, final, data_state, error from longtail.slice
      where date = ${date}::text::date order by version`),
  ];
}

/** A commit that gets as far as its slice's version before, which somebody else holds: it has been decided, and is not over. */
async function commitHeldUp(date: string, rows: number, day: DayKnowledge) {
  const { slice } = await openOne(current.store, { date });
  const holder = await database.sql.reserve();
  await holder`begin`;
  await holder`select from longtail.slice where id = (select min(id) from longtail.slice where date = ${date}::text::date) for update`;
  const committed = queueOf(current.store).commitPage({
    slice,
    startRow: 0,
    rowLimit: 10,
    rows: rowBlock(makeRows(rows), 2),
    day,
  });
  await waiting(1);
  return {
    committed,
    async letGo() {
      await holder`commit`;
      holder.release();
    },
  };
}

/** Resolves when so many sessions wait for a lock. */
async function waiting(count: number): Promise<void> {
  for (let waits = 0; waits < count; await new Promise((resolve) => setTimeout(resolve, 5))) {
    const [row] = await database.sql<{ waits: number }[]>`
      select count(distinct pid)::int as waits from pg_locks where not granted
        and pid in (select pid from pg_stat_activity where datname = current_database())`;
    waits = row?.waits ?? 0;
  }
}

test('a commit that was decided before its day was known is waited for, and made final', async () => {
  const day = { final: false, mayBeEmpty: false };
  const { committed, letGo } = await commitHeldUp('2026-03-01', 3, day);
  Object.assign(day, { final: true, mayBeEmpty: true });
  let isSettled = false;
  const settling = current.store.settleSpeculative([{ ...key('2026-03-01'), final: true }]).finally(() => {
    isSettled = true;
  });
  await waiting(2);
  expect(isSettled).toBe(false);
  await letGo();
  expect(await committed).toMatchObject({ kind: 'committed', next: { kind: 'sealed' } });
  expect(unwrap(await settling)).toEqual([]);
  expect(await states('2026-03-01')).toMatchObject([
    { status: 'superseded', final: false },
    { status: 'complete', final: true, data_state: 'final' },
  ]);
});

test('an empty answer that was judged before its day was known is among what is planned again', async () => {
  const { slice } = await openOne(current.store, { date: '2026-03-02' });
  let settling: Promise<unknown> | undefined;
  const result: CommitResult = await queueOf(current.store).commitPage({
    slice,
    startRow: 0,
    rowLimit: 10,
    rows: rowBlock([], 2),
    day: {
      final: false,
      /** In the very moment of the judgement the calendar comes in. */
      get mayBeEmpty() {
        settling ??= current.store.settleSpeculative([{ ...key('2026-03-02'), final: true }]).then(unwrap);
        return false;
      },
    },
  });
  expect(result).toMatchObject({ kind: 'committed', next: { kind: 'notPublished' } });
  expect(await settling).toEqual([key('2026-03-02')]);
  // The version of the run before is not ours to settle.
  expect(await states('2026-03-02')).toMatchObject([
    { status: 'complete', final: false },
    { status: 'abandoned', final: false },
  ]);
});

test('what is known when the page is sealed counts, not what was when it was handed over', async () => {
  const { slice } = await openOne(current.store, { date: '2026-03-03' });
  const day = { final: false, mayBeEmpty: false };
  const committing = queueOf(current.store).commitPage({
    slice,
    startRow: 0,
    rowLimit: 10,
    rows: rowBlock([], 2),
    day,
  });
  Object.assign(day, { final: true, mayBeEmpty: true });
  expect(await committing).toMatchObject({ kind: 'committed', next: { kind: 'sealed' } });
  expect(await states('2026-03-03')).toMatchObject([{ status: 'complete', final: true }]);
});
