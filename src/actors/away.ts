import type { DatabaseAway, DatabaseFailure } from '../db/types.ts';
import type { Away, PlanFailure } from '../machines/messages.ts';

/** What the machines are told of a database that takes nothing. */
export function awayOf({ reason, cause, nextStep }: DatabaseAway): Away {
  const advice = nextStep === undefined ? {} : { nextStep };
  switch (cause) {
    case 'timeout':
      return { reason, ending: { code: 'DATABASE_TIMEOUT', reason, ...advice }, patience: 'short' };
    case 'readOnly':
      return { reason, ending: { code: 'DATABASE_READ_ONLY', reason, ...advice } };
    default:
      return { reason };
  }
}

/** A failure of the database as the end of a call, or of a question to the plan. */
export function outcomeOf(failure: DatabaseFailure): PlanFailure {
  return failure.kind === 'databaseAway'
    ? { kind: 'databaseAway', ...awayOf(failure) }
    : { kind: 'fatal', fatal: { code: failure.code, reason: failure.reason } };
}
