import type { Sql, TransactionSql } from 'postgres';
import { NOT_PUBLISHED } from './seal.ts';
import type { CommitResult, PageCommit, RunIdentity } from './types.ts';

/** What a commit needs to know, once its slice is locked and its page is in the ledger. */
export interface LedgerEntry {
  /** False: the run is over, or the property is somebody else's. */
  readonly isOurs: boolean;
  /** False: the slice has ended, or belongs to another run. */
  readonly isOpen: boolean;
  /** False: the page was there before. */
  readonly isNew: boolean;
  /** The run's permission for less to replace more. */
  readonly force: boolean;
  readonly isSecondLook: boolean;
  /** Rows of the pages that follow each other from the start without a gap, this one among them. */
  readonly contiguousRows: number;
  /** Rows of all pages: as many as the contiguous ones when there is no gap. */
  readonly rows: number;
  /** Whether the page that ends the slice is there. */
  readonly hasLast: boolean;
  readonly previousId: string | null;
  readonly previousRows: number;
  readonly previousDuplicates: number;
}

/**
 * Locks the run's row, so that nobody takes over before this transaction is over, and the slice's. Other pages of the
 * run share the first and wait for the second.
 */
export function lockSlice(tx: TransactionSql, run: RunIdentity, sliceId: string): PromiseLike<unknown> {
  return tx`
    with ours as materialized (
      select r.id from longtail.run r
      where r.id = ${run.runId}::text::bigint and r.status = 'running'
      for share
    )
    select s.id from longtail.slice s
    where s.id = ${sliceId}::text::bigint and exists (select from ours)
    for no key update`.execute();
}

/** What the ledger has of a page. */
export interface LedgerPage extends Pick<PageCommit, 'slice' | 'startRow' | 'rowLimit'> {
  readonly count: number;
  readonly clicks: number;
  readonly impressions: number;
}

/**
 * Writes the page into the ledger, where the locks allow it, and reads what follows from it. A statement after the one
 * that locks: its snapshot sees whatever was committed while that one waited.
 */
export function insertPage(
  tx: TransactionSql,
  run: RunIdentity,
  page: LedgerPage,
): PromiseLike<LedgerEntry[]> {
  const last = page.count < page.rowLimit;
  return tx<LedgerEntry[]>`
    with ours as materialized (
      select r.id, r.force from longtail.run r
      join longtail.property p on p.id = r.property_id and p.epoch = r.epoch
      where r.id = ${run.runId}::text::bigint and r.status = 'running' and r.epoch = ${run.epoch}::text::bigint
    ), target as materialized (
      select s.* from longtail.slice s, ours
      where s.id = ${page.slice.id}::text::bigint and s.status = 'open' and s.run_id = ours.id
    ), entry as (
      insert into longtail.slice_page (slice_id, start_row, rows, clicks, impressions, last, run_id)
      select target.id, ${page.startRow}::int, ${page.count}::int, ${String(page.clicks)}::text::bigint,
        ${String(page.impressions)}::text::bigint, ${last}::bool, target.run_id
      from target
      on conflict do nothing
      returning start_row, rows, last
    ), pages as (
      select start_row, rows, last from longtail.slice_page where slice_id = ${page.slice.id}::text::bigint
      union all
      select start_row, rows, last from entry
    ), running as (
      select rows, last, start_row = coalesce(sum(rows) over (order by start_row rows between unbounded preceding and 1 preceding), 0) as fits
      from pages
    )
    select
      exists (select from ours) as "isOurs",
      exists (select from target) as "isOpen",
      exists (select from entry) as "isNew",
      coalesce((select force from ours), false) as "force",
      coalesce((select second_look from target), false) as "isSecondLook",
      (select coalesce(sum(rows) filter (where fits), 0)::float8 from running) as "contiguousRows",
      (select coalesce(sum(rows), 0)::float8 from running) as "rows",
      (select coalesce(bool_or(last), false) from running) as "hasLast",
      previous.id::text as "previousId",
      coalesce(previous.rows, 0)::float8 as "previousRows",
      coalesce(previous.duplicate_rows, 0)::float8 as "previousDuplicates"
    from (select) as always
    left join (
      select c.id, c.rows, c.duplicate_rows from longtail.slice c
      join target t on c.property_id = t.property_id and c.search_type = t.search_type
        and c.dataset = t.dataset and c.date = t.date and c.filter_key = t.filter_key
        and c.aggregation_type = t.aggregation_type
      where c.status = 'complete'
    ) previous on true`.execute();
}

/** What came of a page that is in the ledger already; undefined when it is not. */
export async function readCommitted(
  sql: Sql,
  page: Pick<PageCommit, 'slice' | 'startRow'>,
): Promise<CommitResult | undefined> {
  const rows = await sql<
    {
      rows: number;
      last: boolean;
      status: string;
      error: string | null;
      successorId: string | null;
      end: number;
    }[]
  >`
    select p.rows as "rows", p.last as "last", s.status as "status", s.error as "error",
      s.successor_id::text as "successorId",
      (select coalesce(sum(e.rows), 0)::float8 from longtail.slice_page e
        where e.slice_id = p.slice_id and e.start_row <= p.start_row) as "end"
    from longtail.slice_page p join longtail.slice s on s.id = p.slice_id
    where p.slice_id = ${page.slice.id}::text::bigint and p.segment = '' and p.start_row = ${page.startRow}::int`;
  const entry = rows[0];
  if (entry === undefined) return undefined;
  const committed = { kind: 'alreadyCommitted', rows: entry.rows } as const;
  if (!entry.last || entry.status === 'open')
    return { ...committed, next: { kind: 'page', startRow: entry.end } };
  if (entry.successorId !== null)
    return { ...committed, next: { kind: 'again', sliceId: entry.successorId } };
  if (entry.status === 'failed') {
    return { ...committed, next: { kind: 'failed', reason: entry.error ?? 'it failed' } };
  }
  if (entry.status === 'abandoned' && entry.error === NOT_PUBLISHED) {
    return { ...committed, next: { kind: 'notPublished' } };
  }
  return { ...committed, next: { kind: 'sealed' } };
}
