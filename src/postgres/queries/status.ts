import type { Sql } from 'postgres';
import type { Dataset, Day, SearchType } from '../../domain/slice.ts';
import { toldError } from '../connection/told-error.ts';
import { keyStatus } from './key-status.ts';

/** What the tables hold of one property, search type, dataset and month, in days. */
export interface MonthStatus {
  readonly siteUrl: string;
  readonly searchType: SearchType;
  readonly dataset: Dataset;
  /** `YYYY-MM`. */
  readonly month: string;
  /** Complete, with rows or without. */
  readonly complete: number;
  /** Complete and without rows. */
  readonly empty: number;
  /** Begun but not complete. */
  readonly open: number;
  /** The latest attempt failed. */
  readonly failed: number;
  /** Never fetched, though between the dataset's first day and its last, or the last that Google has published. */
  readonly missing: number;
  /** Readable rows. */
  readonly rows: number;
  /** The first and last complete days. Null when there are none. */
  readonly first: Day | null;
  readonly last: Day | null;
}

/** Reads the status of one property or of all, newest month first. */
export async function readStatus(sql: Sql, siteUrl?: string): Promise<MonthStatus[]> {
  try {
    return await sql<MonthStatus[]>`
      with known as (
        select s.property_id, s.search_type, s.dataset, s.date, s.part,
          max(s.version) filter (where s.status = 'complete') as complete,
          max(s.version) filter (where s.status = 'open') as open,
          max(s.version) filter (where s.status = 'failed') as failed,
          bool_or(s.status = 'open' and s.second_look) as second_look,
          coalesce(sum(s.rows) filter (where s.status = 'complete'), 0) as rows
        from longtail.slice s join longtail.property p on p.id = s.property_id
        where (${siteUrl ?? null}::text is null or p.site_url = ${siteUrl ?? null}::text)
          and s.filter_key = '' and s.aggregation_type = '' and s.status in ('complete', 'open', 'failed')
        group by s.property_id, s.search_type, s.dataset, s.date, s.part
      ), parts as (
        select *, ${keyStatus(sql)} as status
        from known
      ), two_steps as (
        select distinct property_id, search_type, dataset from parts where part like 'searchAppearance=%'
      ), wanted as (
        -- The parts that a day's first step names; one without a name for a day that has none.
        select distinct t.property_id, t.search_type, t.dataset, s.date, f.search_appearance as value
        from two_steps t
        join longtail.slice s on s.property_id = t.property_id and s.search_type = t.search_type
          and s.dataset = 'searchAppearance' and s.part = '' and s.filter_key = '' and s.aggregation_type = ''
          and s.status = 'complete'
        left join longtail.fact f on f.slice_id = s.id
      ), judged as (
        select property_id, search_type, dataset, date, rows, complete, status from parts where part = ''
        union all
        -- A day in parts is as far as the worst of them, and missing while one is.
        select * from (
          select w.property_id, w.search_type, w.dataset, w.date, coalesce(sum(p.rows), 0) as rows,
            max(coalesce(p.complete, 0)) as complete,
            case when bool_or(p.status = 'failed') then 'failed' when bool_or(p.status = 'open') then 'open'
              when bool_and(w.value is null or coalesce(p.status = 'complete', false)) then 'complete' end as status
          from wanted w left join parts p on p.property_id = w.property_id and p.search_type = w.search_type
            and p.dataset = w.dataset and p.date = w.date and p.part = 'searchAppearance=' || w.value
          group by w.property_id, w.search_type, w.dataset, w.date
        ) in_parts where status is not null
      ), spans as (
        select j.property_id, j.search_type, j.dataset, min(j.date) as first,
          greatest(max(j.date), max(c.last_published)) as last
        from judged j left join longtail.calendar c using (property_id, search_type)
        group by j.property_id, j.search_type, j.dataset
      ), days as (
        select s.property_id, s.search_type, s.dataset, day::date as date
        from spans s, generate_series(s.first::timestamp, s.last::timestamp, interval '1 day') as day
      )
      select p.site_url as "siteUrl", d.search_type as "searchType", d.dataset as "dataset",
        to_char(d.date, 'YYYY-MM') as "month",
        (count(*) filter (where j.status = 'complete'))::int as "complete",
        (count(*) filter (where j.status = 'complete' and j.rows = 0))::int as "empty",
        (count(*) filter (where j.status = 'open'))::int as "open",
        (count(*) filter (where j.status = 'failed'))::int as "failed",
        (count(*) filter (where j.status is null))::int as "missing",
        coalesce(sum(j.rows), 0)::float8 as "rows",
        (min(d.date) filter (where j.complete is not null))::text as "first",
        (max(d.date) filter (where j.complete is not null))::text as "last"
      from days d join longtail.property p on p.id = d.property_id
      left join judged j using (property_id, search_type, dataset, date)
      group by p.site_url, d.search_type, d.dataset, to_char(d.date, 'YYYY-MM')
      order by p.site_url, d.search_type, d.dataset, "month" desc`;
  } catch (error) {
    throw await toldError(sql, error);
  }
}
