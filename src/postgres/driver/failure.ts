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

/** Whether the session that the error came from is over, so that nothing more may be sent on it. */
export function isConnectionLoss(error: unknown): boolean {
  const { code, severity } = errorFacts(error);
  return CONNECTION_CODES.has(code) || severity === 'FATAL' || severity === 'PANIC';
}

/**
 * States of the server, the session or a lock that pass, by class and by code. What is not known by its code is taken for
 * a bug: so each class is whole that speaks of the server's state and not of what it was asked.
 */
const PASSING = [
  /^08/, // the connection
  /^40/, // rolled back: a deadlock, a serialization failure
  /^53/, // out of memory, too many connections
  /^57/, // cancelled by a person, shut down, crashed, starting
  /^0A000$/, // a plan that somebody's ALTER TABLE has outdated: the next one is made anew
  /^(26000|42P05)$/, // a prepared statement that a pooler's other session has, or has not
  /^55006$/, // an object in use
  /^XX000$/, // an internal error: "tuple concurrently updated", or a pooler's own troubles
];

/** Ended by a setting: of the statement, the transaction, the idle transaction, the idle session. */
const ENDED_BY_SETTING = new Set(['57014', '25P03', '25P04', '57P05']);
const READ_ONLY = '25006';
const LOCK_NOT_AVAILABLE = '55P03';

interface FatalState {
  readonly code: ErrorCode;
  readonly what: string;
  /** What the user can do. */
  readonly nextStep: string;
}

const GOES_ON = 'then run again: it goes on where it stopped.';
const LOOK = `Look into the database server’s log, ${GOES_ON}`;
const IN_UTF8 =
  "Create a database for it: CREATE DATABASE longtail ENCODING 'UTF8' TEMPLATE template0; and give its URL.";
const MAKES_THEM = 'Run again: the tables are made anew, and what is missing is fetched.';

/** No retry mends these. */
const FATAL: ReadonlyMap<string, FatalState> = new Map<string, FatalState>([
  [
    '53100',
    {
      code: 'DATABASE_DISK_FULL',
      what: "the database's disk is full",
      nextStep: `Free space on the database’s disk, ${GOES_ON}`,
    },
  ],
  [
    '42501',
    {
      code: 'DATABASE_REFUSED',
      what: 'the database user lacks a permission',
      nextStep: `As the owner of the schema: GRANT USAGE ON SCHEMA longtail TO the user, GRANT ALL ON ALL TABLES IN SCHEMA longtail TO the user; ${GOES_ON}`,
    },
  ],
  [
    '28000',
    {
      code: 'DATABASE_REFUSED',
      what: 'the database refused the user',
      nextStep: `Let the role log in again, or give the URL of another user; ${GOES_ON}`,
    },
  ],
  [
    '55000',
    {
      code: 'DATABASE_REFUSED',
      what: 'the database does not take this in the state its tables are in',
      nextStep: `Change what the message names; ${GOES_ON}`,
    },
  ],
  [
    '28P01',
    {
      code: 'DATABASE_REFUSED',
      what: 'the database refused the password',
      nextStep: `Give the URL with the present password; ${GOES_ON}`,
    },
  ],
  [
    '3D000',
    {
      code: 'DATABASE_REFUSED',
      what: 'there is no such database',
      nextStep: 'Make it again, or give the URL of another; what is missing there is fetched.',
    },
  ],
  ['3F000', { code: 'MIGRATION_FAILED', what: 'the schema longtail is gone', nextStep: MAKES_THEM }],
  ['42P01', { code: 'MIGRATION_FAILED', what: "a table of Longtail's is missing", nextStep: MAKES_THEM }],
  [
    '42703',
    {
      code: 'MIGRATION_FAILED',
      what: "a column of Longtail's is missing",
      nextStep:
        'Put it back as it was, or drop the schema longtail: the next run makes it anew, and fetches all.',
    },
  ],
  // All text is made valid UTF-8 before it is sent: only an encoding that cannot hold it refuses it.
  ['22021', { code: 'DATABASE_NOT_UTF8', what: 'the database cannot store the text', nextStep: IN_UTF8 }],
  ['22P05', { code: 'DATABASE_NOT_UTF8', what: 'the database cannot store the text', nextStep: IN_UTF8 }],
  [
    '58030',
    { code: 'DATABASE_UNAVAILABLE', what: 'the database cannot read or write its files', nextStep: LOOK },
  ],
  [
    'XX001',
    { code: 'DATABASE_UNAVAILABLE', what: 'the database says that its data is damaged', nextStep: LOOK },
  ],
  [
    'XX002',
    { code: 'DATABASE_UNAVAILABLE', what: 'the database says that an index is damaged', nextStep: LOOK },
  ],
]);

/** What the error means for the run, or undefined when it is a bug and should be thrown on. */
export function toFailure(error: unknown): DatabaseFailure | undefined {
  const facts = errorFacts(error);
  const fatal = FATAL.get(facts.code);
  if (fatal !== undefined) {
    const { code, what, nextStep } = fatal;
    return { kind: 'fatal', code, reason: `${what}: ${facts.message}`, nextStep };
  }
  // Of the class of a row that is too large, and not the row's fault.
  if (facts.code === '54000' && /wraparound/i.test(facts.message)) {
    return { kind: 'fatal', code: 'DATABASE_UNAVAILABLE', reason: facts.message, nextStep: LOOK };
  }
  const away = { kind: 'databaseAway', reason: facts.message } as const;
  // Before all else: some of them end the session, too.
  if (isBySetting(facts)) return { ...away, cause: 'timeout' };
  if (facts.code === READ_ONLY) return { ...away, cause: 'readOnly' };
  if (facts.code === LOCK_NOT_AVAILABLE) return { ...away, cause: 'locked' };
  if (isConnectionLoss(error) || PASSING.some((codes) => codes.test(facts.code))) return away;
  return undefined;
}

/** A person's cancel has the code of the statement's timeout, and other words: in English, that is. */
function isBySetting({ code, message }: ErrorFacts): boolean {
  return ENDED_BY_SETTING.has(code) && !(code === '57014' && /user request/i.test(message));
}

/** Whether the transaction, the session or the server may not write. */
export const isReadOnly = (error: unknown): boolean => errorFacts(error).code === READ_ONLY;

/** Whether PostgreSQL would not take the rows themselves: a value out of range, a row too large, a trigger of the host's. */
export function isRejection(error: unknown): boolean {
  const { code } = errorFacts(error);
  return /^(22|23|44|54|P0)...$/.test(code);
}
