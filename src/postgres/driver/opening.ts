import { errorFacts } from '../../domain/error-facts.ts';
import { LongtailError } from '../../domain/errors.ts';
import { lost } from '../../internals/socket.ts';
import type { SessionAttrs } from './database-url.ts';
import { Line, type LineSettings } from './line.ts';
import type { Attempt } from './ways.ts';

/** How to open lines to a database. */
export interface Opening {
  readonly attempts: readonly Attempt[];
  readonly settings: LineSettings;
  readonly sessionAttrs: SessionAttrs;
  /** Per attempt. */
  readonly timeoutMs: number;
}

/**
 * Opens a line by the first route that works, starting with the one that worked last (`remembered`). Like libpq, it tries
 * another server if one is unreachable, starting up or of the wrong kind, but not if it rejects the user. It tries the
 * same server with other encryption if that may be the reason for the failure.
 */
export class LineOpener {
  readonly #opening: Opening;
  #start = 0;

  constructor(opening: Opening) {
    this.#opening = opening;
  }

  /** `greet` sends the session's first query. */
  async open(greet: (line: Line) => Promise<void>, signal: AbortSignal): Promise<Line> {
    const { attempts } = this.#opening;
    const errors: unknown[] = [];
    for (let step = 0; step < attempts.length; step += 1) {
      const place = (this.#start + step) % attempts.length;
      const attempt = attempts[place];
      if (attempt === undefined) break;
      try {
        const line = await this.#try(attempt, greet, signal);
        this.#start = place;
        return line;
      } catch (error) {
        errors.push(error);
        if (signal.aborted) break;
        if (attempt.nextIsSameServer && !mayBeEncryption(error)) step += 1;
        if (isRefusal(error) && !(attempt.nextIsSameServer && mayBeEncryption(error))) break;
      }
    }
    throw errors.find((error) => error instanceof LongtailError) ?? errors[0];
  }

  async #try(attempt: Attempt, greet: (line: Line) => Promise<void>, signal: AbortSignal): Promise<Line> {
    const line = new Line(this.#opening.settings, attempt.way);
    const late = Promise.withResolvers<never>();
    const give = (code: string, reason: string) => (): void => late.reject(lost(code, reason));
    const onAbort = give('CONNECTION_ENDED', 'the connections have been closed');
    const timer = setTimeout(give('CONNECT_TIMEOUT', 'connecting took too long'), this.#opening.timeoutMs);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await Promise.race([this.#greet(line, greet), late.promise]);
      return line;
    } catch (error) {
      line.destroy(lost('ECONNABORTED', 'given up'));
      throw error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    }
  }

  async #greet(line: Line, greet: (line: Line) => Promise<void>): Promise<void> {
    await greet(line);
    const wanted = this.#wanted();
    if (wanted === 'any') return;
    const answer = await line.sql.unsafe<{ standby: boolean; readOnly: boolean }[]>(
      `select pg_catalog.pg_is_in_recovery() as "standby",
        pg_catalog.current_setting('transaction_read_only') = 'on' as "readOnly"`,
    );
    const [state] = answer;
    if (state === undefined || isOfKind(wanted, state)) return;
    throw new LongtailError(
      'DATABASE_REFUSED',
      `No server of the database is ${IN_WORDS[wanted]}, as its URL requires.`,
      'Use the primary’s host, or change target_session_attrs.',
    );
  }

  /** With several servers, the primary unless the URL says otherwise: a standby is of no use. */
  #wanted(): SessionAttrs {
    const { sessionAttrs, attempts } = this.#opening;
    if (sessionAttrs !== 'any' && sessionAttrs !== 'prefer-standby') return sessionAttrs;
    return new Set(attempts.map(({ way }) => way.endpoint)).size > 1 ? 'primary' : 'any';
  }
}

const IN_WORDS: Readonly<Record<SessionAttrs, string>> = {
  any: 'of any kind',
  'read-write': 'writable',
  'read-only': 'read-only',
  primary: 'the primary',
  standby: 'a standby',
  'prefer-standby': 'of any kind',
};

function isOfKind(
  wanted: SessionAttrs,
  { standby, readOnly }: { readonly standby: boolean; readonly readOnly: boolean },
): boolean {
  switch (wanted) {
    case 'read-write':
      return !readOnly;
    case 'read-only':
      return readOnly;
    case 'primary':
      return !standby;
    case 'standby':
      return standby;
    default:
      return true;
  }
}

/** Whether encryption, or its absence, may be the cause: the server's rules say so, or the handshake failed. */
function mayBeEncryption(error: unknown): boolean {
  const { code } = errorFacts(error);
  return /^(?:28000|EPROTO|ECONNRESET|LONGTAIL_NO_TLS|ERR_SSL\w*|ERR_TLS\w*)$/.test(code);
}

/** Whether the server has given a final answer. One that is starting or stopping, or is of another kind, has not. */
function isRefusal(error: unknown): boolean {
  if (error instanceof LongtailError) return error.code !== 'DATABASE_REFUSED';
  const { code, severity } = errorFacts(error);
  return severity !== '' && !/^57P0/.test(code);
}
