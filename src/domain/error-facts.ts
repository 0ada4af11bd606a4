import { withoutSecrets } from './secrets.ts';

/** PostgreSQL's own word, or the driver's, on what went wrong. */
export interface ErrorFacts {
  /** SQLSTATE, `CONNECTION_…` of the driver, or a system error such as `ECONNREFUSED`; empty when there is none. */
  readonly code: string;
  /** `FATAL` and `PANIC` end the session. Empty when the server did not say. */
  readonly severity: string;
  readonly message: string;
}

export function errorFacts(error: unknown): ErrorFacts {
  if (typeof error !== 'object' || error === null) return { code: '', severity: '', message: String(error) };
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  const severity = 'severity' in error && typeof error.severity === 'string' ? error.severity : '';
  // An address with several IPs fails with one error each, and no message of its own.
  const parts: readonly unknown[] = error instanceof AggregateError ? error.errors : [];
  const own = 'message' in error && typeof error.message === 'string' ? error.message : '';
  const message =
    inWords(error, code) ?? (own || parts.map((part) => errorFacts(part).message).join('; ') || code);
  return { code, severity, message: oneLine(message) };
}

/** In words of ours, where the error's own say less, or differ by chance. */
function inWords(error: object, code: string): string | undefined {
  // The driver's own is "write CONNECT_TIMEOUT host:undefined".
  if (code === 'CONNECT_TIMEOUT') return 'no connection in time';
  // Which call of the system meets the reset first, connect, read or write, is chance.
  if ('syscall' in error && (code === 'ECONNRESET' || code === 'EPIPE'))
    return 'the server reset the connection';
  return undefined;
}

/** One line without a secret: the driver's messages may quote the connection's URL. */
export function oneLine(message: string): string {
  return withoutSecrets(message).replace(/\s+/g, ' ').trim();
}
