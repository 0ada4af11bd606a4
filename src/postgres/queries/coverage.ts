import type { Sql, TransactionSql } from 'postgres';
import type { Appearances, Coverage, CoverageRange } from '../../domain/coverage.ts';
import { isTwoStep, type NotServed } from '../../domain/dataset.ts';
import type { SelectionKey } from '../../domain/filter.ts';
import { wholeKeys } from '../../planning/two-step.ts';
import type { RunIdentity } from '../../store/types.ts';
import { keyStatus } from './key-status.ts';
import { isOfSelection, type KeyRow, withoutEmptyPart } from './selection.ts';

/** See {@link SliceLedger.readCoverage}. Failed keys are retried. */
export async function readCoverage(
  sql: Sql | TransactionSql,
  run: RunIdentity,
  range: CoverageRange,
): Promise<Coverage[]> {
  const rows = await sql<(Coverage & KeyRow)[]>`
    with this_run as (
      select refresh_cut_off as cut_off, refresh_scope as scope from longtail.run
      where id = ${run.runId}::text::bigint
    ), state as (
      select s.search_type, s.dataset, s.date, s.part,
        max(s.version) filter (where s.status = 'complete') as complete,
        max(s.version) filter (where s.status = 'open') as open,
        max(s.version) filter (where s.status = 'failed') as failed,
        bool_or(s.status = 'open' and s.second_look) as second_look,
        bool_or(s.status = 'complete' and s.final) as final,
        max(s.fetched_at) filter (where s.status = 'complete') as fetched_at
      from longtail.slice s
      where s.property_id = ${run.propertyId}::text::bigint
        and s.date between ${range.from}::text::date and ${range.to}::text::date
        and s.search_type in (select jsonb_array_elements_text(${JSON.stringify(range.searchTypes)}::text::jsonb))
        and s.dataset in (select jsonb_array_elements_text(${JSON.stringify(range.datasets)}::text::jsonb))
        and ${isOfSelection(sql, run)} and s.status in ('complete', 'open', 'failed')
      group by s.search_type, s.dataset, s.date, s.part
    ), judged as (
      select state.*, ${keyStatus(sql)} as status from state
    )
    select j.search_type as "searchType", j.dataset as "dataset", j.date::text as "date", j.part as "part",
      j.status as "status",
      j.status = 'complete' and j.final as "final",
      coalesce(j.status = 'complete' and j.fetched_at < r.cut_off
        and j.date between (r.scope ->> 'from')::date and (r.scope ->> 'to')::date
        and jsonb_exists(r.scope -> 'searchTypes', j.search_type)
        and jsonb_exists(r.scope -> 'datasets', j.dataset), false) as "beforeCutOff"
    from judged j left join this_run r on true
    order by j.date desc, j.search_type, j.dataset, j.part`;
  return rows.map(withoutEmptyPart);
}

/** See {@link SliceLedger.readAppearances}. */
export async function readAppearances(
  sql: Sql | TransactionSql,
  run: RunIdentity,
  range: CoverageRange,
): Promise<Appearances[]> {
  if (!range.datasets.some(isTwoStep)) return [];
  const rows = await sql<(Omit<Appearances, 'values'> & { values: string })[]>`
    select s.search_type as "searchType", s.date::text as "date",
      (select coalesce(json_agg(distinct f.search_appearance order by f.search_appearance), '[]')::text
        from longtail.fact f where f.slice_id = s.id and f.search_appearance is not null) as "values"
    from longtail.slice s
    where s.property_id = ${run.propertyId}::text::bigint and s.dataset = 'searchAppearance' and s.part = ''
      and s.date between ${range.from}::text::date and ${range.to}::text::date
      and s.search_type in (select jsonb_array_elements_text(${JSON.stringify(range.searchTypes)}::text::jsonb))
      and ${isOfSelection(sql, run)} and s.status = 'complete'
    order by s.date desc, s.search_type`;
  // JSON as text: not every pool knows PostgreSQL's arrays.
  return rows.map(({ values, ...day }) => ({ ...day, values: JSON.parse(values) as string[] }));
}

/** A refusal is believed for so long. Google may come to serve what it did not. */
const REFUSAL_DAYS = 30;

/** See {@link SliceLedger.readRefused}. */
export async function readRefused(sql: Sql | TransactionSql, run: RunIdentity): Promise<NotServed[]> {
  const rows = await sql<NotServed[]>`
    select search_type as "searchType", dataset as "dataset", reason as "reason" from longtail.not_served
    where property_id = ${run.propertyId}::text::bigint
      and refused_at > now() - make_interval(days => ${REFUSAL_DAYS}::int)
    order by search_type, dataset`;
  return [...rows];
}

/** What the tables hold of a property, independent of any run. Empty when the property was never synchronised. */
export async function readPropertyCoverage(
  sql: Sql,
  siteUrl: string,
  range: CoverageRange,
  selection?: SelectionKey,
): Promise<PropertyCoverage> {
  const [property] = await sql<{ id: string }[]>`
    select id::text as "id" from longtail.property where site_url = ${siteUrl}::text`;
  if (property === undefined) return { held: [], refused: [] };
  const run = {
    propertyId: property.id,
    runId: '0',
    epoch: '0',
    holder: '',
    ...(selection === undefined ? {} : { selection }),
  };
  const held = wholeKeys(range, await readCoverage(sql, run, range), await readAppearances(sql, run, range));
  return { held, refused: await readRefused(sql, run) };
}

interface PropertyCoverage {
  /** Whole keys. */
  readonly held: readonly Coverage[];
  readonly refused: readonly NotServed[];
}
