/**
 * Derives Longtail's own connections from a pool that the host passes in: to the same database, by the same route. So the
 * host's queries never wait for Longtail's, and the pool's settings (transforms, types, hooks, lifetimes) do not affect them.
 */
import type { Sql } from 'postgres';
import { LongtailError } from '../../domain/errors.ts';
import type { Encryption, Endpoint } from '../../internals/socket.ts';
import { SESSION_ATTRS, type SessionAttrs } from './database-url.ts';
import { isReliedOn } from './session.ts';
import type { Attempt } from './ways.ts';

/** Where connections go, and with which settings. */
export interface ServerAddress {
  readonly attempts: readonly Attempt[];
  readonly endpoint: Endpoint;
  readonly user: string;
  readonly password: () => string | Promise<string>;
  readonly database: string;
  readonly sessionAttrs: SessionAttrs;
  readonly startup: Readonly<Record<string, string>>;
}

/** Where a host's pool connects to. */
export interface HandedAddress extends ServerAddress {
  /** The host's startup parameters, except those that Longtail sets. Some services read from them which database is meant. */
  readonly startup: Readonly<Record<string, string>>;
  readonly prepare: boolean;
}

/** Reads the options of a postgres.js (3.4) pool, in which defaults are already filled in. */
export function addressOf(sql: Sql): HandedAddress {
  const { host, port, path, database, user, prepare, connection } = sql.options;
  const endpoints: Endpoint[] =
    typeof path === 'string' && path !== ''
      ? [{ kind: 'socket', path, port: port[0] ?? 5432 }]
      : host.map((name, place) => ({ kind: 'tcp', host: name, port: port[place] ?? port[0] ?? 5432 }));
  const [endpoint] = endpoints;
  if (endpoint === undefined) {
    throw new LongtailError(
      'BAD_OPTION',
      'The pool passed in names no host.',
      'Pass what postgres(url) returned, or the URL itself.',
    );
  }
  const socket: unknown = Reflect.get(sql.options, 'socket');
  const dial =
    typeof socket === 'function' ? (): unknown => Reflect.apply(socket, undefined, [sql.options]) : undefined;
  const encryption = encryptionOf(
    Reflect.get(sql.options, 'ssl'),
    Reflect.get(sql.options, 'sslnegotiation'),
  );
  const attempts = (dial === undefined ? endpoints : [endpoint]).map(
    (one): Attempt => ({ way: { endpoint: one, encryption, dial }, nextIsSameServer: false }),
  );
  const attrs: unknown = sql.options.target_session_attrs;
  return {
    attempts,
    endpoint,
    user,
    password: passwordOf(sql),
    database,
    sessionAttrs: SESSION_ATTRS.find((known) => known === attrs) ?? 'any',
    startup: startupOf(connection),
    prepare: prepare !== false,
  };
}

/** The host's function if it has one: it may issue short-lived tokens. */
function passwordOf(sql: Sql): () => Promise<string> {
  const pass: unknown = Reflect.get(sql.options, 'pass');
  return async () =>
    String((typeof pass === 'function' ? await Reflect.apply(pass, sql.options, []) : pass) ?? '');
}

/** As the driver interprets it: `require`, `allow` and `prefer` verify nothing; `prefer` falls back to plain text. */
function encryptionOf(ssl: unknown, negotiation: unknown): Encryption | undefined {
  if (ssl === undefined || ssl === null || ssl === false || ssl === '') return undefined;
  const checksNothing = ssl === 'require' || ssl === 'allow' || ssl === 'prefer';
  return {
    need: ssl === 'prefer' ? 'ifOffered' : 'always',
    negotiation: negotiation === 'direct' ? 'direct' : 'postgres',
    options: checksNothing ? { rejectUnauthorized: false } : typeof ssl === 'object' ? { ...ssl } : {},
  };
}

function startupOf(connection: object): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(connection)
      .filter(
        ([name, value]) =>
          value !== undefined && value !== null && name !== 'replication' && !isReliedOn(name),
      )
      .map(([name, value]) => [name, String(value)]),
  );
}

/** Reports when a host ends its pool. */
export interface EndWatch {
  readonly ended: Promise<void>;
  stop(): void;
}

/**
 * Wraps `end` and `close` of a host's pool. Polling the pool instead would open connections that the host does not need,
 * and the driver ends the whole process if one of those breaks while it opens (`fetch_types`).
 */
export function watchEnd(sql: Sql): EndWatch {
  const ended = Promise.withResolvers<void>();
  const stops = (['end', 'close'] as const).map((name) => {
    const theirs: unknown = Reflect.get(sql, name);
    if (typeof theirs !== 'function') return () => undefined;
    const listening = (...args: unknown[]): unknown => {
      ended.resolve();
      return Reflect.apply(theirs, sql, args);
    };
    // If the host has frozen its pool, this has no effect, which is harmless.
    Reflect.set(sql, name, listening);
    return () => {
      // Other code may have wrapped it after this.
      if (Reflect.get(sql, name) === listening) Reflect.set(sql, name, theirs);
    };
  });
  return {
    ended: ended.promise,
    stop: () => {
      for (const stop of stops) stop();
    },
  };
}
