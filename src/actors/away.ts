import type { Away, PlanFailure } from '../machines/messages.ts';
import type { DatabaseAway, DatabaseFailure } from '../store/types.ts';

/** Translates a database that accepts nothing into the machines' terms. */
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

/** Translates a database failure into the outcome of a call or of a plan request. */
export function outcomeOf(failure: DatabaseFailure): PlanFailure {
  if (failure.kind === 'databaseAway') return { kind: 'databaseAway', ...awayOf(failure) };
  const { code, reason, nextStep } = failure;
  return { kind: 'fatal', fatal: { code, reason, ...(nextStep === undefined ? {} : { nextStep }) } };
}
