import type { Sql, TransactionSql } from 'postgres';
import type { Slice } from '../../domain/slice.ts';
import type { SliceStatus } from '../../domain/slice-life.ts';
import { NOT_PUBLISHED } from '../../planning/seal.ts';
import type { CommittedPage, PageCommit, RunIdentity } from '../../store/types.ts';

/** What a commit needs to know about a page once the slice is locked and the page is in the ledger. */
export interface LedgerEntry {
  readonly sliceId: string;
  /** False: the run has ended, or another run owns the property. */
  readonly isOurs: boolean;
  /** False: the slice has ended, or belongs to another run. */
  readonly isOpen: boolean;
  /** False: the page was already in the ledger. */
  readonly isNew: boolean;
  /** Whether the run allows an answer with fewer rows to replace one with more. */
  readonly acceptShrunk: boolean;
  readonly isRefetch: boolean;
  /** Rows of all pages up to the first gap, this page included. */
  readonly contiguousRows: number;
  /** Rows of all pages. Equals `contiguousRows` when there is no gap. */
  readonly rows: number;
  /** Whether the ledger has the slice's last page. */
  readonly hasLast: boolean;
  readonly previousId: string | null;
  readonly previousRows: number;
  readonly previousDuplicates: number;
  readonly previousFinal: boolean;
}

/**
 * Locks the run's row, so that no other run can take over before this transaction ends, and the slices' rows. Other
 * transactions of the run share the first lock and wait for the second. Locks the newest slice first, like every other
 * transaction: a slice's previous version is locked after it.
 */
export function lockSlices(
  tx: TransactionSql,
  run: RunIdentity,
  sliceIds: readonly string[],
): PromiseLike<unknown> {
  return tx`
    with ours as materialized (
      select r.id from longtail.run r
      where r.id = ${run.runId}::text::bigint and r.status = 'running'
      for share
    )
    select s.id from longtail.slice s
    where s.id = any(string_to_array(${sliceIds.join(',')}::text, ',')::bigint[]) and exists (select from ours)
    order by s.id desc
    for no key update`.execute();
}

/** What the ledger stores about a page. */
export interface LedgerPage extends Pick<PageCommit, 'slice' | 'startRow' | 'rowLimit'> {
  readonly count: number;
  readonly clicks: number;
  readonly impressions: number;
}

/**
 * Adds pages of different slices to the ledger, where the locks allow it. Returns an entry for each. This is a separate
 * statement after the one that locks, so its snapshot sees everything committed while that one waited.
 *
 * The per-slice lookups are fenced off with `offset 0`: PostgreSQL plans the statement once, while the tables are small,
 * and that plan must not turn into full scans.
 */
export function insertPages(
  tx: TransactionSql,
  run: RunIdentity,
  pages: readonly LedgerPage[],
): PromiseLike<LedgerEntry[]> {
  const input = pages.map(({ slice, startRow, rowLimit, count, clicks, impressions }) => ({
    id: slice.id,
    startRow,
    rows: count,
    // As text: JSON cannot represent NaN or Infinity, and this way PostgreSQL's error names the value.
    clicks: String(clicks),
    impressions: String(impressions),
    last: count < rowLimit,
  }));
  return tx<LedgerEntry[]>`
    with ours as materialized (
      select r.id, r.force from longtail.run r
      join longtail.property p on p.id = r.property_id and p.epoch = r.epoch
      where r.id = ${run.runId}::text::bigint and r.status = 'running' and r.epoch = ${run.epoch}::text::bigint
    ), input as materialized (
      select * from jsonb_to_recordset(${JSON.stringify(input)}::text::jsonb)
        as i(id bigint, "startRow" int, rows int, clicks bigint, impressions bigint, last bool)
    ), target as materialized (
      select s.*, i."startRow" as start_row, i.rows as page_rows, i.clicks as page_clicks,
        i.impressions as page_impressions, i.last
      from input i
      cross join lateral (select * from longtail.slice where id = i.id offset 0) s
      join ours on s.run_id = ours.id
      where s.status = 'open'
    ), entry as (
      insert into longtail.slice_page (slice_id, start_row, rows, clicks, impressions, last, run_id)
      select id, start_row, page_rows, page_clicks, page_impressions, last, run_id from target
      on conflict do nothing
      returning slice_id, start_row, rows, last
    ), pages as (
      select p.slice_id, p.start_row, p.rows, p.last from input i
      cross join lateral (select * from longtail.slice_page where slice_id = i.id offset 0) p
      union all
      select slice_id, start_row, rows, last from entry
    ), running as (
      select slice_id, rows, last, start_row = coalesce(sum(rows) over
        (partition by slice_id order by start_row rows between unbounded preceding and 1 preceding), 0) as fits
      from pages
    ), sums as (
      select slice_id, sum(rows) filter (where fits) as contiguous, sum(rows) as rows, bool_or(last) as has_last
      from running group by slice_id
    )
    select
      i.id::text as "sliceId",
      exists (select from ours) as "isOurs",
      t.id is not null as "isOpen",
      e.slice_id is not null as "isNew",
      coalesce((select force from ours), false) as "acceptShrunk",
      coalesce(t.second_look, false) as "isRefetch",
      coalesce(sums.contiguous, 0)::float8 as "contiguousRows",
      coalesce(sums.rows, 0)::float8 as "rows",
      coalesce(sums.has_last, false) as "hasLast",
      previous.id::text as "previousId",
      coalesce(previous.rows, 0)::float8 as "previousRows",
      coalesce(previous.duplicate_rows, 0)::float8 as "previousDuplicates",
      coalesce(previous.final, false) as "previousFinal"
    from input i
    left join target t on t.id = i.id
    left join entry e on e.slice_id = i.id
    left join sums on sums.slice_id = i.id
    left join lateral (
      select c.id, c.rows, c.duplicate_rows, c.final from longtail.slice c
      where c.property_id = t.property_id and c.search_type = t.search_type
        and c.dataset = t.dataset and c.date = t.date and c.part = t.part and c.filter_key = t.filter_key
        and c.aggregation_type = t.aggregation_type and c.status = 'complete'
      offset 0
    ) previous on true`.execute();
}

/** The result of a page that is already in the ledger, otherwise undefined. */
export async function readCommitted(
  sql: Sql | TransactionSql,
  page: { readonly slice: Pick<Slice, 'id'>; readonly startRow: number },
): Promise<CommittedPage | undefined> {
  const rows = await sql<
    {
      rows: number;
      last: boolean;
      status: SliceStatus;
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
