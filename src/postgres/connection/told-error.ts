/** What goes wrong where a run begins and ends, as an error for the user: the setting, the lock, the right that is lacking. */
import type { Sql } from 'postgres';
import { errorFacts } from '../../domain/error-facts.ts';
import { LongtailError } from '../../domain/errors.ts';
import type { DatabaseFailure } from '../../store/types.ts';
import { toFailure } from '../driver/failure.ts';
import { Refusal } from './answer.ts';
import { connectError, place } from './connect.ts';
import { explain } from './trouble.ts';

/** A failure of the database with what its server says is the reason; a bug stays what it is. Never rejects for the former. */
export async function toldError(sql: Sql, error: unknown): Promise<unknown> {
  const failure = error instanceof Refusal ? error.failure : toFailure(error);
  if (failure === undefined) return error;
  const told = await explain(sql, failure);
  const code = codeOf(told);
  // It was not reached, or did not let us in.
  if (code === undefined || /^(28...|3D000)$/.test(errorFacts(error).code)) return connectError(sql, error);
  const { reason, nextStep = 'Look into the database server’s log, then run again.' } = told;
  return new LongtailError(code, `The ${place(sql)} refuses the work: ${reason}`, nextStep, { cause: error });
}

function codeOf(failure: DatabaseFailure): LongtailError['code'] | undefined {
  if (failure.kind === 'fatal') return failure.code;
  switch (failure.cause) {
    case 'timeout':
      return 'DATABASE_TIMEOUT';
    case 'readOnly':
      return 'DATABASE_READ_ONLY';
    case 'locked':
      return 'DATABASE_UNAVAILABLE';
    default:
      return undefined;
  }
}
