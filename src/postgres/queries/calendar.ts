import type { Sql } from 'postgres';
import type { Day, SearchType } from '../../domain/slice.ts';
import type { Calendar, DayTotal, RunIdentity } from '../../store/types.ts';
import { transaction } from '../connection/transaction.ts';
import { lockRunRow } from '../locks/lock-run-row.ts';

/** A stored calendar. */
export interface KeptCalendar extends Calendar {
  /** Age of Google's answer in milliseconds, by the database's clock. */
  readonly ageMs: number;
}

/** See {@link SliceLedger.commitCalendar}. */
export async function commitCalendar(
  sql: Sql,
  run: RunIdentity,
  searchType: SearchType,
  calendar: Calendar,
): Promise<readonly DayTotal[]> {
  return await transaction(sql, async (tx) => {
    await lockRunRow(tx, run);
    const kept = tx`
      insert into longtail.calendar as c
        (property_id, search_type, from_date, to_date, last_published, first_incomplete, fetched_at)
      values (${run.propertyId}::text::bigint, ${searchType}::text, ${calendar.from}::text::date,
        ${calendar.to}::text::date, ${calendar.lastPublished}::text::date, ${calendar.firstIncomplete}::text::date, now())
      on conflict (property_id, search_type) do update set
        from_date = excluded.from_date, to_date = excluded.to_date, fetched_at = excluded.fetched_at,
        last_published = greatest(c.last_published, excluded.last_published),
        first_incomplete = excluded.first_incomplete`.execute();
    const days = tx`
      insert into longtail.day_total (property_id, search_type, date, clicks, impressions, fetched_at)
      select ${run.propertyId}::text::bigint, ${searchType}::text, d.date, d.clicks, d.impressions, now()
      from jsonb_to_recordset(${JSON.stringify(calendar.days)}::text::jsonb)
        as d(date date, clicks bigint, impressions bigint)
      on conflict (property_id, search_type, date) do update set
        clicks = excluded.clicks, impressions = excluded.impressions, fetched_at = excluded.fetched_at`.execute();
    const leftOut = tx<DayTotal[]>`
      with known as (
        select date, clicks, impressions from longtail.day_total
        where property_id = ${run.propertyId}::text::bigint and search_type = ${searchType}::text
          and (clicks > 0 or (impressions > 0 and fetched_at >= (date + 4)::timestamp at time zone 'UTC'))
        union all
        -- A slice that was fetched before there was a calendar may know more.
        select date, clicks, impressions from longtail.slice
        where property_id = ${run.propertyId}::text::bigint and search_type = ${searchType}::text
          and status = 'complete' and rows > 0
          and fetched_at >= (date + 4)::timestamp at time zone 'UTC'
          and part = '' and filter_key = '' and aggregation_type = '' and dataset <> 'searchAppearance'
      )
      select date::text as "date", max(clicks)::float8 as "clicks", max(impressions)::float8 as "impressions"
      from known
      where date between ${calendar.from}::text::date and ${calendar.to}::text::date
        and not jsonb_exists(${JSON.stringify(calendar.days.map(({ date }) => date))}::text::jsonb, date::text)
      group by known.date
      order by known.date desc`.execute();
    const [, , rows] = await Promise.all([kept, days, leftOut]);
    return [...rows];
  });
}

/** One search type's stored days from `from` to `to`. Undefined: Google was never asked. */
export async function readCalendar(
  sql: Sql,
  propertyId: string,
  searchType: SearchType,
  range: { readonly from: Day; readonly to: Day },
): Promise<KeptCalendar | undefined> {
  const [heads, days] = await Promise.all([
    sql<Omit<KeptCalendar, 'days'>[]>`
      select from_date::text as "from", to_date::text as "to", last_published::text as "lastPublished",
        first_incomplete::text as "firstIncomplete",
        (extract(epoch from now() - fetched_at) * 1000)::float8 as "ageMs"
      from longtail.calendar
      where property_id = ${propertyId}::text::bigint and search_type = ${searchType}::text`,
    sql<DayTotal[]>`
      select date::text as "date", clicks::float8 as "clicks", impressions::float8 as "impressions"
      from longtail.day_total
      where property_id = ${propertyId}::text::bigint and search_type = ${searchType}::text
        and date between ${range.from}::text::date and ${range.to}::text::date
      order by date desc`,
  ]);
  const head = heads[0];
  return head === undefined ? undefined : { ...head, days: [...days] };
}
