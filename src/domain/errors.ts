/** Stable codes of everything Longtail rejects or fails with. Scripts may rely on them. */
export const ERROR_CODES = [
  'BAD_OPTION',
  'ALREADY_RUN',
  'CLOSED',
  'HALTED',
  'PROPERTY_BUSY',
  'USER_SCOPE_BUSY',
  'DATABASE_UNAVAILABLE',
  'DATABASE_REFUSED',
  'DATABASE_NOT_UTF8',
  'DATABASE_TOO_OLD',
  'DATABASE_DISK_FULL',
  'DATABASE_READ_ONLY',
  'DATABASE_TIMEOUT',
  'POOL_TOO_SMALL',
  'MIGRATION_FAILED',
  'FENCED_OFF',
  'LOCK_LOST',
  'EMBEDDED_SERVER',
  'NO_CREDENTIALS',
  'BAD_CREDENTIALS',
  'INVALID_GRANT',
  'MISSING_SCOPE',
  'UNAUTHORIZED',
  'FORBIDDEN',
  'API_NOT_ENABLED',
  'PROJECT_REFUSED',
  'API_UNREACHABLE',
  'INSECURE_ROOT',
  'UNEXPECTED_ANSWER',
  'INTERNAL',
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

/**
 * The one error class: a broken environment or a wrong call. What a run can expect (a refusal, a failed part) is a
 * value, not an error. `message` says what happened; `nextStep` what to do about it. Neither ever holds a secret.
 */
export class LongtailError extends Error {
  override readonly name = 'LongtailError';
  readonly code: ErrorCode;
  readonly nextStep: string;

  constructor(code: ErrorCode, message: string, nextStep: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.nextStep = nextStep;
  }
}
