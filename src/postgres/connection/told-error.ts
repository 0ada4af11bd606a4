/** Database errors at the start and end of a run, as errors for the user: they name the setting, the lock or the missing right. */
import type { Sql } from 'postgres';
import { errorFacts } from '../../domain/error-facts.ts';
import { LongtailError } from '../../domain/errors.ts';
import type { DatabaseFailure } from '../../store/types.ts';
import { toFailure } from '../driver/failure.ts';
import { Refusal } from './answer.ts';
import { connectError, place } from './connect.ts';
import { explain } from './trouble.ts';

/** A database failure with the reason that its server gives; a bug is returned unchanged. Never rejects for a database failure. */
export async function toldError(sql: Sql, error: unknown): Promise<unknown> {
  const failure = error instanceof Refusal ? error.failure : toFailure(error);
  if (failure === undefined) return error;
  const told = await explain(sql, failure);
  const code = codeOf(told);
  // The server was not reached, or refused the login.
  if (code === undefined || /^(28...|3D000)$/.test(errorFacts(error).code)) return connectError(sql, error);
  const { reason, nextStep = 'Check the database server’s log, then run again.' } = told;
  return new LongtailError(code, `The ${place(sql)} rejects the work: ${reason}`, nextStep, { cause: error });
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
