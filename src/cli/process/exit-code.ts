import type { ErrorCode } from '../../domain/errors.ts';
import type { Outcome } from '../../sync/types.ts';
import type { VerificationOutcome } from '../../sync/verification/types.ts';

/** Exit codes of the process. A public contract: never renumber. */
export const EXIT = {
  complete: 0,
  failed: 1,
  /** Wrong usage or configuration: the same command would fail again. */
  usage: 2,
  /** Complete except for failed slices. */
  sliceFailures: 3,
  /** Halted by a quota, or another run is active: run again later (EX_TEMPFAIL). */
  quota: 75,
  interrupted: 130,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Wrong usage or configuration. */
const USAGE_ERRORS: readonly ErrorCode[] = [
  'BAD_OPTION',
  'INSECURE_ROOT',
  'NO_CREDENTIALS',
  'BAD_CREDENTIALS',
  'POOL_TOO_SMALL',
  'DATABASE_NOT_UTF8',
  'DATABASE_TOO_OLD',
  'NOTHING_TO_VERIFY',
];

/** Another run is active: run again later. */
const BUSY_ERRORS: readonly ErrorCode[] = ['PROPERTY_BUSY', 'USER_SCOPE_BUSY'];

export function exitCodeOfError(code: ErrorCode): ExitCode {
  if (BUSY_ERRORS.includes(code)) return EXIT.quota;
  if (code === 'HALTED') return EXIT.interrupted;
  return USAGE_ERRORS.includes(code) ? EXIT.usage : EXIT.failed;
}

export function exitCodeOfOutcome(outcome: Outcome): ExitCode {
  switch (outcome.status) {
    case 'complete':
      return EXIT.complete;
    case 'completeWithFailures':
      return EXIT.sliceFailures;
    case 'failed':
      return exitCodeOfError(outcome.failure.code);
    case 'halted':
      return exitCodeOfHalt(outcome.haltReason);
  }
}

/** One that found a difference fails, as a test would. */
export function exitCodeOfVerification(outcome: VerificationOutcome): ExitCode {
  switch (outcome.status) {
    case 'equal':
      return EXIT.complete;
    case 'different':
      return EXIT.failed;
    case 'incomplete':
      return EXIT.sliceFailures;
    case 'failed':
      return exitCodeOfError(outcome.failure.code);
    case 'halted':
      return exitCodeOfHalt(outcome.haltReason);
  }
}

function exitCodeOfHalt({ kind }: Extract<Outcome, { status: 'halted' }>['haltReason']): ExitCode {
  switch (kind) {
    case 'asked':
      return EXIT.interrupted;
    case 'quota':
      return EXIT.quota;
    case 'callFailures':
    case 'databaseAway':
      return EXIT.failed;
  }
}
