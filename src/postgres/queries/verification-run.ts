import type { Sql } from 'postgres';
import type { Day } from '../../domain/slice.ts';
import type { RunIdentity } from '../../store/types.ts';
import { one } from '../connection/answer.ts';
import { toldError } from '../connection/told-error.ts';

/** What a verification was asked to do, as stored with its run. */
export interface VerificationParameters {
  readonly from: Day;
  readonly to: Day;
  /** JSON. */
  readonly verification: Readonly<Record<string, string | number | null>>;
}

/**
 * Starts the run of a verification, under the property's lease. It has a row like any other run, because its tokens are
 * recorded with it. It is no refresh, and takes over no unfinished one: it fetches nothing.
 */
export async function startVerificationRun(
  sql: Sql,
  lock: Omit<RunIdentity, 'runId'>,
  { from, to, verification }: VerificationParameters,
): Promise<RunIdentity> {
  try {
    const { runId } = one(
      await sql<{ runId: string }[]>`
        insert into longtail.run (property_id, epoch, status, from_date, to_date, parameters, force)
        values (${lock.propertyId}::text::bigint, ${lock.epoch}::text::bigint, 'running', ${from}::text::date,
          ${to}::text::date, ${JSON.stringify({ verification })}::text::jsonb, false)
        returning id::text as "runId"`,
    );
    return { runId, propertyId: lock.propertyId, epoch: lock.epoch, holder: lock.holder };
  } catch (error) {
    throw await toldError(sql, error);
  }
}
