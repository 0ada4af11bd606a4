import type { ErrorCode } from '../../domain/errors.ts';
import type { Outcome } from '../../sync/types.ts';

/** What the process says to the script that ran it. A contract: never renumber. */
export const EXIT = {
  complete: 0,
  failed: 1,
  /** Wrong use or configuration: run again as it is, it fails again. */
  usage: 2,
  /** All but some slices, which failed. */
  sliceFailures: 3,
  /** Halted by a quota, or somebody else is at it: run again later (EX_TEMPFAIL). */
  quota: 75,
  interrupted: 130,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Errors that lie in how the command was called or set up. */
const USAGE_ERRORS: readonly ErrorCode[] = [
  'BAD_OPTION',
  'INSECURE_ROOT',
  'NO_CREDENTIALS',
  'BAD_CREDENTIALS',
  'POOL_TOO_SMALL',
  'DATABASE_NOT_UTF8',
  'DATABASE_TOO_OLD',
];

/** Somebody else is at it: run again later. */
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
      switch (outcome.haltReason.kind) {
        case 'asked':
          return EXIT.interrupted;
        case 'quota':
          return EXIT.quota;
        case 'callFailures':
        case 'databaseAway':
          return EXIT.failed;
      }
  }
}
