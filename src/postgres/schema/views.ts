/**
 * The views beside the contract, `search_analytics`, which the migrations make. These are made after the migrations, and
 * each by itself: a name that somebody else has is left to him, and costs nobody a run.
 */
import { KEY_STATUS } from '../queries/key-status.ts';

export interface ViewDefinition {
  readonly name: string;
  /** A SELECT that PostgreSQL 14 takes. */
  readonly body: string;
  readonly comment: string;
  readonly columns?: Readonly<Record<string, string>>;
}

/** What a slice must be to be shown by the plain views. */
const PLAIN = (slice: string): string => `${slice}.filter_key = '' and ${slice}.aggregation_type = ''`;

/**
 * One row for each day of each dataset, from its first day to its last, or to the last that Google has published: what the
 * words complete, open, failed and missing mean, in `search_coverage` and in `longtail status` alike. A day of several parts is
 * as complete as the least of them. For a dataset of two steps, the complete `searchAppearance` slice says which parts there are.
 */
export const COVERAGE = `
  with versions as (
    select s.property_id, s.search_type, s.dataset, s.date, s.part,
      max(s.version) filter (where s.status = 'complete') as complete,
      max(s.version) filter (where s.status = 'open') as open,
      max(s.version) filter (where s.status = 'failed') as failed,
      coalesce(bool_or(s.status = 'open' and s.second_look), false) as second_look,
      (array_agg(s.error order by s.version desc) filter (where s.status = 'failed'))[1] as error,
      count(*) filter (where s.status in ('complete', 'superseded')) as versions,
      sum(s.rows) filter (where s.status = 'complete') as rows,
      sum(s.clicks) filter (where s.status = 'complete') as clicks,
      sum(s.impressions) filter (where s.status = 'complete') as impressions,
      sum(s.duplicates_dropped) filter (where s.status = 'complete') as duplicates_dropped,
      coalesce(bool_or(s.capped) filter (where s.status = 'complete'), false) as capped,
      coalesce(bool_or(s.final) filter (where s.status = 'complete'), false) as final,
      max(s.fetched_at) filter (where s.status = 'complete') as fetched_at
    from longtail.slice s
    where ${PLAIN('s')} and s.status <> 'abandoned'
    group by s.property_id, s.search_type, s.dataset, s.date, s.part
    having bool_or(s.status <> 'superseded')
  ), judged as (
    select *, ${KEY_STATUS} as status from versions
  ), expected as (
    select t.property_id, t.search_type, t.dataset, s.date, f.search_appearance
    from (select distinct property_id, search_type, dataset from versions where dataset like '%+searchAppearance%') t
    join longtail.slice s on s.property_id = t.property_id and s.search_type = t.search_type
      and s.dataset = 'searchAppearance' and s.status = 'complete' and ${PLAIN('s')}
    left join lateral (select search_appearance from longtail.fact where slice_id = s.id offset 0) f on true
  ), parts as (
    select property_id, search_type, dataset, date, part, status, error, rows, clicks, impressions, duplicates_dropped,
      capped, final, versions, fetched_at
    from judged
    union all
    select e.property_id, e.search_type, e.dataset, e.date, 'searchAppearance=' || e.search_appearance,
      case when e.search_appearance is null then 'complete' else 'missing' end, null,
      case when e.search_appearance is null then 0 end, case when e.search_appearance is null then 0 end,
      case when e.search_appearance is null then 0 end, 0, false, true, 0, null
    from expected e
    where not exists (
      select from judged j
      where j.property_id = e.property_id and j.search_type = e.search_type and j.dataset = e.dataset and j.date = e.date
        and j.part = 'searchAppearance=' || e.search_appearance)
  ), known as (
    select property_id, search_type, dataset, date,
      case when bool_or(status = 'failed') then 'failed' when bool_or(status = 'open') then 'open'
        when bool_or(status = 'missing') then 'missing' else 'complete' end as status,
      (array_agg(error order by part) filter (where status = 'failed'))[1] as reason,
      sum(rows) as rows, sum(clicks) as clicks, sum(impressions) as impressions,
      coalesce(sum(duplicates_dropped), 0) as duplicates_dropped,
      bool_or(capped) as capped, bool_and(final) as final, max(versions) as versions, max(fetched_at) as fetched_at
    from parts
    group by property_id, search_type, dataset, date
  ), spans as (
    select k.property_id, k.search_type, k.dataset, min(k.date) as first, greatest(max(k.date), max(c.last_published)) as last
    from known k left join longtail.calendar c using (property_id, search_type)
    group by k.property_id, k.search_type, k.dataset
  ), days as (
    select s.property_id, s.search_type, s.dataset, day::date as date
    from spans s, generate_series(s.first::timestamp, s.last::timestamp, interval '1 day') as day
  )
  select p.site_url, d.search_type, d.dataset, d.date, coalesce(k.status, 'missing') as status, k.reason,
    k.rows::bigint as rows, k.clicks::bigint as clicks, k.impressions::bigint as impressions,
    t.clicks as total_clicks, t.impressions as total_impressions,
    case when t.clicks > 0 and k.clicks is not null and d.dataset not like '%searchAppearance%'
      then greatest(0, 1 - k.clicks::double precision / t.clicks) end as hidden_share,
    coalesce(k.capped, false) as capped, coalesce(k.duplicates_dropped, 0)::bigint as duplicates_dropped,
    coalesce(k.final, false) as final, coalesce(k.versions, 0)::int as versions, k.fetched_at
  from days d
  join longtail.property p on p.id = d.property_id
  left join known k using (property_id, search_type, dataset, date)
  left join longtail.day_total t using (property_id, search_type, date)`;

const TOTALS = `
  select p.site_url, d.search_type, d.date, d.clicks, d.impressions,
    case when d.impressions = 0 then 0 else d.clicks::double precision / d.impressions end as ctr,
    t.position,
    d.date < coalesce(c.first_incomplete, 'infinity') and d.date <= (now() at time zone 'America/Los_Angeles')::date - 3 as final,
    d.fetched_at
  from longtail.day_total d
  join longtail.property p on p.id = d.property_id
  left join longtail.calendar c using (property_id, search_type)
  left join lateral (
    select f.position
    from longtail.slice s join longtail.fact f on f.slice_id = s.id
    where s.property_id = d.property_id and s.search_type = d.search_type and s.dataset = 'date' and s.date = d.date
      and s.status = 'complete' and ${PLAIN('s')}
    limit 1
  ) t on true`;

const REVISIONS = `
  select p.site_url, s.search_type, s.dataset, s.date, s.part, s.filter_key as filter, s.aggregation_type as aggregation,
    s.version, s.status, s.fetched_at, s.rows, s.clicks, s.impressions, s.final, s.capped
  from longtail.slice s
  join longtail.property p on p.id = s.property_id
  where s.status in ('complete', 'superseded')`;

const LIFETIME = `
  select p.site_url, s.search_type, s.dataset, f.page, min(s.date) as first_seen, max(s.date) as last_seen,
    sum(f.clicks)::bigint as clicks, sum(f.impressions)::bigint as impressions,
    sum(f.position * f.impressions) / nullif(sum(f.impressions) filter (where f.position is not null), 0) as position
  from longtail.slice s
  join longtail.fact f on f.slice_id = s.id
  join longtail.property p on p.id = s.property_id
  where s.status = 'complete' and ${PLAIN('s')} and s.dataset in ('page', 'page+query')
    and (s.dataset = 'page' or not exists (
      select from longtail.slice o
      where o.property_id = s.property_id and o.search_type = s.search_type and o.dataset = 'page' and o.status = 'complete'
        and ${PLAIN('o')}))
  group by p.site_url, s.search_type, s.dataset, f.page`;

/** As the bulk export spells it. */
const SEARCH_TYPE = `case s.search_type when 'googleNews' then 'GOOGLE_NEWS' else upper(s.search_type) end`;
/** Zero-based, as the export has it: Google's averages are of whole numbers. */
const SUM_POSITION = 'round((f.position - 1) * f.impressions)::bigint';

/**
 * Of each day the slice with queries that has the most other dimensions (its name is the longest), and the slice with the same
 * dimensions without queries: the difference is what was anonymised.
 */
function exported(details: readonly string[], totalOf: string): string {
  const names = details.map((name) => `'${name}'`).join(', ');
  return `
  with detail as not materialized (
    select s.id, s.property_id, s.search_type, s.date, t.id as total_id
    from longtail.slice s
    left join longtail.slice t on t.property_id = s.property_id and t.search_type = s.search_type and t.date = s.date
      and t.dataset = ${totalOf} and t.status = 'complete' and ${PLAIN('t')} and t.part = ''
    where s.status = 'complete' and ${PLAIN('s')} and s.part = '' and s.dataset in (${names})
      and not exists (
        select from longtail.slice o
        where o.property_id = s.property_id and o.search_type = s.search_type and o.date = s.date and o.status = 'complete'
          and ${PLAIN('o')} and o.part = '' and o.dataset in (${names}) and length(o.dataset) > length(s.dataset))
  )`;
}

/** Types that have no queries: their slices without them are all there is. */
function withoutQueries(names: readonly string[]): string {
  const list = names.map((name) => `'${name}'`).join(', ');
  return `s.status = 'complete' and ${PLAIN('s')} and s.part = '' and s.search_type in ('discover', 'googleNews')
    and s.dataset in (${list})
    and not exists (
      select from longtail.slice o
      where o.property_id = s.property_id and o.search_type = s.search_type and o.date = s.date and o.status = 'complete'
        and ${PLAIN('o')} and o.part = '' and o.dataset in (${list}) and length(o.dataset) > length(s.dataset))`;
}

const SITE_IMPRESSION = `${exported(
  ['query+country+device', 'query+country', 'query+device', 'query'],
  `case s.dataset when 'query' then 'date' else replace(s.dataset, 'query+', '') end`,
)}
  select s.date as data_date, p.site_url, f.query, false as is_anonymized_query, f.country, ${SEARCH_TYPE} as search_type,
    f.device, f.impressions, f.clicks, ${SUM_POSITION} as sum_top_position
  from detail s join longtail.fact f on f.slice_id = s.id join longtail.property p on p.id = s.property_id
  union all
  select s.date, p.site_url, null, true, s.country, ${SEARCH_TYPE}, s.device, s.impressions, s.clicks, s.sum_top_position
  from (
    select s.property_id, s.search_type, s.date, s.country, s.device, greatest(0, sum(s.impressions))::bigint as impressions,
      greatest(0, sum(s.clicks))::bigint as clicks, sum(s.sum_top_position)::bigint as sum_top_position
    from (
      select s.property_id, s.search_type, s.date, f.country, f.device, f.impressions, f.clicks, ${SUM_POSITION} as sum_top_position
      from detail s join longtail.fact f on f.slice_id = s.total_id
      union all
      select s.property_id, s.search_type, s.date, null, null, d.impressions, d.clicks, null
      from detail s join longtail.day_total d
        on d.property_id = s.property_id and d.search_type = s.search_type and d.date = s.date
      where s.total_id is null
      union all
      select s.property_id, s.search_type, s.date, case when s.total_id is not null then f.country end,
        case when s.total_id is not null then f.device end, -f.impressions, -f.clicks,
        case when s.total_id is not null then -${SUM_POSITION} end
      from detail s join longtail.fact f on f.slice_id = s.id
    ) s
    group by s.property_id, s.search_type, s.date, s.country, s.device
    having sum(s.impressions) > 0 or sum(s.clicks) > 0
  ) s join longtail.property p on p.id = s.property_id
  union all
  select s.date, p.site_url, null, false, f.country, ${SEARCH_TYPE}, f.device, f.impressions, f.clicks, ${SUM_POSITION}
  from longtail.slice s join longtail.fact f on f.slice_id = s.id join longtail.property p on p.id = s.property_id
  where ${withoutQueries(['country+device', 'country', 'device', 'date'])}`;

/** Appearances in the export. The API gives none of them together with a query. */
const FLAGS = [
  'is_amp_top_stories',
  'is_amp_blue_link',
  'is_job_listing',
  'is_job_details',
  'is_tpf_qa',
  'is_tpf_faq',
  'is_tpf_howto',
  'is_weblite',
  'is_action',
  'is_events_listing',
  'is_events_details',
  'is_forums',
  'is_search_appearance_android_app',
  'is_amp_story',
  'is_amp_image_result',
  'is_video',
  'is_organic_shopping',
  'is_review_snippet',
  'is_special_announcement',
  'is_recipe_feature',
  'is_recipe_rich_snippet',
  'is_subscribed_content',
  'is_page_experience',
  'is_practice_problems',
  'is_math_solvers',
  'is_translated_result',
  'is_edu_q_and_a',
  'is_product_snippets',
  'is_merchant_listings',
  'is_learning_videos',
] as const;

const URL_IMPRESSION = `
  select u.data_date, u.site_url, u.url, u.query, u.is_anonymized_query, false as is_anonymized_discover, u.country,
    u.search_type, u.device,
    ${FLAGS.map((flag) => `null::boolean as ${flag}`).join(', ')},
    u.impressions, u.clicks, u.sum_position
  from (${exported(
    ['page+query+country+device', 'page+query+country', 'page+query+device', 'page+query'],
    `replace(s.dataset, '+query', '')`,
  )}
  select s.date as data_date, p.site_url, f.page as url, f.query, false as is_anonymized_query, f.country,
    ${SEARCH_TYPE} as search_type, f.device, f.impressions, f.clicks, ${SUM_POSITION} as sum_position
  from detail s join longtail.fact f on f.slice_id = s.id join longtail.property p on p.id = s.property_id
  union all
  select s.date, p.site_url, s.page, null, true, s.country, ${SEARCH_TYPE}, s.device, s.impressions, s.clicks, s.sum_position
  from (
    select s.property_id, s.search_type, s.date, s.page, s.country, s.device, greatest(0, sum(s.impressions))::bigint as impressions,
      greatest(0, sum(s.clicks))::bigint as clicks, sum(s.sum_position)::bigint as sum_position
    from (
      select s.property_id, s.search_type, s.date, f.page, f.country, f.device, f.impressions, f.clicks, ${SUM_POSITION} as sum_position
      from detail s join longtail.fact f on f.slice_id = s.total_id
      union all
      select s.property_id, s.search_type, s.date, f.page, f.country, f.device, -f.impressions, -f.clicks, -${SUM_POSITION}
      from detail s join longtail.fact f on f.slice_id = s.id
      where s.total_id is not null
    ) s
    group by s.property_id, s.search_type, s.date, s.page, s.country, s.device
    having sum(s.impressions) > 0 or sum(s.clicks) > 0
  ) s join longtail.property p on p.id = s.property_id
  union all
  select s.date, p.site_url, f.page, null, false, f.country, ${SEARCH_TYPE}, f.device, f.impressions, f.clicks, ${SUM_POSITION}
  from longtail.slice s join longtail.fact f on f.slice_id = s.id join longtail.property p on p.id = s.property_id
  where ${withoutQueries(['page+country', 'page'])}
  ) u`;

/** In the order in which they are made. */
export const VIEWS: readonly ViewDefinition[] = [
  {
    name: 'search_coverage',
    body: COVERAGE,
    comment:
      'Each day of each dataset, and how much of the truth it is: complete, open, failed or missing, and the share of the clicks that its rows lack.',
    columns: {
      status:
        'complete: all that Google gives is here; open: begun; failed: the newest attempt failed, an older version may be readable; missing: never fetched',
      reason: 'Why it failed',
      rows: 'Readable rows; null where nothing is complete',
      total_clicks: 'Clicks of the whole day, as Google counts them by property',
      hidden_share:
        '1 - clicks / total_clicks, 0 to 1: rare queries that Google withholds, and rows beyond its limit. Null where the day has no clicks, and for search appearances, which overlap',
      capped: 'The day has as many rows as Google gives at most: there were more',
      duplicates_dropped: 'Rows whose key was there already, left out',
      final: 'Google no longer changes the day',
      versions: 'How often the day was fetched whole',
    },
  },
  {
    name: 'search_totals',
    body: TOTALS,
    comment:
      'The totals of each day by search type, as Search Console shows them: nothing is hidden in them.',
    columns: {
      position: 'Null unless the dataset date is fetched',
      final: 'Google no longer changes the day',
    },
  },
  {
    name: 'search_revisions',
    body: REVISIONS,
    comment:
      'Each version of a day that was ever whole, with its sums. Rows of superseded versions are deleted; their sums stay.',
    columns: { status: 'complete: the version that is readable; superseded: an older one' },
  },
  {
    name: 'search_page_lifetime',
    body: LIFETIME,
    comment:
      'First and last day and sums of each page, from the dataset page, or from page+query where there is no dataset page. Quick for one page with an index on it (longtail index --page).',
    columns: { position: 'Average position weighted by impressions' },
  },
  {
    name: 'searchdata_site_impression',
    body: SITE_IMPRESSION,
    comment:
      'The columns of the table of that name in Search Console’s bulk export, from the datasets with queries. Anonymised rows are derived: the totals less the rows that have a query.',
    columns: {
      is_anonymized_query: 'True: derived, what the day’s totals have beyond its rows with a query',
      sum_top_position: 'Zero-based: sum / impressions + 1 is the average position',
    },
  },
  {
    name: 'searchdata_url_impression',
    body: URL_IMPRESSION,
    comment:
      'The columns of the table of that name in Search Console’s bulk export, from the datasets with page and query. Anonymised rows are derived: a page’s totals less its rows that have a query. The flags of appearances are null: the API does not give them for a query.',
    columns: {
      is_anonymized_query: 'True: derived, what the page’s totals have beyond its rows with a query',
      sum_position: 'Zero-based: sum / impressions + 1 is the average position',
    },
  },
];
