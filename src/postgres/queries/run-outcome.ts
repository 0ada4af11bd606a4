import type { Sql, TransactionSql } from 'postgres';
import type { CoverageRange } from '../../domain/coverage.ts';
import type { NotServed } from '../../domain/dataset.ts';
import type { SliceFailure, SliceKey } from '../../domain/slice.ts';
import { keyOf, keysOf } from '../../planning/plan.ts';
import { wholeKeys } from '../../planning/two-step.ts';
import type { RunIdentity } from '../../store/types.ts';
import { toldError } from '../connection/told-error.ts';
import { transaction } from '../connection/transaction.ts';
import { readAppearances, readCoverage, readRefused } from './coverage.ts';
import { END_LOCK_TIMEOUT_MS } from './run.ts';
import { isOfSelection, type KeyRow, withoutEmptyPart } from './selection.ts';

/** What the tables hold for a range, earlier runs' work included. */
export interface OutcomeFigures {
  /** Keys in the range. */
  readonly planned: number;
  /** Complete keys, empty ones included. */
  readonly complete: number;
  /** Keys that are complete and have no rows. */
  readonly empty: number;
  /** Keys whose newest version failed. An older version may still be readable. */
  readonly failed: number;
  /** Rows of the range that the view shows. */
  readonly rows: number;
  /** One per failed key, or failed part of it, newest day first. */
  readonly failures: readonly SliceFailure[];
  /** Combinations of the range that Google refuses. They are in none of the other figures. */
  readonly refused: readonly NotServed[];
}

/** Reads a run's figures from the tables. Rejects with a LongtailError when the database does not respond. */
export async function readOutcome(sql: Sql, run: RunIdentity, range: CoverageRange): Promise<OutcomeFigures> {
  try {
    return await transaction(sql, async (tx) => {
      await tx.unsafe(`set local lock_timeout = ${END_LOCK_TIMEOUT_MS}`);
      return await readFigures(tx, run, range);
    });
  } catch (error) {
    throw await toldError(sql, error);
  }
}

async function readFigures(
  sql: TransactionSql,
  run: RunIdentity,
  given: CoverageRange,
): Promise<OutcomeFigures> {
  const refused = await readRefused(sql, run);
  const range = { ...given, refused };
  const held = await readCoverage(sql, run, range);
  const whole = wholeKeys(range, held, await readAppearances(sql, run, range));
  const asked = keysOf(range);
  const isAsked = new Set(asked.map(keyOf));
  const inRange = sql`
      s.property_id = ${run.propertyId}::text::bigint
      and s.date between ${range.from}::text::date and ${range.to}::text::date
      and s.search_type in (select jsonb_array_elements_text(${JSON.stringify(range.searchTypes)}::text::jsonb))
      and s.dataset in (select jsonb_array_elements_text(${JSON.stringify(range.datasets)}::text::jsonb))
      and ${isOfSelection(sql, run)}`;
  const counted = await sql<(SliceKey & { rows: number })[]>`
      select s.search_type as "searchType", s.dataset as "dataset", s.date::text as "date",
        sum(s.rows)::float8 as "rows"
      from longtail.slice s where ${inRange} and s.status = 'complete'
      group by s.search_type, s.dataset, s.date`;
  const failures = await sql<(SliceFailure & KeyRow)[]>`
      select distinct on (s.date, s.search_type, s.dataset, s.part) s.search_type as "searchType",
        s.dataset as "dataset", s.date::text as "date", s.part as "part", coalesce(s.error, 'unknown') as "reason"
      from longtail.slice s where ${inRange} and s.status = 'failed'
        and not exists (select from longtail.slice n where n.property_id = s.property_id
          and n.search_type = s.search_type and n.dataset = s.dataset and n.date = s.date and n.part = s.part
          and n.filter_key = s.filter_key and n.aggregation_type = s.aggregation_type and n.version > s.version
          and n.status in ('complete', 'open'))
      order by s.date desc, s.search_type, s.dataset, s.part, s.version desc`;
  const wholeKey = ({ searchType, dataset, date }: SliceKey): string => keyOf({ searchType, dataset, date });
  // What Google no longer has, or does not serve, is nobody's failure.
  const askedFailures = failures.filter((failure) => isAsked.has(wholeKey(failure)));
  const rowsOf = new Map(counted.map((key) => [keyOf(key), key.rows]));
  const complete = whole.filter((key) => key.status === 'complete' && isAsked.has(keyOf(key)));
  return {
    planned: asked.length,
    complete: complete.length,
    empty: complete.filter((key) => (rowsOf.get(keyOf(key)) ?? 0) === 0).length,
    failed: new Set(askedFailures.map(wholeKey)).size,
    rows: counted.reduce((sum, { rows }) => sum + rows, 0),
    failures: askedFailures.map(withoutEmptyPart),
    refused: refused.filter(
      ({ searchType, dataset }) => range.searchTypes.includes(searchType) && range.datasets.includes(dataset),
    ),
  };
}
