import type { ErrorCode } from '../errors.ts';
import type { DatabaseFailure } from './types.ts';

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

const CONNECTION_CODES = new Set([
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECTION_DESTROYED',
  'CONNECT_TIMEOUT',
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'ENOENT',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ERR_SOCKET_CLOSED',
]);

/** Whether the session that the error came from is over, so that nothing more may be sent on it. */
export function isConnectionLoss(error: unknown): boolean {
  const { code, severity } = errorFacts(error);
  return CONNECTION_CODES.has(code) || severity === 'FATAL' || severity === 'PANIC';
}

/** States of the server, or of a lock, that pass. */
const PASSING = new Set([
  '25006', // read only: a standby that was the primary a moment ago
  '25P03', // idle in transaction for too long
  '40001',
  '40P01', // deadlock
  '53200', // out of memory
  '53300', // too many connections
  '53400',
  '55P03', // a lock was not had in time
  '57014', // cancelled, by the server's statement timeout as a rule
  '57P01',
  '57P02',
  '57P03', // the server stops, crashed, starts
  '57P05',
]);

/** No retry mends these. */
const FATAL: ReadonlyMap<string, { readonly code: ErrorCode; readonly what: string }> = new Map([
  ['53100', { code: 'DATABASE_DISK_FULL', what: "the database's disk is full" }],
  ['42501', { code: 'DATABASE_REFUSED', what: 'the database user lacks a permission' }],
  ['28000', { code: 'DATABASE_REFUSED', what: 'the database refused the user' }],
  ['28P01', { code: 'DATABASE_REFUSED', what: 'the database refused the password' }],
  ['3D000', { code: 'DATABASE_REFUSED', what: 'there is no such database' }],
  [
    '3F000',
    { code: 'MIGRATION_FAILED', what: 'the schema longtail is missing: its migrations have not run' },
  ],
  ['42P01', { code: 'MIGRATION_FAILED', what: 'a table is missing: the migrations have not run' }],
  ['42703', { code: 'MIGRATION_FAILED', what: 'a column is missing: the migrations have not run' }],
  // All text is made valid UTF-8 before it is sent: only an encoding that cannot hold it refuses it.
  ['22021', { code: 'DATABASE_NOT_UTF8', what: 'the database cannot store the text' }],
  ['22P05', { code: 'DATABASE_NOT_UTF8', what: 'the database cannot store the text' }],
  ['58030', { code: 'DATABASE_UNAVAILABLE', what: 'the database cannot read or write its files' }],
  ['XX001', { code: 'DATABASE_UNAVAILABLE', what: 'the database says that its data is damaged' }],
  ['XX002', { code: 'DATABASE_UNAVAILABLE', what: 'the database says that an index is damaged' }],
]);

/** What the error means for the run, or undefined when it is a bug and should be thrown on. */
export function toFailure(error: unknown): DatabaseFailure | undefined {
  const facts = errorFacts(error);
  const fatal = FATAL.get(facts.code);
  if (fatal !== undefined)
    return { kind: 'fatal', code: fatal.code, reason: `${fatal.what}: ${facts.message}` };
  if (isConnectionLoss(error) || PASSING.has(facts.code) || facts.code.startsWith('08')) {
    return { kind: 'databaseAway', reason: facts.message };
  }
  return undefined;
}

/** Whether PostgreSQL would not take the rows themselves: a value out of range, a row too large. */
export function isRejection(error: unknown): boolean {
  const { code } = errorFacts(error);
  return /^(22|23|54)...$/.test(code);
}

/** One line without a password: the driver's messages may quote the connection's URL. */
export function oneLine(message: string): string {
  return message
    .replace(/(\w+:\/\/[^:@/\s]*):[^@/\s]*@/g, '$1:***@')
    .replace(/\s+/g, ' ')
    .trim();
}
