import type { Sql } from 'postgres';
import type { Dataset, Day, SearchType } from '../../domain/slice.ts';
import { toldError } from '../connection/told-error.ts';
import { COVERAGE } from '../schema/views.ts';

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
  /** Days with as many rows as Google gives at most: there were more. */
  readonly capped: number;
  /** Readable rows, their clicks and impressions. */
  readonly rows: number;
  readonly clicks: number;
  readonly impressions: number;
  /** Clicks of the same days as Google counts them, hidden queries included. Null where no totals are known. */
  readonly totalClicks: number | null;
  /** Share of those clicks that the rows lack, 0 to 1. Null where there are none, and for search appearances. */
  readonly hiddenShare: number | null;
  /** Rows whose key was there already, left out. */
  readonly duplicatesDropped: number;
  /** The first and last complete days. Null when there are none. */
  readonly first: Day | null;
  readonly last: Day | null;
}

/** A day that deserves a look. */
export interface DayStatus {
  readonly siteUrl: string;
  readonly searchType: SearchType;
  readonly dataset: Dataset;
  readonly date: Day;
}

/** A day whose latest attempt failed. */
export interface FailedDay extends DayStatus {
  readonly reason: string;
  /** Rows of an older version that are readable. Null: there is none. */
  readonly rows: number | null;
}

/** A day with as many rows as Google gives at most. */
export interface CappedDay extends DayStatus {
  readonly rows: number;
  /** See {@link MonthStatus.hiddenShare}. */
  readonly hiddenShare: number | null;
}

export interface Status {
  /** Newest month first. */
  readonly months: readonly MonthStatus[];
  /** Newest day first. */
  readonly failed: readonly FailedDay[];
  /** Newest day first. */
  readonly capped: readonly CappedDay[];
}

/** Reads the status of one property or of all. It means by each word what the view `search_coverage` means. */
export async function readStatus(sql: Sql, siteUrl?: string): Promise<Status> {
  const ofSite = sql`(${siteUrl ?? null}::text is null or site_url = ${siteUrl ?? null}::text)`;
  try {
    const [months, marked] = await Promise.all([
      sql<MonthStatus[]>`
        select site_url as "siteUrl", search_type as "searchType", dataset as "dataset",
          to_char(date, 'YYYY-MM') as "month",
          (count(*) filter (where status = 'complete'))::int as "complete",
          (count(*) filter (where status = 'complete' and rows = 0))::int as "empty",
          (count(*) filter (where status = 'open'))::int as "open",
          (count(*) filter (where status = 'failed'))::int as "failed",
          (count(*) filter (where status = 'missing'))::int as "missing",
          (count(*) filter (where capped))::int as "capped",
          coalesce(sum(rows), 0)::float8 as "rows", coalesce(sum(clicks), 0)::float8 as "clicks",
          coalesce(sum(impressions), 0)::float8 as "impressions",
          (sum(total_clicks) filter (where rows is not null))::float8 as "totalClicks",
          case when sum(total_clicks) filter (where hidden_share is not null and rows is not null) > 0 then
            greatest(0, 1 - sum(clicks) filter (where hidden_share is not null)
              / sum(total_clicks) filter (where hidden_share is not null and rows is not null)) end::float8 as "hiddenShare",
          coalesce(sum(duplicates_dropped), 0)::float8 as "duplicatesDropped",
          (min(date) filter (where rows is not null))::text as "first",
          (max(date) filter (where rows is not null))::text as "last"
        from (${sql.unsafe(COVERAGE)}) c where ${ofSite}
        group by site_url, search_type, dataset, to_char(date, 'YYYY-MM')
        order by site_url, search_type, dataset, "month" desc`,
      sql<(DayStatus & Pick<FailedDay, 'reason' | 'rows'> & MarkedDay)[]>`
        select site_url as "siteUrl", search_type as "searchType", dataset as "dataset", date::text as "date",
          status = 'failed' as "isFailed", capped as "isCapped", coalesce(reason, 'unknown') as "reason",
          rows::float8 as "rows", hidden_share as "hiddenShare"
        from (${sql.unsafe(COVERAGE)}) c where ${ofSite} and (status = 'failed' or capped)
        order by site_url, date desc, search_type, dataset`,
    ]);
    const day = ({ siteUrl: site, searchType, dataset, date }: DayStatus): DayStatus => ({
      siteUrl: site,
      searchType,
      dataset,
      date,
    });
    return {
      months: [...months],
      failed: marked.flatMap((one) =>
        one.isFailed ? [{ ...day(one), reason: one.reason, rows: one.rows }] : [],
      ),
      capped: marked.flatMap((one) =>
        one.isCapped ? [{ ...day(one), rows: one.rows ?? 0, hiddenShare: one.hiddenShare }] : [],
      ),
    };
  } catch (error) {
    throw await toldError(sql, error);
  }
}

interface MarkedDay {
  readonly isFailed: boolean;
  readonly isCapped: boolean;
  readonly hiddenShare: number | null;
}
