import type { Sql, TransactionSql } from 'postgres';
import type { Coverage, CoverageRange } from '../../domain/coverage.ts';
import type { RunIdentity } from '../../store/types.ts';
import { keyStatus } from './key-status.ts';

/** See {@link SliceLedger.readCoverage}. Failed keys are retried. */
export async function readCoverage(
  sql: Sql | TransactionSql,
  run: RunIdentity,
  range: CoverageRange,
): Promise<Coverage[]> {
  return await sql<Coverage[]>`
    with this_run as (
      select refresh_cut_off as cut_off, refresh_scope as scope, force from longtail.run
      where id = ${run.runId}::text::bigint
    ), state as (
      select s.search_type, s.dataset, s.date,
        max(s.version) filter (where s.status = 'complete') as complete,
        max(s.version) filter (where s.status = 'open') as open,
        max(s.version) filter (where s.status = 'failed') as failed,
        bool_or(s.status = 'open' and s.second_look) as second_look,
        bool_or(s.status = 'complete' and s.final and not s.doubted) as final,
        max(greatest(s.fetched_at, s.checked_at)) filter (where s.status = 'complete') as fetched_at,
        bool_or(s.status = 'complete' and s.kept_reason is not null) as kept
      from longtail.slice s
      where s.property_id = ${run.propertyId}::text::bigint
        and s.date between ${range.from}::text::date and ${range.to}::text::date
        and s.search_type in (select jsonb_array_elements_text(${JSON.stringify(range.searchTypes)}::text::jsonb))
        and s.dataset in (select jsonb_array_elements_text(${JSON.stringify(range.datasets)}::text::jsonb))
        and s.filter_key = '' and s.aggregation_type = '' and s.status in ('complete', 'open', 'failed')
      group by s.search_type, s.dataset, s.date
    ), judged as (
      select state.*, ${keyStatus(sql)} as status from state
    )
    select j.search_type as "searchType", j.dataset as "dataset", j.date::text as "date", j.status as "status",
      j.status = 'complete' and j.final and not (j.kept and coalesce(r.force, false)) as "final",
      coalesce(j.status = 'complete' and j.fetched_at < r.cut_off
        and j.date between (r.scope ->> 'from')::date and (r.scope ->> 'to')::date
        and jsonb_exists(r.scope -> 'searchTypes', j.search_type)
        and jsonb_exists(r.scope -> 'datasets', j.dataset), false) as "beforeCutOff"
    from judged j left join this_run r on true
    order by j.date desc, j.search_type, j.dataset`;
}

/** What the tables hold of a property, independent of any run. Empty when the property was never synchronised. */
export async function readPropertyCoverage(
  sql: Sql,
  siteUrl: string,
  range: CoverageRange,
): Promise<Coverage[]> {
  const [property] = await sql<{ id: string }[]>`
    select id::text as "id" from longtail.property where site_url = ${siteUrl}::text`;
  return property === undefined
    ? []
    : readCoverage(sql, { propertyId: property.id, runId: '0', epoch: '0', holder: '' }, range);
}
