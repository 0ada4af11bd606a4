import type { Answer, DatabaseFailure } from '../../store/types.ts';
import { toFailure } from '../driver/failure.ts';

/** Turns what a database may fail with into a value. Anything else is a bug, and is thrown on. */
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

/** Ends a transaction with a failure that is ours, not PostgreSQL's. Caught by {@link answer}. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly failure: DatabaseFailure;
  constructor(failure: DatabaseFailure) {
    super(failure.reason);
    this.failure = failure;
  }
}

/** For a writer whose property is somebody else's by now, or whose run is over. */
export const FENCED_OFF: DatabaseFailure = {
  kind: 'fatal',
  code: 'FENCED_OFF',
  reason: 'this run may no longer write: it has ended, or another one has taken over the property',
};

/** For a run whose property or account another has taken: nothing of it may be sent any more. */
export const LEASE_LOST: DatabaseFailure = {
  kind: 'fatal',
  code: 'LOCK_LOST',
  reason: 'another synchronisation has taken over the property or the account',
};

/** The row of a query that always has one. */
export function one<T>(rows: readonly T[]): T {
  const first = rows[0];
  if (first === undefined) throw new Error('a query that always has a row had none');
  return first;
}
