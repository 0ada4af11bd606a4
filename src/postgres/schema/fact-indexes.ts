/**
 * Indexes on the rows, for reading by page or by query. They are the user's to have: each makes writing slower, so no
 * migration creates one. PostgreSQL creates them while others read and write.
 */
import type { Sql } from 'postgres';
import type { Clock } from '../../domain/clock.ts';
import { errorFacts } from '../../domain/error-facts.ts';
import { LongtailError } from '../../domain/errors.ts';
import { pause } from '../../domain/wait.ts';
import { type Database, place } from '../connection/connect.ts';
import { isConnectionLoss } from '../driver/failure.ts';

export const INDEXED_COLUMNS = ['page', 'query'] as const;
export type IndexedColumn = (typeof INDEXED_COLUMNS)[number];

/** An index on one column of the rows. */
export interface FactIndex {
  readonly column: IndexedColumn;
  /** `invalid`: an attempt to create it was broken off. It serves no query, and is kept up with each row. */
  readonly state: 'none' | 'building' | 'invalid' | 'valid';
  /** 0 where there is none. */
  readonly bytes: number;
}

/** How far PostgreSQL is. */
export interface IndexProgress {
  readonly column: IndexedColumn;
  /** In PostgreSQL's words: `building index: scanning table`, `waiting for old snapshots` … */
  readonly phase: string;
  /** 0 to 1 within the phase. Null where the phase has no measure. */
  readonly share: number | null;
}

export interface IndexWork {
  readonly clock: Clock;
  /** Aborted: what was begun is removed, unless writers keep it from that, and `createIndex` resolves to undefined. */
  readonly signal: AbortSignal;
  readonly onProgress: (progress: IndexProgress) => void;
}

const PROGRESS_MS = 500;
/** To remove an index, PostgreSQL waits for all who use the table. What was broken off is removed in passing, or by the next attempt. */
const TIDY_LOCK_TIMEOUT_MS = 3_000;

const nameOf = (column: IndexedColumn): string => `fact_${column}`;

/**
 * A trie (SP-GiST): `page = …`, `page like 'https://…/x%'` and `starts_with(page, …)` use it as they stand. A B-tree row
 * holds no more than 2,704 bytes, so a longer URL would fail the synchronisation that brings it; a hash index knows no
 * prefixes. Rows of other datasets are left out.
 */
function definition(column: IndexedColumn): string {
  return `create index concurrently ${nameOf(column)} on longtail.fact using spgist (${column}) where ${column} is not null`;
}

/** The indexes that there are, or might be. */
export async function readIndexes(sql: Sql): Promise<readonly FactIndex[]> {
  const rows = await sql<{ name: string; isValid: boolean; isBuilding: boolean; bytes: number }[]>`
    select c.relname as "name", i.indisvalid as "isValid", pg_relation_size(c.oid)::float8 as "bytes",
      exists (select from pg_stat_progress_create_index b where b.index_relid = c.oid) as "isBuilding"
    from pg_class c join pg_index i on i.indexrelid = c.oid
    where i.indrelid = 'longtail.fact'::regclass`;
  return INDEXED_COLUMNS.map((column) => {
    const found = rows.find(({ name }) => name === nameOf(column));
    if (found === undefined) return { column, state: 'none', bytes: 0 };
    const state = found.isValid ? 'valid' : found.isBuilding ? 'building' : 'invalid';
    return { column, state, bytes: found.bytes };
  });
}

/**
 * Creates the index while others go on reading and writing. What an earlier attempt left is removed first; an index that is
 * there already is left as it is. Resolves to undefined when `signal` was aborted: then `readIndexes` says whether
 * anything is left.
 * `database` has at least two connections. Rejects with a LongtailError.
 */
export async function createIndex(
  database: Database,
  column: IndexedColumn,
  work: IndexWork,
): Promise<FactIndex | undefined> {
  const { sql } = database;
  refusePooler(database, definition(column));
  const before = await readIndex(sql, column);
  if (before.state === 'valid') return before;
  if (before.state === 'building') {
    throw new LongtailError(
      'DATABASE_REFUSED',
      `Another session is creating the index on ${column} in the ${place(sql)}.`,
      'Wait for it: pg_stat_progress_create_index says how far it is.',
    );
  }
  if (before.state === 'invalid') await dropIndex(database, column);
  try {
    const isDone = await build(sql, column, work);
    if (isDone) return await readIndex(sql, column);
    await tidy(database, column);
    return undefined;
  } catch (error) {
    if (!isConnectionLoss(error)) await tidy(database, column);
    throw indexError(sql, column, error);
  }
}

/** What is left would slow down every write. If it cannot be removed now, the next attempt removes it. */
async function tidy(database: Database, column: IndexedColumn): Promise<void> {
  try {
    await dropIndex(database, column, { lockTimeoutMs: TIDY_LOCK_TIMEOUT_MS });
  } catch (error) {
    if (!(error instanceof LongtailError)) throw error;
  }
}

/**
 * Removes the index while others go on reading and writing. Resolves to whether there was one. Waits for transactions that
 * use the table, up to `lockTimeoutMs`, by default as long as they take.
 */
export async function dropIndex(
  database: Database,
  column: IndexedColumn,
  { lockTimeoutMs = 0 }: { readonly lockTimeoutMs?: number } = {},
): Promise<boolean> {
  const { sql } = database;
  const statement = `drop index concurrently if exists longtail.${nameOf(column)}`;
  refusePooler(database, statement);
  const { state } = await readIndex(sql, column);
  if (state === 'none') return false;
  const session = await sql.reserve();
  try {
    await session.unsafe(`set lock_timeout = ${lockTimeoutMs}`).simple();
    await session.unsafe(statement).simple();
    return true;
  } catch (error) {
    throw indexError(sql, column, error);
  } finally {
    // A session that is lost has no settings left.
    await session
      .unsafe('set lock_timeout = 0')
      .simple()
      .catch(() => undefined);
    session.release();
  }
}

/** Resolves to whether the index is there: false when it was cancelled as asked. */
async function build(
  sql: Sql,
  column: IndexedColumn,
  { clock, signal, onProgress }: IndexWork,
): Promise<boolean> {
  const session = await sql.reserve();
  const watching = new AbortController();
  try {
    const [{ pid = 0 } = {}] = await session<{ pid: number }[]>`select pg_backend_pid() as "pid"`;
    const watched = watch(sql, column, pid, { clock, signal, onProgress }, watching.signal);
    try {
      if (signal.aborted) return false;
      await session.unsafe(definition(column)).simple();
      return true;
    } catch (error) {
      if (signal.aborted && errorFacts(error).code === QUERY_CANCELED) return false;
      throw error;
    } finally {
      watching.abort();
      await watched;
    }
  } finally {
    session.release();
  }
}

const QUERY_CANCELED = '57014';

/** Tells how far the session is, and cancels what it does once `signal` is aborted: PostgreSQL would not notice a client that leaves. */
async function watch(
  sql: Sql,
  column: IndexedColumn,
  pid: number,
  { clock, signal, onProgress }: IndexWork,
  over: AbortSignal,
): Promise<void> {
  const either = AbortSignal.any([signal, over]);
  while (!over.aborted) {
    await pause(clock, PROGRESS_MS, signal.aborted ? over : either);
    if (over.aborted) return;
    try {
      if (signal.aborted) {
        await sql`select pg_cancel_backend(${pid}::int)`;
        continue;
      }
      const [row] = await sql<{ phase: string; share: number | null }[]>`
        select phase as "phase", case
            when tuples_total > 0 then tuples_done::float8 / tuples_total
            when blocks_total > 0 then blocks_done::float8 / blocks_total
          end as "share"
        from pg_stat_progress_create_index where pid = ${pid}::int`;
      if (row !== undefined) onProgress({ column, ...row });
    } catch (error) {
      // Watching is not worth the work itself, which says by itself when the server is gone.
      if (errorFacts(error).code === '') throw error;
    }
  }
}

async function readIndex(sql: Sql, column: IndexedColumn): Promise<FactIndex> {
  const found = (await readIndexes(sql)).find((index) => index.column === column);
  return found ?? { column, state: 'none', bytes: 0 };
}

function refusePooler({ pooled, sql }: Database, statement: string): void {
  if (!pooled) return;
  throw new LongtailError(
    'DATABASE_REFUSED',
    `A pooler stands before the ${place(sql)}: its sessions are lent, and an index takes one for as long as it is made.`,
    `Use the URL of the server itself, or run there: ${statement};`,
  );
}

function indexError(sql: Sql, column: IndexedColumn, error: unknown): LongtailError {
  if (error instanceof LongtailError) return error;
  const { code, message } = errorFacts(error);
  const what = `The index on ${column} in the ${place(sql)}`;
  if (isConnectionLoss(error))
    return new LongtailError(
      'DATABASE_UNAVAILABLE',
      `${what} is not finished: ${message}`,
      'Run the same command again: it removes what is left and begins anew.',
      { cause: error },
    );
  if (code === '53100')
    return new LongtailError(
      'DATABASE_DISK_FULL',
      `${what} needs more space: ${message}`,
      "Free space on the server's disk, then run again.",
      { cause: error },
    );
  return new LongtailError(
    'DATABASE_REFUSED',
    `${what} cannot be created or removed: ${message}`,
    code === '42501' ? 'Run it as the owner of the tables.' : 'Run the same command again.',
    { cause: error },
  );
}
