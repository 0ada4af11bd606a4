/** The codes of all errors and failures, each with its cause and the next step. They are stable: scripts may rely on them. */
export const ERROR_CODES = [
  /** An option is missing, malformed or contradicts another. Correct it as the message says. */
  'BAD_OPTION',
  /** `run` was called twice. Create a new synchronisation with `createSync`. */
  'ALREADY_RUN',
  /** The synchronisation or its rate limiter is closed. Create a new one. */
  'CLOSED',
  /** A dry run was halted before it had a result. Run it again. */
  'HALTED',
  /** Another run uses this property in this database. Wait for it to end, or set `wait`. */
  'PROPERTY_BUSY',
  /** Another process uses this account's quota. Wait, share one rate limiter, or use other credentials. */
  'USER_SCOPE_BUSY',
  /** The database cannot be reached, does not answer, or reports damaged files. Check the server, its log and the network. */
  'DATABASE_UNAVAILABLE',
  /** The database refused the connection or a statement: password, database name, TLS, a missing right, a replica. Follow the next step. */
  'DATABASE_REFUSED',
  /** The encoding of the database is not UTF8. Create one with `encoding 'UTF8'`. */
  'DATABASE_NOT_UTF8',
  /** The server is older than PostgreSQL 14. Use a newer one. */
  'DATABASE_TOO_OLD',
  /** The database has no space left. Free space, then run again. */
  'DATABASE_DISK_FULL',
  /** The database stays read-only. Make it writable, then run again. */
  'DATABASE_READ_ONLY',
  /** A timeout setting cancels the statements. Change it as the next step says, then run again. */
  'DATABASE_TIMEOUT',
  /** The server allows no connections besides those of the pool passed in. Raise its limit, or lower the `max` of the pool. */
  'POOL_TOO_SMALL',
  /** The tables are missing, older, newer, incomplete or not Longtail's, or a migration failed. Follow the next step. */
  'MIGRATION_FAILED',
  /** Another run has taken the property over. Run again when no other run is active. */
  'FENCED_OFF',
  /** The lease on the property or account could not be renewed. Run again. */
  'LOCK_LOST',
  /** The embedded PostgreSQL cannot start or has stopped. Look into its log under `.longtail/`. */
  'EMBEDDED_SERVER',
  /** No credentials were found, or no access token arrived. Pass a file, a token or `getAccessToken`. */
  'NO_CREDENTIALS',
  /** The credentials are incomplete, malformed or rejected. Create new ones. */
  'BAD_CREDENTIALS',
  /** The sign-in has expired or was revoked. Sign in again. */
  'INVALID_GRANT',
  /** The token lacks the scope `webmasters.readonly`. Create one with it. */
  'MISSING_SCOPE',
  /** Google rejected the access token, and a new one too. Sign in again. */
  'UNAUTHORIZED',
  /** The account has no permission for the property. Add it as a user in Search Console. */
  'FORBIDDEN',
  /** The Search Console API is not enabled for the project. Enable it in the Google Cloud console. */
  'API_NOT_ENABLED',
  /** Google refuses the project: billing, policies or state. Follow the message's next step. */
  'PROJECT_REFUSED',
  /** A proxy requires a sign-in or rejects it. For `longtail sites` also: no answer from Google. Check proxy settings and network. */
  'API_UNREACHABLE',
  /** A URL would carry secrets over plain HTTP. Use `https:`, or loopback. */
  'INSECURE_ROOT',
  /** Google sent an answer that contradicts the API. Run again later; report it if it persists. */
  'UNEXPECTED_ANSWER',
  /** The table has no complete and final day to verify. Run a synchronisation first, or name another range or dataset. */
  'NOTHING_TO_VERIFY',
  /** A bug in Longtail. Report it with the output of `--log-level debug`. */
  'INTERNAL',
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

/**
 * The only error class of Longtail: thrown for a broken environment or a wrong call. Expected failures of a run, such as a
 * refusal, are values in its outcome. `message` says what happened, `nextStep` what to do. Neither contains a secret.
 * @example
 * catch (error) {
 *   if (error instanceof LongtailError) console.error(error.code, error.message, error.nextStep);
 * }
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
