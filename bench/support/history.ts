/** A property's history, made by SQL alone: the questions are about reading, not about how the rows came. */
import type { Sql } from 'postgres';

export interface History {
  readonly days: number;
  readonly rows: number;
}

export const HISTORY_SITE = 'sc-domain:example.com';
/** A page that has rows on each day, somewhere among the others. */
export const HISTORY_PAGE =
  'https://www.example.com/brands/other/article-00000077-how-to-choose-the-right-one';

/** Rows of one day by dataset, at the whole size: 100,254 in all. */
const ROWS_OF_A_DAY: Readonly<Record<string, number>> = {
  'page+query': 50_000,
  query: 30_000,
  page: 20_000,
  country: 250,
  device: 3,
  date: 1,
};
const DAYS = 100;

/**
 * Fills the migrated database at `sql` with the newest days that Google calls final: 10 million rows in six datasets at
 * scale 1. Newest day first, a slice after the other, as a synchronisation writes them. The same rows each time.
 */
export async function makeHistory(sql: Sql, scale: number): Promise<History> {
  const counts = {
    pages: Math.max(400, Math.round(40_000 * scale)),
    queries: Math.max(4_000, Math.round(400_000 * scale)),
  };
  await sql.unsafe(`
    select setseed(0.25);
    insert into longtail.property (site_url, epoch) values ('${HISTORY_SITE}', 1);
    insert into longtail.run (property_id, epoch, status, from_date, to_date, parameters, force)
      values (1, 1, 'complete', current_date - ${DAYS + 2}, current_date - 3, '{}', false)`);
  let rows = 0;
  for (let age = 3; age < DAYS + 3; age += 1) {
    for (const [dataset, full] of Object.entries(ROWS_OF_A_DAY)) {
      const count = full <= 250 ? full : Math.max(10, Math.round(full * scale));
      await sql.unsafe(daySql(dataset, age, count, counts));
      rows += count;
    }
  }
  await sql.unsafe(`
    update longtail.slice s set rows = f.rows, clicks = f.clicks, impressions = f.impressions
      from (select slice_id, count(*) as rows, sum(clicks) as clicks, sum(impressions) as impressions
        from longtail.fact group by slice_id) f where f.slice_id = s.id;
    insert into longtail.day_total (property_id, search_type, date, clicks, impressions, fetched_at)
      select property_id, search_type, date, clicks * 2, impressions * 2, now() from longtail.slice where dataset = 'page';
    insert into longtail.calendar (property_id, search_type, from_date, to_date, last_published, first_incomplete, fetched_at)
      values (1, 'web', current_date - ${DAYS + 2}, current_date - 1, current_date - 3, current_date - 2, now())`);
  // Not within a transaction. As autovacuum does it in time.
  await sql.unsafe('vacuum analyze longtail.fact');
  await sql.unsafe('vacuum analyze longtail.slice');
  await sql.unsafe('analyze longtail.property');
  return { days: DAYS, rows };
}

/**
 * One slice and its rows. Ranks are popularity: the first two thirds of the pages and queries are there each day, the rest
 * changes. Multipliers that share no factor with the counts make each key of a day different.
 */
function daySql(
  dataset: string,
  age: number,
  count: number,
  { pages, queries }: { readonly pages: number; readonly queries: number },
): string {
  const often = Math.floor((count * 2) / 3);
  const known = (all: number): string =>
    `case when i < ${often} then i else ${often} + ((i - ${often}) * 13 + ${age * 9_973}) % ${Math.max(1, all - often)} end`;
  const columns: Readonly<Record<string, string>> = {
    'page+query': `${pageText(`floor(power(((i::bigint * 48271 + ${age}) % 65537)::float8 / 65537, 3) * ${pages})::int`)},
      ${queryText(`((i::bigint * 7919 + ${age * 31}) % ${queries})::int`)}, null, null`,
    query: `null, ${queryText(known(queries))}, null, null`,
    page: `${pageText(known(pages))}, null, null, null`,
    country: `null, null, 'c' || lpad(i::text, 2, '0'), null`,
    device: `null, null, null, (array['DESKTOP', 'MOBILE', 'TABLET'])[1 + i]`,
    date: 'null, null, null, null',
  };
  return `
    with made as (
      insert into longtail.slice (property_id, search_type, dataset, date, version, status, final, data_state, capped, fetched_at, run_id)
      values (1, 'web', '${dataset}', current_date - ${age}, 1, 'complete', true, 'final', ${count >= 50_000}, now(), 1)
      returning id
    )
    insert into longtail.fact (slice_id, page, query, country, device, clicks, impressions, position)
    select id, ${columns[dataset]}, clicks, clicks * 9 + 1 + (i * 31) % 60, 1 + ((i * 17 + ${age}) % 290) / 10.0
    from made, lateral (
      select i, floor(600 / power(i + 1, 0.7) * (0.75 + random() / 2))::bigint as clicks
      from generate_series(0, ${count} - 1) as i
    ) ranked`;
}

const pageText = (id: string): string =>
  `(select 'https://www.example.com/' || (array['brands/acme', 'brands/other', 'guides', 'shop/shoes'])[1 + id % 4]
    || '/article-' || lpad(id::text, 8, '0') || '-how-to-choose-the-right-one' from (select ${id} as id) p)`;
const queryText = (id: string): string =>
  `(select (array['shoes ', 'best trail ', 'acme ', 'how to clean ', 'red ', 'cheap running ', 'size of ', 'repair '])[1 + id % 8]
    || substr(md5(id::text), 1, 6) || ' number ' || id from (select ${id} as id) q)`;
