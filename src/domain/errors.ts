/** The codes of all errors and failures, each with its cause and the next step. They are stable: scripts may rely on them. */
export const ERROR_CODES = [
  /** An option is missing, malformed or contradicts another. Correct it as the message says. */
  'BAD_OPTION',
  /** `run` was called twice. Create a new synchronisation with `createSync`. */
  'ALREADY_RUN',
  /** The synchronisation or its rate limiter is closed. Create a new one. */
  'CLOSED',
  /** A dry run was halted before the database had answered. Run it again. */
  'HALTED',
  /** Another run uses this property in this database. Wait for it to end, or set `wait`. */
  'PROPERTY_BUSY',
  /** Another process uses this account's quota. Wait, share one rate limiter, or use other credentials. */
  'USER_SCOPE_BUSY',
  /** The database cannot be reached or does not answer. Check the server and the network. */
  'DATABASE_UNAVAILABLE',
  /** The database refused the connection or a statement: password, database name, privileges. Follow the message. */
  'DATABASE_REFUSED',
  /** The encoding of the database is not UTF8. Create one with `encoding 'UTF8'`. */
  'DATABASE_NOT_UTF8',
  /** The server version of PostgreSQL is not supported. Use a newer server. */
  'DATABASE_TOO_OLD',
  /** The disk of the database is full. Free space, then run again. */
  'DATABASE_DISK_FULL',
  /** The database accepts no writes: a replica, or a setting. Make it writable, then run again. */
  'DATABASE_READ_ONLY',
  /** A timeout of the database ends the statements. Raise it as the message says, then run again. */
  'DATABASE_TIMEOUT',
  /** The given pool has too few connections. Raise its `max` or lower `maxConcurrency`. */
  'POOL_TOO_SMALL',
  /** The tables could not be created or updated. The message names the cause. */
  'MIGRATION_FAILED',
  /** Another run has taken the property over. Run again when no other run is active. */
  'FENCED_OFF',
  /** The lease on the property or account could not be renewed. Run again. */
  'LOCK_LOST',
  /** The embedded PostgreSQL cannot start or has stopped. Look into its log under `.longtail/`. */
  'EMBEDDED_SERVER',
  /** No credentials were found, or no token came. Name a file, a token or `getAccessToken`. */
  'NO_CREDENTIALS',
  /** The credentials are malformed or were rejected. Create new ones. */
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
  /** No connection to Google, or a proxy refuses it. Check the network and the proxy settings. */
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
