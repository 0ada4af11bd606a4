import type { Sql } from 'postgres';
import type { CoverageRange } from '../../domain/coverage.ts';
import type { SelectionKey } from '../../domain/filter.ts';
import type { RunIdentity } from '../../store/types.ts';
import { one } from '../connection/answer.ts';
import { toldError } from '../connection/told-error.ts';
import { transaction } from '../connection/transaction.ts';
import { selectionOf } from './selection.ts';

/** What a run was asked to do. */
export interface RunParameters extends CoverageRange {
  /** Fetch again what was fetched before this run. */
  readonly refresh: boolean;
  /** Let an answer with fewer rows replace one with more (but never an empty one replace rows). */
  readonly acceptShrunk: boolean;
  /** @default everything */
  readonly selection?: SelectionKey;
  /** Any other options to store with the run. JSON. */
  readonly options?: Readonly<Record<string, unknown>>;
}

export interface StartedRun {
  readonly run: RunIdentity;
  /** By the database's clock, ISO 8601. Null: complete and final slices are not fetched again. */
  readonly refreshCutOff: string | null;
  /** Whether the cut-off was taken over from an earlier refresh that did not finish. */
  readonly continuesRefresh: boolean;
}

export type RunEnd = 'complete' | 'completeWithFailures' | 'halted' | 'failed';

interface CutOff {
  readonly at: string;
  readonly scope: string;
}

/**
 * Starts a run, under the property's lease. An unfinished refresh of the last day continues: a plain run takes over its
 * cut-off for that refresh's range, and a refresh takes it over if the earlier one covers everything that it asks for. So a
 * crashed run and the next one together fetch what one run would have fetched.
 */
export async function startRun(
  sql: Sql,
  lock: Omit<RunIdentity, 'runId'>,
  parameters: RunParameters,
): Promise<StartedRun> {
  const { from, to, searchTypes, datasets, refresh, acceptShrunk, selection } = parameters;
  const { filterKey, aggregationType } = selectionOf({ ...(selection && { selection }) });
  const scope = JSON.stringify({ from, to, searchTypes, datasets, selection });
  try {
    return await transaction(sql, async (tx) => {
      const unfinished = await tx<CutOff[]>`
        select refresh_cut_off::text as "at", refresh_scope::text as "scope" from longtail.run r
        where property_id = ${lock.propertyId}::text::bigint and refresh_cut_off > now() - interval '24 hours'
          and status in ('halted', 'failed', 'crashed')
          and coalesce(refresh_scope -> 'selection' ->> 'filterKey', '') = ${filterKey}::text
          and coalesce(refresh_scope -> 'selection' ->> 'aggregationType', '') = ${aggregationType}::text
          and (refresh_scope ->> 'from')::date <= ${refresh ? from : to}::text::date
          and (refresh_scope ->> 'to')::date >= ${refresh ? to : from}::text::date
          and (not ${refresh}::bool
            or (refresh_scope -> 'searchTypes' @> ${JSON.stringify(searchTypes)}::text::jsonb
              and refresh_scope -> 'datasets' @> ${JSON.stringify(datasets)}::text::jsonb))
          and not exists (
            select from longtail.run d
            where d.property_id = r.property_id and d.refresh_cut_off = r.refresh_cut_off
              and d.status in ('complete', 'completeWithFailures')
              and d.from_date <= (r.refresh_scope ->> 'from')::date and d.to_date >= (r.refresh_scope ->> 'to')::date
              and d.parameters -> 'searchTypes' @> (r.refresh_scope -> 'searchTypes')
              and d.parameters -> 'datasets' @> (r.refresh_scope -> 'datasets')
              and d.parameters -> 'selection' is not distinct from r.refresh_scope -> 'selection')
        order by refresh_cut_off desc, id desc limit 1`;
      const earlier = unfinished[0];
      const started = one(
        await tx<{ runId: string; cutOff: string | null }[]>`
          insert into longtail.run (property_id, epoch, status, from_date, to_date, parameters, force,
            refresh_cut_off, refresh_scope)
          values (${lock.propertyId}::text::bigint, ${lock.epoch}::text::bigint, 'running', ${from}::text::date,
            ${to}::text::date, ${JSON.stringify(parameters)}::text::jsonb, ${acceptShrunk}::bool,
            case when ${earlier !== undefined}::bool then ${earlier?.at ?? null}::text::timestamptz
              when ${refresh}::bool then now() end,
            ${earlier?.scope ?? (refresh ? scope : null)}::text::jsonb)
          returning id::text as "runId",
            to_char(refresh_cut_off at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "cutOff"`,
      );
      return {
        run: {
          runId: started.runId,
          propertyId: lock.propertyId,
          epoch: lock.epoch,
          holder: lock.holder,
          ...(selection === undefined ? {} : { selection }),
        },
        refreshCutOff: started.cutOff,
        continuesRefresh: earlier !== undefined,
      };
    });
  } catch (error) {
    throw await toldError(sql, error);
  }
}

/** How long the end of a run waits for a lock before it treats the database as unavailable. */
export const END_LOCK_TIMEOUT_MS = 3_000;

/**
 * Records how a run ended. Waits for its current commits; afterwards it can commit nothing. Returns false if it had
 * already ended or another run has taken over.
 */
export async function finishRun(
  sql: Sql,
  run: RunIdentity,
  end: { readonly status: RunEnd; readonly reason?: string },
): Promise<boolean> {
  try {
    return await transaction(sql, async (tx) => {
      await tx.unsafe(`set local lock_timeout = ${END_LOCK_TIMEOUT_MS}`);
      const rows = await tx`
        update longtail.run set status = ${end.status}::text, halt_reason = ${end.reason ?? null}::text, ended_at = now()
        where id = ${run.runId}::text::bigint and status = 'running'
        returning id`;
      return rows.length === 1;
    });
  } catch (error) {
    throw await toldError(sql, error);
  }
}
