import type { TransactionSql } from 'postgres';
import { COLUMN_OF, DIMENSIONS } from '../../domain/dataset.ts';
import type { SliceStatus } from '../../domain/slice-life.ts';
import type { RunIdentity } from '../../store/types.ts';
import { one } from '../connection/answer.ts';

/** How to make a slice visible to readers. */
export interface Completion {
  readonly sliceId: string;
  /** The previous version. */
  readonly previousId: string | null;
  readonly capped: boolean;
  readonly duplicatesDropped: number;
  readonly final: boolean;
}

/**
 * Makes slices visible to readers in place of their previous versions. The sums come from the ledger, so no facts are
 * read. The caller's transaction holds the slices' locks.
 */
export async function completeSlices(tx: TransactionSql, completions: readonly Completion[]): Promise<void> {
  const previousIds = completions.flatMap(({ previousId }) => previousId ?? []);
  // In this order: a key must never have two complete versions. Sent together in one round trip.
  const superseded =
    previousIds.length === 0
      ? undefined
      : tx`
        update longtail.slice set status = 'superseded'
        where id = any(string_to_array(${previousIds.join(',')}::text, ',')::bigint[])`.execute();
  const completed = tx`
    update longtail.slice s
    set status = 'complete', rows = l.rows, clicks = l.clicks, impressions = l.impressions,
      replaced_characters = l.replaced_characters, duplicates_dropped = l."duplicatesDropped", capped = l.capped,
      final = l.final, data_state = case when l.final then 'final' else 'all' end, fetched_at = now()
    from (
      select c.*, p.* from jsonb_to_recordset(${JSON.stringify(completions)}::text::jsonb)
        as c("sliceId" bigint, "duplicatesDropped" int, capped bool, final bool)
      cross join lateral (
        select coalesce(sum(rows), 0) as rows, coalesce(sum(clicks), 0) as clicks,
          coalesce(sum(impressions), 0) as impressions, coalesce(sum(replaced_characters), 0) as replaced_characters
        from longtail.slice_page where slice_id = c."sliceId"
      ) p
    ) l
    where s.id = l."sliceId"
      and s.id = any(string_to_array(${completions.map(({ sliceId }) => sliceId).join(',')}::text, ',')::bigint[])`.execute();
  await Promise.all([superseded, completed]);
}

/** Ends an open slice whose rows readers never see. They are deleted later; their sums stay. */
export async function endSlice(
  tx: TransactionSql,
  sliceId: string,
  final: boolean,
  end: { readonly kind: Extract<SliceStatus, 'failed' | 'abandoned'> | 'kept'; readonly reason: string },
): Promise<void> {
  // A slice whose previous version stays for good has not failed: a failed one would be fetched again.
  const status = end.kind === 'kept' ? 'abandoned' : end.kind;
  await tx`
    update longtail.slice s set status = ${status}::text, error = ${end.reason}::text, final = ${final}::bool,
      data_state = case when ${final}::bool then 'final' else 'all' end, fetched_at = now(),
      rows = l.rows, clicks = l.clicks, impressions = l.impressions
    from (
      select coalesce(sum(rows), 0) as rows, coalesce(sum(clicks), 0) as clicks,
        coalesce(sum(impressions), 0) as impressions
      from longtail.slice_page where slice_id = ${sliceId}::text::bigint
    ) l
    where s.id = ${sliceId}::text::bigint and s.status = 'open'`;
}

/** Notes with the version that readers see why a later answer did not replace it. */
export async function keepPrevious(tx: TransactionSql, sliceId: string, reason: string): Promise<void> {
  await tx`
    update longtail.slice set kept_reason = ${reason}::text, checked_at = now()
    where id = ${sliceId}::text::bigint and status = 'complete'`;
}

/** Opens a refetch of a slice that was just completed with duplicates. Returns its id. */
export async function openRefetch(tx: TransactionSql, sliceId: string): Promise<string> {
  const rows = await tx<{ id: string }[]>`
    with next as (
      insert into longtail.slice (property_id, search_type, dataset, date, part, filter_key, aggregation_type,
        version, status, second_look, run_id)
      select property_id, search_type, dataset, date, part, filter_key, aggregation_type,
        version + 1, 'open', true, run_id
      from longtail.slice where id = ${sliceId}::text::bigint
      returning id
    )
    update longtail.slice s set successor_id = next.id from next
    where s.id = ${sliceId}::text::bigint
    returning next.id::text as "id"`;
  return one(rows).id;
}

export async function noteReplaced(
  tx: TransactionSql,
  page: { readonly slice: { readonly id: string }; readonly startRow: number },
  count: number,
): Promise<void> {
  await tx`
    update longtail.slice_page set replaced_characters = ${count}::int
    where slice_id = ${page.slice.id}::text::bigint and segment = '' and start_row = ${page.startRow}::int`;
}

/** Of one slice; a dimension that is not in its dataset is null in all rows. */
const KEY_COLUMNS = DIMENSIONS.map((dimension) => COLUMN_OF[dimension]).join(', ');

/** Counts the different keys of the slice, by reading all its rows. */
export async function countKeys(tx: TransactionSql, sliceId: string): Promise<number> {
  const key = tx.unsafe(KEY_COLUMNS);
  const rows = await tx<{ count: number }[]>`
    select count(distinct (${key}))::int as "count" from longtail.fact where slice_id = ${sliceId}::text::bigint`;
  return one(rows).count;
}

/** Marks a page of the ledger as its slice's last. */
export async function markLast(tx: TransactionSql, sliceId: string, startRow: number): Promise<void> {
  await tx`
    update longtail.slice_page set last = true, short = false
    where slice_id = ${sliceId}::text::bigint and segment = '' and start_row = ${startRow}::int`;
}

/**
 * Leaves each key of the slice in one row, by reading all its rows, and enters in the ledger what was dropped, so that
 * it stays the sum of the rows. Returns how many rows were dropped. Called only when duplicates are suspected.
 *
 * A key comes twice when ties move between two answers: then its rows are equal. They differ only if Google changed the
 * day in between, and until a day is final it adds impressions: the row with more of them is the newer one.
 */
export async function dropDuplicates(
  tx: TransactionSql,
  run: Pick<RunIdentity, 'runId'>,
  sliceId: string,
): Promise<number> {
  const key = tx.unsafe(KEY_COLUMNS);
  const rows = await tx<{ count: number }[]>`
    with ranked as materialized (
      select ctid as place, row_number() over (
        partition by ${key}
        order by impressions desc, clicks desc, position, ctid) as nth
      from longtail.fact where slice_id = ${sliceId}::text::bigint
    ), dropped as (
      delete from longtail.fact f
      where f.slice_id = ${sliceId}::text::bigint and f.ctid = any(array(select place from ranked where nth > 1))
      returning f.clicks, f.impressions
    ), sums as (
      select count(*)::int as rows, sum(clicks) as clicks, sum(impressions) as impressions from dropped
    ), entry as (
      insert into longtail.slice_page (slice_id, segment, start_row, rows, clicks, impressions, last, run_id)
      select ${sliceId}::text::bigint, 'duplicates', 0, -rows, -clicks, -impressions, false, ${run.runId}::text::bigint
      from sums where rows > 0
    )
    select rows as "count" from sums`;
  return one(rows).count;
}
