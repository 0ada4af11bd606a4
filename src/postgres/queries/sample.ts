import type { Sql } from 'postgres';
import { COLUMN_OF } from '../../domain/dataset.ts';
import { FILTER_DIMENSIONS, type FilterDimension } from '../../domain/filter.ts';
import { type DrawnKey, filtersOf } from '../../domain/row-check.ts';
import type { Dataset, Day, SearchType } from '../../domain/slice.ts';
import type { AbsentDraw, RowDraw, SampleSlice } from '../../planning/sample.ts';

/** What a verification may draw from. */
export interface SampleScope {
  readonly siteUrl: string;
  readonly from: Day;
  readonly to: Day;
  /** Null: every one that the table has. */
  readonly dataset: Dataset | null;
  readonly searchType: SearchType | null;
}

/** An order of a slice's rows that depends on the seed and their keys alone, not on where they are stored. */
const orderOf = (alias: string): string =>
  `hashtextextended(concat_ws(chr(31), ${FILTER_DIMENSIONS.map(
    (dimension) => `${alias}.${COLUMN_OF[dimension]}`,
  ).join(', ')}), $2::text::bigint)`;

const FIGURES = (alias: string): string =>
  `${alias}.clicks::float8 as "clicks", ${alias}.impressions::float8 as "impressions", ${alias}.position as "position"`;

type KeyRow = Readonly<Partial<Record<FilterDimension, string | null>>>;

interface FigureRow {
  readonly clicks: number;
  readonly impressions: number;
  readonly position: number | null;
}

type FactRow = KeyRow & FigureRow;

const keyColumns = (alias: string): string =>
  FILTER_DIMENSIONS.map((dimension) => `${alias}.${COLUMN_OF[dimension]} as "${dimension}"`).join(', ');

/**
 * The complete and final days of a scope, oldest first. Days with filters of the user's own are not among them, nor are
 * days by hour: Google has no filter for an hour.
 */
export async function readSampleSlices(sql: Sql, scope: SampleScope): Promise<SampleSlice[]> {
  return await sql<SampleSlice[]>`
    select s.id::text as "id", s.search_type as "searchType", s.dataset as "dataset", s.date::text as "date",
      s.part as "part", s.version as "version", to_char(s.fetched_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as "fetchedAt",
      s.rows::float8 as "rows", s.capped as "capped", s.replaced_characters as "replacedCharacters"
    from longtail.slice s join longtail.property p on p.id = s.property_id
    where p.site_url = ${scope.siteUrl}::text and s.status = 'complete' and s.final
      and s.filter_key = '' and s.aggregation_type = '' and not ('hour' = any(string_to_array(s.dataset, '+')))
      and s.date between ${scope.from}::text::date and ${scope.to}::text::date
      and (${scope.dataset}::text is null or s.dataset = ${scope.dataset}::text)
      and (${scope.searchType}::text is null or s.search_type = ${scope.searchType}::text)
    order by s.date, s.search_type, s.dataset, s.id`;
}

/** How many complete days of the scope are older than `oldest`, so that Google no longer has them. */
export async function countOlderDays(
  sql: Sql,
  scope: Omit<SampleScope, 'from' | 'to'>,
  oldest: Day,
): Promise<number> {
  const [counted] = await sql<{ days: number }[]>`
    select count(distinct s.date)::int as "days"
    from longtail.slice s join longtail.property p on p.id = s.property_id
    where p.site_url = ${scope.siteUrl}::text and s.status = 'complete' and s.final
      and s.filter_key = '' and s.aggregation_type = '' and not ('hour' = any(string_to_array(s.dataset, '+')))
      and s.date < ${oldest}::text::date
      and (${scope.dataset}::text is null or s.dataset = ${scope.dataset}::text)
      and (${scope.searchType}::text is null or s.search_type = ${scope.searchType}::text)`;
  return counted?.days ?? 0;
}

/** The drawn rows of one slice. Reads that slice alone. */
export async function readDrawnRows(sql: Sql, { slice, count }: RowDraw, seed: number): Promise<DrawnKey[]> {
  const rows = await sql.unsafe<FactRow[]>(
    `select ${keyColumns('f')}, ${FIGURES('f')}
    from longtail.fact f where f.slice_id = $1::text::bigint
    order by ${orderOf('f')}, f.ctid limit $3::text::int`,
    [slice.id, String(seed), String(count)],
  );
  return rows.map((row) => {
    const { clicks, impressions, position } = row;
    return { slice, keys: keysIn(row, slice.dataset), table: { clicks, impressions, position } };
  });
}

/**
 * A key that the donor has and the slice does not; undefined if there is none. `turn` tells apart draws from one donor.
 */
export async function readAbsentKey(
  sql: Sql,
  { slice, donor }: AbsentDraw,
  seed: number,
  turn: number,
): Promise<DrawnKey | undefined> {
  const isSameKey = filtersOf(slice.dataset)
    .map((dimension) => `t.${COLUMN_OF[dimension]} = d.${COLUMN_OF[dimension]}`)
    .join(' and ');
  const rows = await sql.unsafe<FactRow[]>(
    `select ${keyColumns('d')}, ${FIGURES('d')}
    from longtail.fact d
    where d.slice_id = $1::text::bigint
      and not exists (select from longtail.fact t where t.slice_id = $3::text::bigint and ${isSameKey})
    order by ${orderOf('d')}, d.ctid limit 1`,
    [donor.id, String(seed + turn), slice.id],
  );
  const [row] = rows;
  return row === undefined ? undefined : { slice, keys: keysIn(row, slice.dataset), table: null };
}

const keysIn = (row: KeyRow, dataset: Dataset): string[] =>
  filtersOf(dataset).map((dimension) => row[dimension] ?? '');
