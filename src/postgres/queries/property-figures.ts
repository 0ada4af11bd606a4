import type { Sql } from 'postgres';
import type { Dataset, Day, SearchType } from '../../domain/slice.ts';
import { toldError } from '../connection/told-error.ts';
import { transaction } from '../connection/transaction.ts';
import { keyStatus } from './key-status.ts';
import { type MonthStatus, readStatus } from './status.ts';

/** How a run ended, or that it has not. */
export const RUN_STATUSES = [
  'running',
  'complete',
  'completeWithFailures',
  'halted',
  'failed',
  'crashed',
] as const;

/** A property's runs. Times are seconds since 1970, by the database's clock; null where there is none. */
export interface PropertyRuns {
  readonly siteUrl: string;
  /** When a run last ended as complete. */
  readonly lastSuccess: number | null;
  /** Of the newest run. `running` is also what a crashed one says until the next begins. */
  readonly lastStatus: (typeof RUN_STATUSES)[number];
  /** How long the newest run took that has ended, in seconds. Null if none has. */
  readonly lastDurationSeconds: number | null;
  /** Whether somebody holds the property's lease at this moment. */
  readonly isUnderWay: boolean;
  /** Runs by how they ended. */
  readonly ended: Readonly<Partial<Record<(typeof RUN_STATUSES)[number], number>>>;
}

/** What the tables hold of one property, search type and dataset, in days. */
export type DatasetFigures = Pick<
  MonthStatus,
  'siteUrl' | 'searchType' | 'dataset' | 'complete' | 'empty' | 'open' | 'failed' | 'missing' | 'rows'
> & {
  /** The newest complete day. */
  readonly last: Day | null;
  /** Complete days with as many rows as Google returns at most: it has more. */
  readonly capped: number;
  /** Days that failed because a refetch brought much less than before. */
  readonly shrunk: number;
};

export interface DatabaseFigures {
  readonly runs: readonly PropertyRuns[];
  readonly datasets: readonly DatasetFigures[];
}

/** Reads the figures of all properties, within `timeoutMs`. The counts are those of `longtail status`. */
export async function readFigures(sql: Sql, timeoutMs: number): Promise<DatabaseFigures> {
  try {
    const runs = await transaction(sql, async (tx) => {
      await tx.unsafe(`set local statement_timeout = ${timeoutMs}`);
      return await tx<PropertyRuns[]>`
        with counted as (
          select property_id, status, count(*)::int as runs,
            extract(epoch from max(ended_at))::float8 as last
          from longtail.run group by property_id, status
        ), summed as (
          select property_id, json_object_agg(status, runs) as ended,
            max(last) filter (where status = 'complete') as last_success
          from counted group by property_id
        ), newest as (
          select distinct on (property_id) property_id, status
          from longtail.run order by property_id, id desc
        ), newest_ended as (
          select distinct on (property_id) property_id,
            extract(epoch from ended_at - started_at)::float8 as seconds
          from longtail.run where ended_at is not null order by property_id, id desc
        )
        select p.site_url as "siteUrl", s.last_success as "lastSuccess", n.status as "lastStatus",
          e.seconds as "lastDurationSeconds", s.ended as "ended",
          exists (
            select from longtail.lease l
            where l.resource = 'site:' || p.site_url and l.expires_at > clock_timestamp()
          ) as "isUnderWay"
        from longtail.property p join summed s on s.property_id = p.id join newest n on n.property_id = p.id
        left join newest_ended e on e.property_id = p.id
        order by p.site_url`;
    });
    const marked = await transaction(sql, async (tx) => {
      await tx.unsafe(`set local statement_timeout = ${timeoutMs}`);
      return await tx<
        { siteUrl: string; searchType: SearchType; dataset: Dataset; capped: number; shrunk: number }[]
      >`
        with known as (
          select s.property_id, s.search_type, s.dataset, s.date,
            max(s.version) filter (where s.status = 'complete') as complete,
            max(s.version) filter (where s.status = 'open') as open,
            max(s.version) filter (where s.status = 'failed') as failed,
            bool_or(s.status = 'open' and s.second_look) as second_look,
            bool_or(s.status = 'complete' and s.capped) as capped,
            (array_agg(s.error order by s.version desc) filter (where s.status = 'failed'))[1] as error
          from longtail.slice s
          where s.filter_key = '' and s.aggregation_type = '' and s.status in ('complete', 'open', 'failed')
          group by s.property_id, s.search_type, s.dataset, s.date
        ), judged as (
          select known.*, ${keyStatus(sql)} as status from known
        )
        select p.site_url as "siteUrl", j.search_type as "searchType", j.dataset as "dataset",
          (count(*) filter (where j.capped))::int as "capped",
          (count(*) filter (where j.status = 'failed' and j.error like 'shrunk:%'))::int as "shrunk"
        from judged j join longtail.property p on p.id = j.property_id
        group by p.site_url, j.search_type, j.dataset`;
    });
    const months = await readStatus(sql);
    return { runs: [...runs], datasets: sumMonths(months, marked) };
  } catch (error) {
    throw await toldError(sql, error);
  }
}

type Marked = Pick<DatasetFigures, 'siteUrl' | 'searchType' | 'dataset' | 'capped' | 'shrunk'>;

function sumMonths(months: readonly MonthStatus[], marked: readonly Marked[]): readonly DatasetFigures[] {
  const keyOf = ({ siteUrl, searchType, dataset }: Omit<Marked, 'capped' | 'shrunk'>): string =>
    JSON.stringify([siteUrl, searchType, dataset]);
  const marks = new Map(marked.map((mark) => [keyOf(mark), mark]));
  return [...Map.groupBy(months, keyOf)].flatMap(([key, ofDataset]) => {
    const [first] = ofDataset;
    if (first === undefined) return [];
    const { siteUrl, searchType, dataset } = first;
    const sum = (of: (month: MonthStatus) => number): number =>
      ofDataset.reduce((total, month) => total + of(month), 0);
    const { capped = 0, shrunk = 0 } = marks.get(key) ?? {};
    return {
      siteUrl,
      searchType,
      dataset,
      complete: sum((month) => month.complete),
      empty: sum((month) => month.empty),
      open: sum((month) => month.open),
      failed: sum((month) => month.failed),
      missing: sum((month) => month.missing),
      rows: sum((month) => month.rows),
      last: ofDataset.reduce<Day | null>(
        (newest, { last }) => (last !== null && (newest === null || last > newest) ? last : newest),
        null,
      ),
      capped,
      shrunk,
    };
  });
}
