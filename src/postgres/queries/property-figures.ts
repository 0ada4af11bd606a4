import type { Sql } from 'postgres';
import type { Day } from '../../domain/slice.ts';
import { toldError } from '../connection/told-error.ts';
import { transaction } from '../connection/transaction.ts';
import { type MonthStatus, readStatus, type Status } from './status.ts';

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
  | 'siteUrl'
  | 'searchType'
  | 'dataset'
  | 'complete'
  | 'empty'
  | 'open'
  | 'failed'
  | 'missing'
  | 'rows'
  | 'capped'
> & {
  /** The newest complete day. */
  readonly last: Day | null;
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
    return { runs: [...runs], datasets: sumMonths(await readStatus(sql)) };
  } catch (error) {
    throw await toldError(sql, error);
  }
}

/** How the reason of a day begins whose refetch brought much less. */
const SHRUNK = 'shrunk:';

function sumMonths({ months, failed }: Status): readonly DatasetFigures[] {
  const keyOf = ({ siteUrl, searchType, dataset }: Pick<MonthStatus, 'siteUrl' | 'searchType' | 'dataset'>) =>
    JSON.stringify([siteUrl, searchType, dataset]);
  const shrunk = Map.groupBy(
    failed.filter(({ reason }) => reason.startsWith(SHRUNK)),
    keyOf,
  );
  return [...Map.groupBy(months, keyOf)].flatMap(([key, ofDataset]) => {
    const [first] = ofDataset;
    if (first === undefined) return [];
    const { siteUrl, searchType, dataset } = first;
    const sum = (of: (month: MonthStatus) => number): number =>
      ofDataset.reduce((total, month) => total + of(month), 0);
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
      capped: sum((month) => month.capped),
      shrunk: shrunk.get(key)?.length ?? 0,
    };
  });
}
