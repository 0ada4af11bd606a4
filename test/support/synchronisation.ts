import type { Sql } from 'postgres';
import { expect } from 'vitest';
import { systemClock } from '../../src/domain/clock.ts';
import { groupedBy } from '../../src/domain/part.ts';
import type { Slice, SliceKey } from '../../src/domain/slice.ts';
import { connect } from '../../src/postgres/connection/connect.ts';
import { createLeaseTable, type PropertyGrant } from '../../src/postgres/locks/lease-book.ts';
import { type RunParameters, startRun } from '../../src/postgres/queries/run.ts';
import { createStore } from '../../src/postgres/store.ts';
import { type PlainRow, rowBlock } from '../../src/rows/row-block.ts';
import type { PageQueue, RowSink } from '../../src/store/row-sink.ts';
import type { Store } from '../../src/store/store.ts';
import type { Answer, CommitResult, OpenedSlice, RunIdentity } from '../../src/store/types.ts';
import { ledgerProblems } from './ledger-check.ts';
import { type TestDatabase, testDatabase } from './postgres.ts';

export const SITE = 'sc-domain:example.com';

/** A database of one's own, over a pool as Longtail makes its own. */
export async function migratedDatabase(): Promise<TestDatabase> {
  const database = await testDatabase();
  try {
    const { sql, close: closePool } = await connect(database.url, { max: 10, applicationName: 'test' });
    const close = async (): Promise<void> => {
      await closePool({ timeoutMs: 1_000 });
      await database.close();
    };
    return { url: database.url, sql, close, [Symbol.asyncDispose]: close };
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** A run under way, as a synchronisation has it. */
export interface TestRun {
  readonly run: RunIdentity;
  readonly store: Store;
  readonly lock: HeldProperty;
  readonly refreshCutOff: string | null;
}

const PARAMETERS: RunParameters = {
  from: '2026-01-01',
  to: '2026-12-31',
  searchTypes: ['web'],
  datasets: ['page', 'query', 'page+query', 'date'],
  refresh: false,
  acceptShrunk: false,
};

/** A property that a test holds. */
export interface HeldProperty extends PropertyGrant {
  readonly holder: string;
  release(): Promise<void>;
}

let holders = 0;

/** Takes a property's lease; it is not renewed. Undefined: somebody has it. */
export async function holdProperty(sql: Sql, siteUrl = SITE): Promise<HeldProperty | undefined> {
  const table = createLeaseTable(sql, systemClock);
  holders += 1;
  const holder = `test ${holders}`;
  const taking = await table.takeProperty(
    siteUrl,
    { id: holder, party: holder },
    { presence: null, goneSince: null },
  );
  if (taking.kind === 'busy') return undefined;
  return { ...taking.value, holder, release: async () => void (await table.release(holder)) };
}

/** Leases of these resources, for a minute. */
export async function holdLeases(sql: Sql, holder: string, resources: readonly string[]): Promise<void> {
  await sql`
    insert into longtail.lease (resource, holder, party, renewed_at, expires_at)
    select resource, ${holder}::text, ${holder}::text, now(), now() + interval '1 minute'
    from jsonb_array_elements_text(${JSON.stringify(resources)}::text::jsonb) as resource`;
}

/** Takes the property's lease and begins a run. Release it, or drop the database, when done. */
export async function beginRun(sql: Sql, parameters: Partial<RunParameters> = {}): Promise<TestRun> {
  const lock = await holdProperty(sql);
  if (lock === undefined) throw new Error('the property is locked by another run of this test');
  const started = await startRun(sql, lock, { ...PARAMETERS, ...parameters });
  return {
    run: started.run,
    store: createStore({ sql }, started.run),
    lock,
    refreshCutOff: started.refreshCutOff,
  };
}

/** A fresh database with a run under way. */
export async function databaseWithRun(): Promise<{ database: TestDatabase; current: TestRun }> {
  const database = await migratedDatabase();
  return { database, current: await beginRun(database.sql) };
}

/** Whatever has happened, the ledger is right; then all is given up. */
export async function leaveRun(database: TestDatabase, current: TestRun): Promise<void> {
  try {
    expect(await ledgerProblems(database.sql)).toEqual([]);
  } finally {
    await current.lock.release();
    await database.close();
  }
}

/** The value of an answer; throws its failure. */
export function unwrap<T>(answer: Answer<T>): T {
  if (answer.kind === 'ok') return answer.value;
  throw new Error(`${answer.kind}: ${answer.reason}`);
}

export async function openOne(store: Store, key: Partial<SliceKey> = {}): Promise<OpenedSlice> {
  const opened = await store.openSlices(
    [{ searchType: 'web', dataset: 'page+query', date: '2026-03-01', ...key }],
    { continueYoungerThanMinutes: 15 },
  );
  const first = unwrap(opened)[0];
  if (first === undefined) throw new Error('no slice was opened');
  return first;
}

/** `count` rows of page+query with different keys. `salt` makes other keys of them. */
export function makeRows(count: number, salt = ''): PlainRow[] {
  return Array.from({ length: count }, (_, index) => ({
    keys: [`https://example.com/${salt}${index}`, `query ${salt}${index}`],
    clicks: count - index,
    impressions: 10 * (count - index),
    position: 1 + index / 3,
  }));
}

/** A queue of its own for a page that no other goes with. */
export function queueOf(sink: RowSink | PageQueue): PageQueue {
  return 'commitPage' in sink ? sink : sink.openQueue(new AbortController().signal);
}

/** Commits a page of a small row limit, so that a slice of several pages takes few rows. */
export function commit(
  sink: RowSink | PageQueue,
  slice: Slice,
  rows: readonly PlainRow[],
  options: {
    readonly startRow?: number;
    readonly rowLimit?: number;
    readonly final?: boolean;
    readonly mayBeEmpty?: boolean;
  } = {},
): Promise<CommitResult> {
  return queueOf(sink).commitPage({
    slice,
    rows: rowBlock(rows, groupedBy(slice).length),
    startRow: options.startRow ?? 0,
    rowLimit: options.rowLimit ?? 10,
    day: { final: options.final ?? true, mayBeEmpty: options.mayBeEmpty ?? true },
  });
}
