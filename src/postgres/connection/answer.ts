import type { Answer, DatabaseFailure } from '../../store/types.ts';
import { toFailure } from '../driver/failure.ts';

/** Returns database failures as values. Any other error is a bug and is rethrown. */
export async function answer<T>(work: () => Promise<T>): Promise<Answer<T>> {
  try {
    return { kind: 'ok', value: await work() };
  } catch (error) {
    if (error instanceof Refusal) return error.failure;
    const failure = toFailure(error);
    if (failure === undefined) throw error;
    return failure;
  }
}

/** Ends a transaction with a failure of Longtail's, not PostgreSQL's. Caught by {@link answer}. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly failure: DatabaseFailure;
  constructor(failure: DatabaseFailure) {
    super(failure.reason);
    this.failure = failure;
  }
}

/** For a writer whose run has ended, or whose property another run has taken over. */
export const FENCED_OFF: DatabaseFailure = {
  kind: 'fatal',
  code: 'FENCED_OFF',
  reason: 'this run may no longer write: it has ended, or another run has taken over the property',
};

/** For a run whose property or account another run has taken over: it must not send any more requests. */
export const LEASE_LOST: DatabaseFailure = {
  kind: 'fatal',
  code: 'LOCK_LOST',
  reason: 'another run has taken over the property or the account',
};

/** The only row of a query that always returns one. */
export function one<T>(rows: readonly T[]): T {
  const first = rows[0];
  if (first === undefined) throw new Error('a query that always returns a row returned none');
  return first;
}
