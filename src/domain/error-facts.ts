import { withoutSecrets } from './secrets.ts';

/** What PostgreSQL or the driver reports about an error. */
export interface ErrorFacts {
  /** SQLSTATE, a driver code `CONNECTION_…`, or a system error such as `ECONNREFUSED`. Empty if there is none. */
  readonly code: string;
  /** `FATAL` and `PANIC` end the session. Empty if the server did not say. */
  readonly severity: string;
  readonly message: string;
}

export function errorFacts(error: unknown): ErrorFacts {
  if (typeof error !== 'object' || error === null) return { code: '', severity: '', message: String(error) };
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  const severity = 'severity' in error && typeof error.severity === 'string' ? error.severity : '';
  // An address with several IPs fails with one error each, and without a message of its own.
  const parts: readonly unknown[] = error instanceof AggregateError ? error.errors : [];
  const own = 'message' in error && typeof error.message === 'string' ? error.message : '';
  const message =
    inWords(error, code) ?? (own || parts.map((part) => errorFacts(part).message).join('; ') || code);
  return { code, severity, message: oneLine(message) };
}

/** Our own wording, where the error's message says less or varies by chance. */
function inWords(error: object, code: string): string | undefined {
  // The driver's message is "write CONNECT_TIMEOUT host:undefined".
  if (code === 'CONNECT_TIMEOUT') return 'no connection in time';
  // Whether connect, read or write meets the reset first is chance.
  if ('syscall' in error && (code === 'ECONNRESET' || code === 'EPIPE'))
    return 'the server reset the connection';
  return undefined;
}

/** One line without secrets: driver messages may quote the connection URL. */
export function oneLine(message: string): string {
  return withoutSecrets(message).replace(/\s+/g, ' ').trim();
}
