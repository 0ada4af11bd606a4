/**
 * What is made of a pool that a host hands in: connections of our own, to the same database by the same way. So the host's
 * queries never wait for ours, and its pool's settings (transforms, types, hooks, lifetimes) never reach them.
 */
import type { Sql } from 'postgres';
import { LongtailError } from '../../domain/errors.ts';
import type { Encryption, Endpoint } from '../../internals/socket.ts';
import { SESSION_ATTRS, type SessionAttrs } from './database-url.ts';
import { isReliedOn } from './session.ts';
import type { Attempt } from './ways.ts';

/** Where connections lead, and with what. */
export interface ServerAddress {
  readonly attempts: readonly Attempt[];
  readonly endpoint: Endpoint;
  readonly user: string;
  readonly password: () => string | Promise<string>;
  readonly database: string;
  readonly sessionAttrs: SessionAttrs;
  readonly startup: Readonly<Record<string, string>>;
}

/** Where a host's pool leads. */
export interface HandedAddress extends ServerAddress {
  /** The host's own, but for what our sessions set: some services are told by them which database is meant. */
  readonly startup: Readonly<Record<string, string>>;
  readonly prepare: boolean;
}

/** Reads the options of a pool of postgres.js (3.4), which are whole. */
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
      'The pool handed in names no host.',
      'Hand in what postgres(url) returned, or give the URL itself.',
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

/** A function where the host has one: it may make tokens that do not last. */
function passwordOf(sql: Sql): () => Promise<string> {
  const pass: unknown = Reflect.get(sql.options, 'pass');
  return async () =>
    String((typeof pass === 'function' ? await Reflect.apply(pass, sql.options, []) : pass) ?? '');
}

/** As the driver takes it: `require` and `allow` check nothing, `prefer` neither, and goes without where it must. */
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

/** Says when a host ends its pool. */
export interface EndWatch {
  readonly ended: Promise<void>;
  stop(): void;
}

/**
 * Listens in on `end` and `close` of a host's pool. Asking it now and then would open connections in it that the host does
 * not need, and the driver ends the whole process when one of those breaks while it opens (`fetch_types`).
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
    // Where the host has frozen its pool this does nothing, and nothing is lost.
    Reflect.set(sql, name, listening);
    return () => {
      // Somebody may have done the same after us.
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
