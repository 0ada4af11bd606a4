import type { Sql } from 'postgres';
import type { NotServed } from '../../domain/dataset.ts';
import type { SearchType, SliceKey } from '../../domain/slice.ts';
import type { CommittedPage, OpenedSlice, PageCommit, RunIdentity } from '../../store/types.ts';
import { one } from '../connection/answer.ts';
import { transaction } from '../connection/transaction.ts';
import { lockRunRow } from '../locks/lock-run-row.ts';
import { isOfSelection, selectionOf, withoutEmptyPart } from '../queries/selection.ts';
import { readCommitted } from './ledger.ts';

/** The keys as a JSON table with the columns place, search_type, dataset, date, part. Text, so that driver settings have no effect. */
function asJson(keys: readonly SliceKey[]): string {
  return JSON.stringify(
    keys.map(({ searchType, dataset, date, part = '' }, place) => ({
      place,
      search_type: searchType,
      dataset,
      date,
      part,
    })),
  );
}

/** See {@link SliceLedger.openSlices}. */
export async function openSlices(
  sql: Sql,
  run: RunIdentity,
  keys: readonly SliceKey[],
  { continueYoungerThanMinutes }: { readonly continueYoungerThanMinutes: number },
): Promise<OpenedSlice[]> {
  if (keys.length === 0) return [];
  const json = asJson(keys);
  const { filterKey, aggregationType } = selectionOf(run);
  return await transaction(sql, async (tx) => {
    const siteUrl = await lockRunRow(tx, run);
    // A slice of this run continues whatever its age. A slice without pages has nothing that could be too old.
    const taken = tx`
      with asked as (
        select * from jsonb_to_recordset(${json}::text::jsonb) as k(search_type text, dataset text, date date, part text)
      ), found as (
        select s.id, s.run_id = ${run.runId}::text::bigint
            or coalesce((select max(p.committed_at) from longtail.slice_page p where p.slice_id = s.id)
              > now() - make_interval(mins => ${continueYoungerThanMinutes}::int), true) as goes_on
        from longtail.slice s join asked k using (search_type, dataset, date, part)
        where s.property_id = ${run.propertyId}::text::bigint and s.status = 'open'
          and ${isOfSelection(tx, run)}
      )
      update longtail.slice s
      set status = case when goes_on then 'open' else 'abandoned' end,
        error = case when goes_on then null else 'left open by an earlier run' end,
        run_id = case when goes_on then ${run.runId}::text::bigint else s.run_id end
      from found where s.id = found.id and s.status = 'open'`.execute();
    // If a refetch was too old to continue, it is still due.
    const opened = tx`
      with asked as (
        select distinct * from jsonb_to_recordset(${json}::text::jsonb) as k(search_type text, dataset text, date date, part text)
      )
      insert into longtail.slice (property_id, search_type, dataset, date, part, filter_key, aggregation_type, version,
        status, second_look, run_id)
      select ${run.propertyId}::text::bigint, k.search_type, k.dataset, k.date, k.part,
        ${filterKey}::text, ${aggregationType}::text,
        coalesce(newest.version, 0) + 1, 'open',
        coalesce(newest.second_look and newest.status = 'abandoned'
          and newest.error = 'left open by an earlier run', false),
        ${run.runId}::text::bigint
      from asked k left join lateral (
        select s.version, s.second_look, s.status, s.error from longtail.slice s
        where s.property_id = ${run.propertyId}::text::bigint and s.search_type = k.search_type
          and s.dataset = k.dataset and s.date = k.date and s.part = k.part and ${isOfSelection(tx, run)}
        order by s.version desc limit 1
      ) newest on true
      where newest.status is distinct from 'open'`.execute();
    const read = tx<
      { id: string; searchType: SearchType; dataset: string; date: string; part: string; startRow: number }[]
    >`
      select s.id::text as "id", s.search_type as "searchType", s.dataset as "dataset", s.date::text as "date",
        s.part as "part",
        (select coalesce(sum(rows) filter (where fits), 0)::float8 from (
          select p.rows, p.start_row = coalesce(sum(p.rows) over (order by p.start_row
            rows between unbounded preceding and 1 preceding), 0) as fits
          from longtail.slice_page p where p.slice_id = s.id
        ) pages) as "startRow"
      from jsonb_to_recordset(${json}::text::jsonb) as k(place int, search_type text, dataset text, date date, part text)
      join longtail.slice s using (search_type, dataset, date, part)
      where s.property_id = ${run.propertyId}::text::bigint and s.status = 'open'
        and ${isOfSelection(tx, run)}
      order by k.place`.execute();
    const [, , rows] = await Promise.all([taken, opened, read]);
    return rows.map(({ startRow, ...key }) => ({ slice: { ...withoutEmptyPart(key), siteUrl }, startRow }));
  });
}

/** See {@link SliceLedger.failSlice}. */
export async function failSlice(
  sql: Sql,
  run: RunIdentity,
  sliceId: string,
  reason: string,
  page?: Pick<PageCommit, 'startRow'>,
): Promise<CommittedPage | null> {
  return await transaction(sql, async (tx) => {
    await lockRunRow(tx, run);
    // A commit of the page may still be running in the database. It holds the slice's lock: wait for its result.
    await tx`select from longtail.slice where id = ${sliceId}::text::bigint for no key update`;
    const committed =
      page === undefined ? undefined : await readCommitted(tx, { slice: { id: sliceId }, ...page });
    if (committed !== undefined) return committed;
    await tx`
      update longtail.slice set status = 'failed', error = ${reason}::text
      where id = ${sliceId}::text::bigint and status = 'open' and run_id = ${run.runId}::text::bigint`;
    return null;
  });
}

/** See {@link SliceLedger.refuseSlice}. */
export async function refuseSlice(
  sql: Sql,
  run: RunIdentity,
  sliceId: string,
  { searchType, dataset, reason }: NotServed,
): Promise<null> {
  return await transaction(sql, async (tx) => {
    await lockRunRow(tx, run);
    const noted = tx`
      insert into longtail.not_served (property_id, search_type, dataset, reason, refused_at)
      values (${run.propertyId}::text::bigint, ${searchType}::text, ${dataset}::text, ${reason}::text, now())
      on conflict (property_id, search_type, dataset) do update set
        reason = excluded.reason, refused_at = excluded.refused_at`.execute();
    const ended = tx`
      update longtail.slice set status = 'abandoned', error = ${reason}::text
      where id = ${sliceId}::text::bigint and status = 'open' and run_id = ${run.runId}::text::bigint`.execute();
    await Promise.all([noted, ended]);
    return null;
  });
}

/** See {@link SliceLedger.sealEmptySlices}. */
export async function sealEmptySlices(
  sql: Sql,
  run: RunIdentity,
  keys: readonly SliceKey[],
  { final }: { readonly final: boolean },
): Promise<number> {
  if (keys.length === 0) return 0;
  const json = asJson(keys);
  const { filterKey, aggregationType } = selectionOf(run);
  return await transaction(sql, async (tx) => {
    await lockRunRow(tx, run);
    const dropped = tx`
      update longtail.slice s set status = 'abandoned', error = 'the day has no data'
      from jsonb_to_recordset(${json}::text::jsonb) as k(search_type text, dataset text, date date, part text)
      where s.property_id = ${run.propertyId}::text::bigint and s.search_type = k.search_type
        and s.dataset = k.dataset and s.date = k.date and s.part = k.part and ${isOfSelection(tx, run)}
        and s.status in ('open', 'failed')`.execute();
    // A day that had rows keeps them. Google has no more data for it, so it need not be fetched again.
    const kept = tx`
      update longtail.slice s
      set final = s.final or ${final}::bool, data_state = case when s.final or ${final}::bool then 'final' else 'all' end,
        fetched_at = now()
      from jsonb_to_recordset(${json}::text::jsonb) as k(search_type text, dataset text, date date, part text)
      where s.property_id = ${run.propertyId}::text::bigint and s.search_type = k.search_type
        and s.dataset = k.dataset and s.date = k.date and s.part = k.part and ${isOfSelection(tx, run)}
        and s.status = 'complete'`.execute();
    const sealed = tx<{ count: number }[]>`
      with asked as (
        select distinct * from jsonb_to_recordset(${json}::text::jsonb) as k(search_type text, dataset text, date date, part text)
      ), made as (
        insert into longtail.slice (property_id, search_type, dataset, date, part, filter_key, aggregation_type,
          version, status, final, data_state, fetched_at, has_facts, run_id)
        select ${run.propertyId}::text::bigint, k.search_type, k.dataset, k.date, k.part,
          ${filterKey}::text, ${aggregationType}::text,
          coalesce(max(s.version), 0) + 1, 'complete', ${final}::bool,
          case when ${final}::bool then 'final' else 'all' end, now(), false, ${run.runId}::text::bigint
        from asked k left join longtail.slice s
          on s.property_id = ${run.propertyId}::text::bigint and s.search_type = k.search_type
          and s.dataset = k.dataset and s.date = k.date and s.part = k.part and ${isOfSelection(tx, run)}
        group by k.search_type, k.dataset, k.date, k.part
        having not coalesce(bool_or(s.status = 'complete'), false)
        returning id
      )
      select count(*)::int as "count" from made`.execute();
    const [, , counted] = await Promise.all([dropped, kept, sealed]);
    return one(counted).count;
  });
}
