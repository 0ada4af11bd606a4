import { type ErrorFacts, errorFacts } from '../../domain/error-facts.ts';
import type { ErrorCode } from '../../domain/errors.ts';
import type { DatabaseFailure } from '../../store/types.ts';

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

/** Whether the session has ended, so that nothing more may be sent on it. */
export function isConnectionLoss(error: unknown): boolean {
  const { code, severity } = errorFacts(error);
  return CONNECTION_CODES.has(code) || severity === 'FATAL' || severity === 'PANIC';
}

/**
 * Temporary states of the server, the session or a lock, by SQLSTATE class or code. An unknown code counts as a bug. So
 * classes that describe the server's state, rather than the statement, are included whole.
 */
const PASSING = [
  /^08/, // the connection
  /^40/, // rolled back: a deadlock or a serialization failure
  /^53/, // out of memory, too many connections
  /^57/, // cancelled by a person, shutting down, crashed, starting up
  /^0A000$/, // a cached plan that an ALTER TABLE has invalidated: the next attempt makes a new one
  /^(26000|42P05)$/, // a prepared statement that is missing from, or already in, a pooler's other session
  /^55006$/, // an object in use
  /^XX000$/, // an internal error: "tuple concurrently updated", or a pooler's own failure
];

/** Ended by a timeout of the statement, the idle transaction, the transaction or the idle session. */
const ENDED_BY_SETTING = new Set(['57014', '25P03', '25P04', '57P05']);
const READ_ONLY = '25006';
const LOCK_NOT_AVAILABLE = '55P03';

interface FatalState {
  readonly code: ErrorCode;
  readonly what: string;
  /** What the user can do. */
  readonly nextStep: string;
}

const RESUMES = 'then run again: it resumes where it stopped.';
const LOOK = `Check the database server’s log, ${RESUMES}`;
const IN_UTF8 =
  "Create a database for it: CREATE DATABASE longtail ENCODING 'UTF8' TEMPLATE template0; and use its URL.";
const MAKES_THEM = 'Run again: it creates the tables again and fetches what is missing.';

/** Retries cannot fix these. */
const FATAL: ReadonlyMap<string, FatalState> = new Map<string, FatalState>([
  [
    '53100',
    {
      code: 'DATABASE_DISK_FULL',
      what: "the database's disk is full",
      nextStep: `Free space on the database’s disk, ${RESUMES}`,
    },
  ],
  [
    '42501',
    {
      code: 'DATABASE_REFUSED',
      what: 'the database user lacks a permission',
      nextStep: `As the owner of the schema, run: GRANT USAGE ON SCHEMA longtail TO the user, GRANT ALL ON ALL TABLES IN SCHEMA longtail TO the user; ${RESUMES}`,
    },
  ],
  [
    '28000',
    {
      code: 'DATABASE_REFUSED',
      what: 'the database refused the user',
      nextStep: `Allow the role to log in again, or use the URL of another user; ${RESUMES}`,
    },
  ],
  [
    '55000',
    {
      code: 'DATABASE_REFUSED',
      what: 'the state of the database’s tables prevents this',
      nextStep: `Change what the message names, ${RESUMES}`,
    },
  ],
  [
    '28P01',
    {
      code: 'DATABASE_REFUSED',
      what: 'the database refused the password',
      nextStep: `Use a URL with the current password; ${RESUMES}`,
    },
  ],
  [
    '3D000',
    {
      code: 'DATABASE_REFUSED',
      what: 'the database does not exist',
      nextStep: 'Create it again, or use the URL of another one. What is missing there is fetched.',
    },
  ],
  ['3F000', { code: 'MIGRATION_FAILED', what: 'the schema longtail is gone', nextStep: MAKES_THEM }],
  ['42P01', { code: 'MIGRATION_FAILED', what: 'a table of Longtail is missing', nextStep: MAKES_THEM }],
  [
    '42703',
    {
      code: 'MIGRATION_FAILED',
      what: 'a column of Longtail is missing',
      nextStep:
        'Restore it, or drop the schema longtail: the next run creates it again and fetches everything.',
    },
  ],
  // All text is valid UTF-8 when it is sent: only a database with another encoding rejects it.
  ['22021', { code: 'DATABASE_NOT_UTF8', what: 'the database cannot store the text', nextStep: IN_UTF8 }],
  ['22P05', { code: 'DATABASE_NOT_UTF8', what: 'the database cannot store the text', nextStep: IN_UTF8 }],
  [
    '58030',
    { code: 'DATABASE_UNAVAILABLE', what: 'the database cannot read or write its files', nextStep: LOOK },
  ],
  ['XX001', { code: 'DATABASE_UNAVAILABLE', what: 'the database reports damaged data', nextStep: LOOK }],
  ['XX002', { code: 'DATABASE_UNAVAILABLE', what: 'the database reports a damaged index', nextStep: LOOK }],
]);

/** What the error means for the run. Undefined: it is a bug and should be rethrown. */
export function toFailure(error: unknown): DatabaseFailure | undefined {
  const facts = errorFacts(error);
  const fatal = FATAL.get(facts.code);
  if (fatal !== undefined) {
    const { code, what, nextStep } = fatal;
    return { kind: 'fatal', code, reason: `${what}: ${facts.message}`, nextStep };
  }
  // In the class of rows that are too large, but not caused by the row.
  if (facts.code === '54000' && /wraparound/i.test(facts.message)) {
    return { kind: 'fatal', code: 'DATABASE_UNAVAILABLE', reason: facts.message, nextStep: LOOK };
  }
  const away = { kind: 'databaseAway', reason: facts.message } as const;
  // First, because some of these also end the session.
  if (isBySetting(facts)) return { ...away, cause: 'timeout' };
  if (facts.code === READ_ONLY) return { ...away, cause: 'readOnly' };
  if (facts.code === LOCK_NOT_AVAILABLE) return { ...away, cause: 'locked' };
  if (isConnectionLoss(error) || PASSING.some((codes) => codes.test(facts.code))) return away;
  return undefined;
}

/** A manual cancel has the same code as a statement timeout. Only the message differs, and only in English is it recognised. */
function isBySetting({ code, message }: ErrorFacts): boolean {
  return ENDED_BY_SETTING.has(code) && !(code === '57014' && /user request/i.test(message));
}

/** Whether the transaction, the session or the server may not write. */
export const isReadOnly = (error: unknown): boolean => errorFacts(error).code === READ_ONLY;

/** Whether PostgreSQL rejected the rows themselves: a value out of range, a row too large, a host's trigger. */
export function isRejection(error: unknown): boolean {
  const { code } = errorFacts(error);
  return /^(22|23|44|54|P0)...$/.test(code);
}
