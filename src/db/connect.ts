import postgres, { type Sql } from 'postgres';
import { LongtailError } from '../errors.ts';
import { errorFacts, isConnectionLoss, toFailure } from './failure.ts';
import { socketFactory } from './socket.ts';

/** A checked way to a PostgreSQL that Longtail can work with. */
export interface Database {
  readonly sql: Sql;
  /** False for a connection that the host handed in: it is never closed here. */
  readonly ownsConnection: boolean;
  /** Whether something stands between us and the server (PgBouncer, a cloud's pooler). */
  readonly pooled: boolean;
  /** Whether one connection may be held for as long as the process lives. */
  readonly maySpareConnection: boolean;
  /** Closes what this opened; waits up to `timeoutMs` (5,000) for queries under way. */
  close(options?: { readonly timeoutMs?: number }): Promise<void>;
}

export interface ConnectOptions {
  /** Connections needed at once: one for the lock, one for reading, one for each concurrent writer. */
  readonly max: number;
  /** Shown in `pg_stat_activity`. */
  readonly applicationName: string;
  /** Prepared statements. Without an answer: not through a pooler, which may give each transaction another session. */
  readonly prepare?: boolean;
  /** Who asked has given up: what is being opened is closed. */
  readonly signal?: AbortSignal;
}

/** Below, every connection is needed for work. */
const LEAST_WITH_PRESENCE = 3;
const OLDEST_VERSION = 140_000;
const CONNECT_TIMEOUT_SECONDS = 10;
const IDLE_TIMEOUT_SECONDS = 60;
/** Between two attempts of one connection; whoever asks for it has a patience of his own. */
const RECONNECT_SECONDS = 0.2;

/** Parameters that other clients read from the URL, and that PostgreSQL would refuse as settings. */
const FOREIGN_PARAMETERS = ['pgbouncer', 'schema', 'connection_limit', 'pool_timeout', 'channel_binding'];

/**
 * Opens a pool to a URL, or takes the host's own, and checks what Longtail stands on: PostgreSQL 14, UTF-8, writable,
 * enough connections. Rejects with a LongtailError that names the next step and never the password.
 */
export async function connect(target: string | Sql, options: ConnectOptions): Promise<Database> {
  if (typeof target !== 'string') return connectHanded(target, options);

  const url = readUrl(target);
  const asked = options.prepare ?? (url.searchParams.get('pgbouncer') === 'true' ? false : undefined);
  for (const name of FOREIGN_PARAMETERS) url.searchParams.delete(name);

  // Without prepared statements until it is known whether a pooler is in the way.
  const first = open(url.href, { ...options, max: 1, prepare: false });
  let pooled: boolean;
  const giveUp = (): void => void first.end({ timeout: 0 });
  options.signal?.addEventListener('abort', giveUp, { once: true });
  try {
    pooled = await checkServer(first);
  } finally {
    options.signal?.removeEventListener('abort', giveUp);
    await first.end({ timeout: 1 });
  }
  const sql = open(url.href, { ...options, prepare: asked ?? !pooled });
  return {
    sql,
    ownsConnection: true,
    pooled,
    maySpareConnection: !pooled && options.max >= LEAST_WITH_PRESENCE,
    close: ({ timeoutMs = 5_000 } = {}) => sql.end({ timeout: timeoutMs / 1_000 }),
  };
}

async function connectHanded(sql: Sql, { max }: ConnectOptions): Promise<Database> {
  if (sql.options.max < max) {
    throw new LongtailError(
      'POOL_TOO_SMALL',
      `The connection handed in has ${sql.options.max} connections; ${max} are needed.`,
      `Make it with postgres(url, { max: ${max} }) or more, or lower maxConcurrency.`,
    );
  }
  const pooled = await checkServer(sql);
  const maySpareConnection = !pooled && sql.options.max >= LEAST_WITH_PRESENCE;
  return { sql, ownsConnection: false, pooled, maySpareConnection, close: async () => {} };
}

function open(url: string, options: ConnectOptions): Sql {
  // The driver's types leave `socket` out.
  const settings: postgres.Options<Record<string, never>> & { socket: ReturnType<typeof socketFactory> } = {
    max: options.max,
    prepare: options.prepare ?? true,
    // No arrays are sent or read: one query less for each connection.
    fetch_types: false,
    connect_timeout: CONNECT_TIMEOUT_SECONDS,
    idle_timeout: IDLE_TIMEOUT_SECONDS,
    // The driver's own grows to 20 s, for connections that are asked for long after the server is back, too.
    backoff: () => RECONNECT_SECONDS,
    onnotice: () => {},
    socket: socketFactory(),
    connection: { application_name: options.applicationName },
  };
  return postgres(url, settings);
}

function readUrl(target: string): URL {
  try {
    const url = new URL(target);
    if (url.protocol === 'postgres:' || url.protocol === 'postgresql:') return url;
  } catch {
    // Fall through: the parser's own error quotes the URL, and with it the password.
  }
  throw new LongtailError(
    'BAD_OPTION',
    'The database URL is not one of PostgreSQL.',
    'Write it as postgres://user:password@host:5432/database; percent-encode special characters in the password.',
  );
}

interface ServerFacts {
  readonly versionNumber: number;
  readonly version: string;
  readonly encoding: string;
  readonly readOnly: boolean;
  readonly backendPid: number;
  readonly user: string;
  readonly installed: boolean;
  readonly mayWrite: boolean;
}

/** Refuses a server that cannot be used. Returns whether a pooler stands in between. */
async function checkServer(sql: Sql): Promise<boolean> {
  let facts: ServerFacts | undefined;
  let pooled = false;
  try {
    const answer = await sql<ServerFacts[]>`
      select current_setting('server_version_num')::int as "versionNumber",
        current_setting('server_version') as "version",
        (select pg_encoding_to_char(encoding) from pg_database where datname = current_database()) as "encoding",
        pg_is_in_recovery() as "readOnly",
        pg_backend_pid() as "backendPid",
        current_user::text as "user",
        fact.oid is not null as "installed",
        coalesce(has_schema_privilege(fact.relnamespace, 'usage') and has_table_privilege(fact.oid, 'insert'), false)
          as "mayWrite"
      from (select) as always left join (
        select c.oid, c.relnamespace from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'longtail' and c.relname = 'fact'
      ) fact on true`.simple();
    facts = answer[0];
    // A pooler hands out a process id of its own for cancelling.
    pooled = facts !== undefined && answer.state?.pid !== facts.backendPid;
  } catch (error) {
    throw connectError(sql, error);
  }
  const where = place(sql);
  if (facts?.versionNumber === undefined) {
    throw new LongtailError(
      'DATABASE_REFUSED',
      'The connection handed in renames the columns of results (its `transform` option).',
      'Hand in a connection without a transform of column names to PascalCase, or give a database URL.',
    );
  }
  if (facts.versionNumber < OLDEST_VERSION) {
    throw new LongtailError(
      'DATABASE_TOO_OLD',
      `${where} is PostgreSQL ${facts.version}; 14 or newer is needed.`,
      'Upgrade the server, or give another database.',
    );
  }
  if (facts.encoding !== 'UTF8') {
    throw new LongtailError(
      'DATABASE_NOT_UTF8',
      `${where} stores text as ${facts.encoding}; queries come in every script, and need UTF8.`,
      "Create a database for it: CREATE DATABASE longtail ENCODING 'UTF8' TEMPLATE template0;",
    );
  }
  if (facts.readOnly) {
    throw new LongtailError(
      'DATABASE_REFUSED',
      `${where} is a read-only replica.`,
      'Give the URL of the primary.',
    );
  }
  if (facts.installed && !facts.mayWrite) {
    throw new LongtailError(
      'DATABASE_REFUSED',
      `The user ${facts.user} may not write to the schema longtail of ${where}.`,
      `As its owner: GRANT USAGE ON SCHEMA longtail TO "${facts.user}"; GRANT ALL ON ALL TABLES IN SCHEMA longtail TO "${facts.user}";`,
    );
  }
  return pooled;
}

/** The database in words, without user or password: `database longtail on localhost:5432`. */
export function place(sql: Sql): string {
  const { host, port, database, path } = sql.options;
  const server = typeof path === 'string' ? path : `${host[0] ?? 'localhost'}:${port[0] ?? 5432}`;
  return `database ${database} on ${server}`;
}

/** A failure of the database as an error for the user; a bug stays what it is. */
export function asLongtailError(sql: Sql, error: unknown): unknown {
  return toFailure(error) === undefined ? error : connectError(sql, error);
}

/** Whatever a first query can fail with, as an error for the user. */
export function connectError(sql: Sql, error: unknown): LongtailError {
  if (error instanceof LongtailError) return error;
  const { code, message } = errorFacts(error);
  const where = place(sql);
  if (/^(28...|3D000|42501)$/.test(code)) {
    return new LongtailError(
      'DATABASE_REFUSED',
      `The ${where} refused the connection: ${message}`,
      'Check user, password and database name in the URL.',
      { cause: error },
    );
  }
  if (code === '53300') {
    return new LongtailError(
      'DATABASE_UNAVAILABLE',
      `The ${where} has no connection left: ${message}`,
      "Close other clients, raise the server's max_connections, or lower the concurrency.",
      { cause: error },
    );
  }
  const nextStep = isConnectionLoss(error)
    ? 'Check that the server runs and that host and port are right.'
    : "Look into the server's log, and check the URL's parameters (sslmode).";
  return new LongtailError('DATABASE_UNAVAILABLE', `The ${where} does not answer: ${message}`, nextStep, {
    cause: error,
  });
}
