import type { Sql } from 'postgres';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '../../support/postgres.ts';

const SITE = 'sc-domain:example.com';

let database: TestDatabase;
let sql: Sql;

beforeEach(async () => {
  database = await testDatabase();
  ({ sql } = database);
  await sql`insert into longtail.property (site_url, epoch) values (${SITE}, 1)`;
  await sql`insert into longtail.run (property_id, epoch, status, from_date, to_date, parameters, force)
    values (1, 1, 'complete', '2026-01-01', '2026-01-31', '{}', false)`;
});
afterEach(() => database.close());

interface Row {
  readonly page?: string;
  readonly query?: string;
  readonly country?: string;
  readonly device?: string;
  readonly searchAppearance?: string;
  readonly clicks: number;
  readonly impressions: number;
  readonly position?: number;
}

interface SliceRow {
  readonly dataset: string;
  readonly date: string;
  readonly type?: string;
  readonly status?: string;
  readonly version?: number;
  readonly part?: string;
  readonly filter?: string;
  readonly capped?: boolean;
  readonly final?: boolean;
  readonly dropped?: number;
  readonly error?: string;
  /** Its facts, whose sums become its sums. */
  readonly rows?: readonly Row[];
}

/** A slice with its rows, and the sums that sealing gives it. */
async function slice(one: SliceRow): Promise<void> {
  const { rows = [], status = 'complete', final = true } = one;
  const isSealed = status === 'complete' || status === 'superseded';
  const sum = (of: (row: Row) => number): number => rows.reduce((total, row) => total + of(row), 0);
  const [made] = await sql<{ id: string }[]>`
    insert into longtail.slice (property_id, search_type, dataset, date, part, filter_key, version, status, rows, clicks,
      impressions, capped, final, data_state, duplicates_dropped, error, fetched_at, run_id)
    values (1, ${one.type ?? 'web'}, ${one.dataset}, ${one.date}, ${one.part ?? ''}, ${one.filter ?? ''}, ${one.version ?? 1},
      ${status}, ${rows.length}, ${sum(({ clicks }) => clicks)}, ${sum(({ impressions }) => impressions)},
      ${one.capped ?? false}, ${final}, ${final ? 'final' : 'all'}, ${one.dropped ?? 0}, ${one.error ?? null},
      ${isSealed ? '2026-02-01T00:00:00Z' : null}, 1)
    returning id::text as id`;
  for (const row of rows) {
    await sql`insert into longtail.fact (slice_id, page, query, country, device, search_appearance, clicks, impressions, position)
      values (${made?.id ?? '0'}, ${row.page ?? null}, ${row.query ?? null}, ${row.country ?? null}, ${row.device ?? null},
        ${row.searchAppearance ?? null}, ${row.clicks}, ${row.impressions}, ${row.position ?? null})`;
  }
}

async function totals(date: string, clicks: number, impressions: number, type = 'web'): Promise<void> {
  await sql`insert into longtail.day_total values (1, ${type}, ${date}, ${clicks}, ${impressions}, now())`;
}

async function calendar(lastPublished: string, firstIncomplete: string | null, type = 'web'): Promise<void> {
  await sql`insert into longtail.calendar values (1, ${type}, '2026-01-01', '2026-01-31', ${lastPublished}, ${firstIncomplete}, now())`;
}

describe('search_coverage', () => {
  const coverage = () => sql`
    select dataset, date::text, status, reason, rows::int, clicks::int, impressions::int, total_clicks::int, hidden_share, capped,
      duplicates_dropped::int as dropped, final, versions
    from search_coverage order by dataset, date`;

  test('a property with hidden queries, a capped, a failed, a late and a fresh day', async () => {
    const rows = [
      { page: 'a', query: 'x', clicks: 6, impressions: 60 },
      { page: 'a', query: 'y', clicks: 1, impressions: 40 },
    ];
    const dataset = 'page+query';
    await slice({ dataset, date: '2026-01-02', rows, dropped: 3 });
    await slice({ dataset, date: '2026-01-03', rows, capped: true });
    await slice({ dataset, date: '2026-01-04', status: 'failed', error: 'Google says 500' });
    await slice({ dataset, date: '2026-01-05', rows, version: 1 });
    await slice({ dataset, date: '2026-01-05', status: 'failed', version: 2, error: 'shrunk' });
    await slice({ dataset, date: '2026-01-07', status: 'superseded', rows, final: false });
    await slice({ dataset, date: '2026-01-07', version: 2, rows, final: false });
    await slice({ dataset, date: '2026-01-08' });
    for (const day of [2, 3, 4, 5, 6, 7]) await totals(`2026-01-0${day}`, 10, 200);
    await calendar('2026-01-09', '2026-01-07');
    const whole = { dataset, reason: null, rows: 2, clicks: 7, impressions: 100, total_clicks: 10 };
    const none = { dataset, rows: null, clicks: null, impressions: null, hidden_share: null };
    const plain = { capped: false, dropped: 0, final: true, versions: 1 };
    const hidden_share = expect.closeTo(0.3, 9);
    expect([...(await coverage())]).toEqual([
      { ...whole, ...plain, date: '2026-01-02', status: 'complete', hidden_share, dropped: 3 },
      { ...whole, ...plain, date: '2026-01-03', status: 'complete', hidden_share, capped: true },
      {
        ...{ ...none, ...plain, date: '2026-01-04', status: 'failed', reason: 'Google says 500' },
        ...{ total_clicks: 10, final: false, versions: 0 },
      },
      // What was there before can still be read.
      { ...whole, ...plain, date: '2026-01-05', status: 'failed', reason: 'shrunk', hidden_share },
      {
        ...{ ...none, ...plain, date: '2026-01-06', status: 'missing', reason: null },
        ...{ total_clicks: 10, final: false, versions: 0 },
      },
      { ...whole, ...plain, date: '2026-01-07', status: 'complete', hidden_share, final: false, versions: 2 },
      // Nobody came: nothing is hidden of it.
      {
        ...{ ...none, ...plain, date: '2026-01-08', status: 'complete', reason: null },
        ...{ rows: 0, clicks: 0, impressions: 0, total_clicks: null },
      },
      {
        ...{ ...none, ...plain, date: '2026-01-09', status: 'missing', reason: null },
        ...{ total_clicks: null, final: false, versions: 0 },
      },
    ]);
  });

  test('a dataset of two steps is as complete as the search appearances of the day', async () => {
    const appearances = (...names: string[]) =>
      names.map((searchAppearance) => ({ searchAppearance, clicks: 1, impressions: 2 }));
    const dataset = 'page+searchAppearance';
    const rows = [{ page: 'a', clicks: 1, impressions: 2 }];
    const part = (name: string) => `searchAppearance=${name}`;
    await sql.unsafe('drop index longtail.slice_version, longtail.slice_one_complete');
    await slice({ dataset: 'searchAppearance', date: '2026-01-01', rows: appearances('AMP', 'VIDEO') });
    await slice({ dataset, date: '2026-01-01', part: part('AMP'), rows });
    await slice({ dataset, date: '2026-01-01', part: part('VIDEO'), rows });
    await slice({ dataset: 'searchAppearance', date: '2026-01-02', rows: appearances('AMP', 'VIDEO') });
    await slice({ dataset, date: '2026-01-02', part: part('AMP'), rows });
    await slice({ dataset: 'searchAppearance', date: '2026-01-03' });
    await slice({ dataset: 'searchAppearance', date: '2026-01-04', rows: appearances('AMP', 'VIDEO') });
    await slice({ dataset, date: '2026-01-04', part: part('AMP'), rows });
    await slice({ dataset, date: '2026-01-04', part: part('VIDEO'), status: 'failed', error: 'no' });
    const found = await sql`
      select date::text, status, rows::int, reason from search_coverage where dataset = ${dataset} order by date`;
    expect([...found]).toEqual([
      { date: '2026-01-01', status: 'complete', rows: 2, reason: null },
      { date: '2026-01-02', status: 'missing', rows: 1, reason: null },
      { date: '2026-01-03', status: 'complete', rows: 0, reason: null },
      { date: '2026-01-04', status: 'failed', rows: 1, reason: 'no' },
    ]);
  });

  test('filtered slices are no part of it', async () => {
    await slice({ dataset: 'page', date: '2026-01-01', filter: 'page includes /blog/', rows: [] });
    expect(await coverage()).toHaveLength(0);
  });
});

describe('search_totals and search_revisions', () => {
  test('totals have the position where the dataset date is fetched', async () => {
    await totals('2026-01-01', 5, 50);
    await totals('2026-01-02', 6, 60);
    await calendar('2026-01-02', '2026-01-02');
    await slice({
      dataset: 'date',
      date: '2026-01-01',
      rows: [{ clicks: 5, impressions: 50, position: 2.5 }],
    });
    const found = await sql`
      select date::text, clicks::int, impressions::int, ctr, position, final from search_totals order by date`;
    expect([...found]).toEqual([
      { date: '2026-01-01', clicks: 5, impressions: 50, ctr: 0.1, position: 2.5, final: true },
      { date: '2026-01-02', clicks: 6, impressions: 60, ctr: 0.1, position: null, final: false },
    ]);
  });

  test('revisions keep the sums of versions whose rows are gone', async () => {
    const rows = [{ page: 'a', clicks: 4, impressions: 8 }];
    await slice({ dataset: 'page', date: '2026-01-01', status: 'superseded', final: false, rows });
    await slice({ dataset: 'page', date: '2026-01-01', version: 2, rows: [...rows, ...rows] });
    await slice({ dataset: 'page', date: '2026-01-01', version: 3, status: 'failed', error: 'no' });
    await sql`delete from longtail.fact where slice_id = 1`;
    const found = await sql`
      select version, status, rows::int, clicks::int, impressions::int, final from search_revisions order by version`;
    expect([...found]).toEqual([
      { version: 1, status: 'superseded', rows: 1, clicks: 4, impressions: 8, final: false },
      { version: 2, status: 'complete', rows: 2, clicks: 8, impressions: 16, final: true },
    ]);
  });
});

describe('search_page_lifetime', () => {
  test('first and last day and sums, from the dataset page alone where there is one', async () => {
    const of = (clicks: number, position: number) => [{ page: 'a', clicks, impressions: 10, position }];
    await slice({ dataset: 'page', date: '2026-01-01', rows: of(1, 1) });
    await slice({ dataset: 'page', date: '2026-01-05', rows: of(2, 2) });
    await slice({ dataset: 'page+query', date: '2026-01-09', rows: of(4, 4) });
    await slice({ dataset: 'page+query', date: '2026-01-02', type: 'image', rows: of(8, 4) });
    const found = await sql`
      select search_type, dataset, page, first_seen::text, last_seen::text, clicks::int, impressions::int, position
      from search_page_lifetime order by search_type desc`;
    expect([...found]).toEqual([
      {
        ...{
          search_type: 'web',
          dataset: 'page',
          page: 'a',
          first_seen: '2026-01-01',
          last_seen: '2026-01-05',
        },
        ...{ clicks: 3, impressions: 20, position: 1.5 },
      },
      {
        ...{ search_type: 'image', dataset: 'page+query', page: 'a' },
        ...{ first_seen: '2026-01-02', last_seen: '2026-01-02', clicks: 8, impressions: 10, position: 4 },
      },
    ]);
  });
});

describe('the bulk export’s tables', () => {
  const date = '2026-01-01';
  const site = () => sql`
    select data_date::text, site_url, query, is_anonymized_query as anonymized, country, search_type, device,
      impressions::int, clicks::int, sum_top_position::int as sum
    from searchdata_site_impression order by search_type desc, query nulls last, country, device`;

  test('by site: details from the widest dataset, what is anonymised from the totals of the same dimensions', async () => {
    await slice({
      ...{ dataset: 'query+country+device', date },
      rows: [
        { query: 'x', country: 'deu', device: 'MOBILE', clicks: 2, impressions: 10, position: 3.5 },
        { query: 'y', country: 'fra', device: 'MOBILE', clicks: 0, impressions: 3, position: 1 },
      ],
    });
    await slice({ dataset: 'query', date, rows: [{ query: 'x', clicks: 9, impressions: 90, position: 1 }] });
    await slice({
      ...{ dataset: 'country+device', date },
      rows: [
        { country: 'deu', device: 'MOBILE', clicks: 5, impressions: 20, position: 3 },
        { country: 'fra', device: 'MOBILE', clicks: 0, impressions: 3, position: 1 },
      ],
    });
    const day = { data_date: date, site_url: SITE, search_type: 'WEB', device: 'MOBILE' };
    expect([...(await site())]).toEqual([
      {
        ...{ ...day, query: 'x', anonymized: false, country: 'deu', impressions: 10, clicks: 2 },
        sum: 25,
      },
      { ...day, query: 'y', anonymized: false, country: 'fra', impressions: 3, clicks: 0, sum: 0 },
      // 20 impressions at position 3 are a zero-based sum of 40, of which 25 have a query.
      {
        ...{ ...day, query: null, anonymized: true, country: 'deu', impressions: 10, clicks: 3 },
        sum: 15,
      },
    ]);
  });

  test('by site: without totals of the same dimensions, the day’s totals, without country and device', async () => {
    await slice({
      ...{ dataset: 'query+country', date },
      rows: [{ query: 'x', country: 'deu', clicks: 2, impressions: 10, position: 1 }],
    });
    await totals(date, 7, 30);
    await slice({
      ...{ dataset: 'page', date, type: 'discover' },
      rows: [{ page: 'a', clicks: 1, impressions: 2 }],
    });
    await slice({
      ...{ dataset: 'country', date, type: 'googleNews' },
      rows: [{ country: 'deu', clicks: 1, impressions: 2 }],
    });
    const day = { data_date: date, site_url: SITE, device: null };
    expect([...(await site())]).toEqual([
      {
        ...{ ...day, search_type: 'WEB', query: 'x', anonymized: false, country: 'deu' },
        ...{ impressions: 10, clicks: 2, sum: 0 },
      },
      {
        ...{ ...day, search_type: 'WEB', query: null, anonymized: true, country: null },
        ...{ impressions: 20, clicks: 5, sum: null },
      },
      {
        ...{ ...day, search_type: 'GOOGLE_NEWS', query: null, anonymized: false, country: 'deu' },
        ...{ impressions: 2, clicks: 1, sum: null },
      },
    ]);
  });

  test('by URL: what a page has beyond its rows with a query is anonymised', async () => {
    await slice({
      ...{ dataset: 'page+query', date },
      rows: [
        { page: 'a', query: 'x', clicks: 2, impressions: 10, position: 2 },
        { page: 'a', query: 'y', clicks: 1, impressions: 5, position: 3 },
      ],
    });
    await slice({
      ...{ dataset: 'page', date },
      rows: [
        { page: 'a', clicks: 4, impressions: 25, position: 2.2 },
        { page: 'b', clicks: 1, impressions: 1, position: 1 },
      ],
    });
    await slice({
      ...{ dataset: 'page', date, type: 'discover' },
      rows: [{ page: 'a', clicks: 3, impressions: 4 }],
    });
    const found = await sql`
      select url, query, is_anonymized_query as anonymized, is_anonymized_discover, search_type, impressions::int,
        clicks::int, sum_position::int as sum, is_video
      from searchdata_url_impression order by search_type desc, url, query nulls last`;
    const row = { is_anonymized_discover: false, search_type: 'WEB', is_video: null };
    expect([...found]).toEqual([
      { ...row, url: 'a', query: 'x', anonymized: false, impressions: 10, clicks: 2, sum: 10 },
      { ...row, url: 'a', query: 'y', anonymized: false, impressions: 5, clicks: 1, sum: 10 },
      { ...row, url: 'a', query: null, anonymized: true, impressions: 10, clicks: 1, sum: 10 },
      { ...row, url: 'b', query: null, anonymized: true, impressions: 1, clicks: 1, sum: 0 },
      {
        ...{ ...row, search_type: 'DISCOVER', url: 'a', query: null, anonymized: false },
        ...{ impressions: 4, clicks: 3, sum: null },
      },
    ]);
  });

  test('sums over a day are the totals of the property', async () => {
    await slice({
      ...{ dataset: 'query', date },
      rows: [{ query: 'x', clicks: 2, impressions: 10, position: 1.5 }],
    });
    await totals(date, 9, 100);
    const [sums] = await sql`
      select sum(clicks)::int as clicks, sum(impressions)::int as impressions from searchdata_site_impression`;
    expect(sums).toEqual({ clicks: 9, impressions: 100 });
  });
});
