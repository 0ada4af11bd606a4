import type { Sql, TransactionSql } from 'postgres';
import type { CoverageRange } from '../../domain/coverage.ts';
import type { SliceFailure } from '../../domain/slice.ts';
import { keyOf } from '../../planning/plan.ts';
import { SHRUNK } from '../../planning/seal.ts';
import type { RunIdentity } from '../../store/types.ts';
import { one } from '../connection/answer.ts';
import { toldError } from '../connection/told-error.ts';
import { transaction } from '../connection/transaction.ts';
import { readCoverage } from './coverage.ts';
import { END_LOCK_TIMEOUT_MS } from './run.ts';

/** What the tables hold for a range, earlier runs' work included. */
export interface OutcomeFigures {
  /** Complete keys, empty ones included. */
  readonly complete: number;
  /** Keys that are complete and have no rows. */
  readonly empty: number;
  /** Complete keys with as many rows as Google gives at most. */
  readonly capped: number;
  /**
   * Keys whose newest version failed, and those of which this run was given too little to replace an older version. That
   * one stays readable. The former are fetched again by the next run, the latter are not.
   */
  readonly failed: number;
  /** Rows of the range that the view shows. */
  readonly rows: number;
  /** One per failed key, newest day first. */
  readonly failures: readonly SliceFailure[];
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
  range: CoverageRange,
): Promise<OutcomeFigures> {
  const coverage = await readCoverage(sql, run, range);
  const inRange = sql`
      s.property_id = ${run.propertyId}::text::bigint
      and s.date between ${range.from}::text::date and ${range.to}::text::date
      and s.search_type in (select jsonb_array_elements_text(${JSON.stringify(range.searchTypes)}::text::jsonb))
      and s.dataset in (select jsonb_array_elements_text(${JSON.stringify(range.datasets)}::text::jsonb))
      and s.filter_key = '' and s.aggregation_type = ''`;
  const counted = one(
    await sql<{ rows: number; empty: number; capped: number }[]>`
        select coalesce(sum(s.rows), 0)::float8 as "rows", (count(*) filter (where s.rows = 0))::int as "empty",
          (count(*) filter (where s.capped))::int as "capped"
        from longtail.slice s where ${inRange} and s.status = 'complete'`,
  );
  const failures = await sql<SliceFailure[]>`
      select distinct on (s.date, s.search_type, s.dataset) s.search_type as "searchType", s.dataset as "dataset",
        s.date::text as "date", coalesce(s.error, 'unknown') as "reason"
      from longtail.slice s where ${inRange}
        and (s.status = 'failed' or (s.status = 'abandoned' and s.run_id = ${run.runId}::text::bigint
          and starts_with(s.error, ${SHRUNK}::text)))
        and not exists (select from longtail.slice n where n.property_id = s.property_id
          and n.search_type = s.search_type and n.dataset = s.dataset and n.date = s.date
          and n.filter_key = '' and n.aggregation_type = '' and n.version > s.version and n.status in ('complete', 'open'))
      order by s.date desc, s.search_type, s.dataset, s.version desc`;
  const failed = new Set(failures.map(keyOf));
  return {
    ...counted,
    complete: coverage.filter((key) => key.status === 'complete' && !failed.has(keyOf(key))).length,
    failed: failures.length,
    failures: [...failures],
  };
}
