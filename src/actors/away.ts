import type { Away, PlanFailure } from '../machines/messages.ts';
import type { DatabaseAway, DatabaseFailure } from '../store/types.ts';

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
  if (failure.kind === 'databaseAway') return { kind: 'databaseAway', ...awayOf(failure) };
  const { code, reason, nextStep } = failure;
  return { kind: 'fatal', fatal: { code, reason, ...(nextStep === undefined ? {} : { nextStep }) } };
}
