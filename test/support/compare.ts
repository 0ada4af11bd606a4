import { createHash } from 'node:crypto';
import type { Sql } from 'postgres';
import { factsOf, whyNotServed } from '../../src/domain/dataset.ts';
import type { Dataset, Day, SearchType } from '../../src/domain/slice.ts';
import type { AnswerRow, Emulator, Served } from '../../src/emulator/index.ts';

/** Which slices are compared: all that the lists span. */
export interface Compared {
  readonly siteUrl: string;
  readonly searchTypes: readonly SearchType[];
  readonly datasets: readonly Dataset[];
  readonly days: readonly Day[];
}

/** What one slice holds, whatever the order of its rows. */
export interface SliceDigest {
  readonly rows: number;
  readonly clicks: number;
  readonly impressions: number;
  /** Of every row's keys, clicks, impressions and position. */
  readonly hash: string;
}

const EMPTY: SliceDigest = { rows: 0, clicks: 0, impressions: 0, hash: createHash('md5').digest('hex') };

const nameOf = (searchType: string, dataset: string, date: string): string =>
  `${searchType} ${dataset} ${date}`;

/** Every slice that the public view shows rows of, by `type dataset date`. One statement: one moment. */
export async function tableDigests(sql: Sql, siteUrl: string): Promise<Map<string, SliceDigest>> {
  const rows = await sql<(SliceDigest & { searchType: string; dataset: string; date: string })[]>`
    select search_type as "searchType", dataset, date::text as date, count(*)::int as rows,
      sum(clicks)::float8 as clicks, sum(impressions)::float8 as impressions,
      md5(string_agg(line, E'\n' order by line collate "C")) as hash
    from (
      select search_type, dataset, date, clicks, impressions, concat_ws(E'\x1f', page, query, country, device,
        search_appearance, extract(epoch from hour)::bigint, clicks, impressions, coalesce(position::text, '-')) as line
      from search_analytics where site_url = ${siteUrl}
    ) lines group by search_type, dataset, date`;
  return new Map(
    rows.map(({ searchType, dataset, date, ...digest }) => [nameOf(searchType, dataset, date), digest]),
  );
}

/** The same of what the emulator serves for the slice, over all its pages. */
export async function servedDigest(
  emulator: Emulator,
  slice: { siteUrl: string; searchType: SearchType; dataset: Dataset; date: Day },
): Promise<SliceDigest> {
  const { totals, rows } = await servedRows(emulator, slice);
  const lines = rows.map((row) => Buffer.from(lineOf(row), 'utf8')).sort(Buffer.compare);
  const hash = createHash('md5');
  for (const [index, line] of lines.entries()) hash.update(index > 0 ? '\n' : '').update(line);
  return { ...totals, hash: hash.digest('hex') };
}

/** A dataset of two steps as Google's documentation says how to get it: a question for each search appearance of the day. */
export async function servedRows(
  emulator: Emulator,
  slice: { siteUrl: string; searchType: SearchType; dataset: Dataset; date: Day },
): Promise<Served> {
  const { dimensions, dataState, firstStep } = factsOf(slice.dataset);
  const ask = (grouped: readonly string[], filters: readonly object[] = []): Promise<Served> =>
    emulator.served(slice.siteUrl, {
      startDate: slice.date,
      endDate: slice.date,
      dimensions: grouped,
      type: slice.searchType,
      dataState,
      dimensionFilterGroups: [{ filters }],
    });
  if (firstStep === null) return withInstants(await ask(dimensions), dimensions);
  const values = await emulator.served(slice.siteUrl, {
    startDate: slice.date,
    endDate: slice.date,
    dimensions: ['searchAppearance'],
    type: slice.searchType,
    dataState: 'all',
  });
  const grouped = dimensions.filter((dimension) => dimension !== 'searchAppearance');
  const rows: AnswerRow[] = [];
  for (const value of values.rows.map(({ keys }) => keys[0] ?? '')) {
    const filter = { dimension: 'searchAppearance', operator: 'equals', expression: value };
    const part = await ask(grouped, [filter]);
    const place = dimensions.indexOf('searchAppearance');
    rows.push(...part.rows.map((row) => ({ ...row, keys: row.keys.toSpliced(place, 0, value) })));
  }
  const sum = (of: (row: AnswerRow) => number): number => rows.reduce((total, row) => total + of(row), 0);
  const totals = {
    rows: rows.length,
    clicks: sum((row) => row.clicks),
    impressions: sum((row) => row.impressions),
  };
  return withInstants({ rows, totals }, dimensions);
}

/** Hours as seconds since 1970: the table keeps instants. */
function withInstants({ rows, totals }: Served, dimensions: readonly string[]): Served {
  const place = dimensions.indexOf('hour');
  if (place === -1) return { rows, totals };
  return {
    totals,
    rows: rows.map((row) => ({
      ...row,
      keys: row.keys.with(place, String(Date.parse(row.keys[place] ?? '') / 1_000)),
    })),
  };
}

/** As {@link tableDigests} writes a row. PostgreSQL cannot store U+0000: U+FFFD stands for it. */
export function lineOf({ keys, clicks, impressions, position }: AnswerRow): string {
  const stored = keys.map((key) => key.replaceAll('\u0000', '\ufffd'));
  return [...stored, clicks, impressions, position ?? '-'].join('\u001f');
}

/**
 * How the table differs from what the emulator serves, one line a slice; an empty list when it does not. A slice in the
 * table that was not asked for is a difference, too.
 */
export async function differences(
  sql: Sql,
  emulator: Emulator,
  { siteUrl, searchTypes, datasets, days }: Compared,
): Promise<string[]> {
  const held = await tableDigests(sql, siteUrl);
  const found: string[] = [];
  for (const date of days) {
    for (const searchType of searchTypes) {
      for (const dataset of datasets) {
        if (whyNotServed(searchType, dataset) !== undefined) continue;
        const name = nameOf(searchType, dataset, date);
        const served = await servedDigest(emulator, { siteUrl, searchType, dataset, date });
        const stored = held.get(name) ?? EMPTY;
        held.delete(name);
        if (JSON.stringify(sorted(served)) !== JSON.stringify(sorted(stored))) {
          found.push(`${name}: served ${describe(served)}, stored ${describe(stored)}`);
        }
      }
    }
  }
  return [
    ...found,
    ...[...held].map(([name, digest]) => `${name}: not asked for, stored ${describe(digest)}`),
  ];
}

const sorted = ({ rows, clicks, impressions, hash }: SliceDigest): readonly unknown[] => [
  rows,
  clicks,
  impressions,
  hash,
];

const describe = ({ rows, clicks, impressions, hash }: SliceDigest): string =>
  `${rows} rows, ${clicks} clicks, ${impressions} impressions, ${hash.slice(0, 8)}`;
