import type { TransactionSql } from 'postgres';
import { COLUMN_OF, DIMENSIONS } from '../../domain/dataset.ts';
import type { SliceStatus } from '../../domain/slice-life.ts';
import { one } from '../connection/answer.ts';

/** How to make a slice visible to readers. */
export interface Completion {
  readonly sliceId: string;
  /** The previous version. */
  readonly previousId: string | null;
  readonly capped: boolean;
  readonly duplicateRows: number;
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
      replaced_characters = l.replaced_characters, duplicate_rows = l."duplicateRows", capped = l.capped,
      final = l.final, data_state = case when l.final then 'final' else 'all' end, fetched_at = now()
    from (
      select c.*, p.* from jsonb_to_recordset(${JSON.stringify(completions)}::text::jsonb)
        as c("sliceId" bigint, "duplicateRows" int, capped bool, final bool)
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

/** Ends an open slice whose rows readers never see. They are deleted later. */
export async function endSlice(
  tx: TransactionSql,
  sliceId: string,
  end: { readonly kind: Extract<SliceStatus, 'failed' | 'abandoned'>; readonly reason: string },
): Promise<void> {
  await tx`
    update longtail.slice set status = ${end.kind}::text, error = ${end.reason}::text
    where id = ${sliceId}::text::bigint and status = 'open'`;
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

/** Counts rows of the slice whose key occurs in another of its rows, by reading all rows. For a slice begun by another process. */
export async function readDuplicates(tx: TransactionSql, sliceId: string): Promise<number> {
  const rows = await tx.unsafe<{ count: number }[]>(
    `select (count(*) - count(distinct (${KEY_COLUMNS})))::int as "count"
    from longtail.fact where slice_id = $1::text::bigint`,
    [sliceId],
  );
  return one(rows).count;
}
