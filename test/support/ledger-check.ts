import type { Sql } from 'postgres';

/**
 * Whatever breaks the ledger's promise, in words; an empty list when it holds: a page is in the ledger if and only if
 * its rows are in `fact`, and a complete slice's figures are those of its rows. Reads all of it in one snapshot.
 */
export async function ledgerProblems(sql: Sql): Promise<string[]> {
  const rows = await sql<{ problem: string }[]>`
    with ledger as (
      select slice_id, sum(rows) as rows, sum(clicks) as clicks, sum(impressions) as impressions,
        bool_or(last) as has_last, max(start_row + rows) filter (where segment = '') as reached,
        -coalesce(sum(rows) filter (where segment = 'duplicates'), 0) as dropped
      from longtail.slice_page group by slice_id
    ), facts as (
      select slice_id, count(*) as rows, sum(clicks) as clicks, sum(impressions) as impressions
      from longtail.fact group by slice_id
    ), compared as (
      select coalesce(l.slice_id, f.slice_id) as slice_id,
        coalesce(l.rows, 0) as ledger_rows, coalesce(f.rows, 0) as fact_rows,
        coalesce(l.clicks, 0) as ledger_clicks, coalesce(f.clicks, 0) as fact_clicks,
        coalesce(l.impressions, 0) as ledger_impressions, coalesce(f.impressions, 0) as fact_impressions
      from ledger l full join facts f using (slice_id)
    )
    select format('slice %s: its ledger has %s rows, %s clicks, %s impressions; its facts have %s, %s, %s', slice_id,
      ledger_rows, ledger_clicks, ledger_impressions, fact_rows, fact_clicks, fact_impressions) as problem
    from compared
    where (ledger_rows, ledger_clicks, ledger_impressions) is distinct from (fact_rows, fact_clicks, fact_impressions)
    union all
    select format('complete slice %s says %s rows, %s clicks, %s impressions; its ledger %s, %s, %s', s.id,
      s.rows, s.clicks, s.impressions, l.rows, l.clicks, l.impressions)
    from longtail.slice s left join ledger l on l.slice_id = s.id
    where s.status = 'complete' and (s.rows, s.clicks, s.impressions)
      is distinct from (coalesce(l.rows, 0), coalesce(l.clicks, 0), coalesce(l.impressions, 0))
    union all
    select format('complete slice %s has pages to row %s and rows %s, and its last page is %s', s.id, l.reached, l.rows,
      case when l.has_last then 'there' else 'missing' end)
    from longtail.slice s join ledger l on l.slice_id = s.id
    where s.status = 'complete' and (not l.has_last or l.reached <> l.rows + l.dropped)
    union all
    select format('complete slice %s says that %s rows were dropped; its ledger %s', s.id, s.duplicates_dropped, l.dropped)
    from longtail.slice s join ledger l on l.slice_id = s.id
    where s.status = 'complete' and s.duplicates_dropped <> l.dropped
    union all
    select format('slice %s of %s shows a key %s times', f.slice_id, min(s.date), count(*))
    from longtail.fact f join longtail.slice s on s.id = f.slice_id and s.status = 'complete'
    group by f.slice_id, f.page, f.query, f.country, f.device, f.search_appearance, f.hour having count(*) > 1
    union all
    select format('facts or pages of slice %s, which does not exist', c.slice_id)
    from compared c where not exists (select from longtail.slice s where s.id = c.slice_id)`;
  return rows.map(({ problem }) => problem);
}
