import postgres, { type Sql } from 'postgres';
import { errorFacts } from '../../domain/error-facts.ts';
import { LongtailError } from '../../domain/errors.ts';
import { parseDatabaseUrl } from '../driver/database-url.ts';
import { isConnectionLoss } from '../driver/failure.ts';
import { addressOf, type EndWatch, type ServerAddress, watchEnd } from '../driver/handed-pool.ts';
import { identifier } from '../driver/identifier.ts';
import type { Line } from '../driver/line.ts';
import { isNoRoom } from '../driver/no-room.ts';
import { LineOpener } from '../driver/opening.ts';
import { type OwnPool, ownPool } from '../driver/own-pool.ts';
import { passwordFromFile } from '../driver/pass-file.ts';
import { Pool, type PoolTimes } from '../driver/pool.ts';
import { SETTINGS_OF_SESSION } from '../driver/session.ts';
import { waysTo } from '../driver/ways.ts';
import { one } from './answer.ts';
import { isPool, whyNoDatabase } from './database-option.ts';
import { surroundingsOf } from './surroundings.ts';

/** A checked connection to a PostgreSQL server that Longtail can work with. */
export interface Database {
  /** Queries and transactions on Longtail's own connections. No other part of the driver's pool API works here. */
  readonly sql: Sql;
  /** Whether there is a pooler between Longtail and the server (PgBouncer, a cloud provider's pooler). */
  readonly pooled: boolean;
  /** Whether one connection may be reserved for long: the session is ours, and two remain for the work. */
  readonly maySpareConnection: boolean;
  /** Resolves when the host ends the pool that it passed in. Never resolves without such a pool. */
  readonly hostEnded: Promise<void>;
  /** Closes what this call opened. Waits up to `timeoutMs` (milliseconds, default 5,000) for running queries. */
  close(options?: { readonly timeoutMs?: number }): Promise<void>;
}

export interface ConnectOptions {
  /** Maximum connections: one per concurrent writer, and one for everything else. */
  readonly max: number;
  /** Shown in `pg_stat_activity` unless the URL sets another name. */
  readonly applicationName: string;
  /** Whether to use prepared statements. By default: unless a pooler is in between, which may switch sessions per transaction. */
  readonly prepare?: boolean;
  /** Aborted when the caller has given up. Connections being opened are then closed. */
  readonly signal?: AbortSignal;
  /** Environment variables that complete the URL. @default process.env */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly times?: PoolTimes;
}

const OLDEST_VERSION = 140_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** Minimum pool size at which one connection can be reserved. */
const MIN_TO_SPARE_ONE = 3;

/**
 * Opens a pool to a URL, or to the server of the host's own pool, and checks the requirements: PostgreSQL 14, UTF-8,
 * writable. Rejects with a LongtailError that names the next step and never the password.
 *
 * All callers that pass in the same pool share the connections made from it: at most as many as the pool's own `max`.
 */
export async function connect(target: string | Sql, options: ConnectOptions): Promise<Database> {
  if (typeof target === 'string') {
    const plan = await planOfUrl(target, options);
    const opened = openPool(plan, options.max, options);
    const giveUp = (): void => void opened.pool.close(0);
    options.signal?.addEventListener('abort', giveUp, { once: true });
    try {
      await opened.ready;
    } catch (error) {
      await opened.pool.close(0);
      throw connectError(opened.own.sql, error);
    } finally {
      options.signal?.removeEventListener('abort', giveUp);
    }
    return databaseOf(opened, options.max, NEVER, ({ timeoutMs = 5_000 } = {}) =>
      opened.pool.close(timeoutMs),
    );
  }
  const inside = opened.get(target);
  // One of Longtail's own pools: it stays open.
  if (inside !== undefined) return databaseOf(inside, options.max, NEVER, async () => {});
  return await share(target, options);
}

const NEVER = new Promise<never>(() => {});

/** One of Longtail's own pools, and what is known about its server. */
interface OpenedPool {
  readonly own: OwnPool;
  readonly pool: Pool<Line>;
  /** Resolves when the server has been checked. */
  readonly ready: Promise<void>;
  isPooled(): boolean;
}

/** Longtail's own pools, by the facade that callers see. */
const opened = new WeakMap<object, OpenedPool>();

function databaseOf(
  { own, isPooled }: OpenedPool,
  max: number,
  hostEnded: Promise<void>,
  close: Database['close'],
): Database {
  const pooled = isPooled();
  return { sql: own.sql, pooled, maySpareConnection: !pooled && max >= MIN_TO_SPARE_ONE, hostEnded, close };
}

/** The connections made from one pool that was passed in, and their users. */
interface Shared {
  readonly opened: OpenedPool;
  readonly watch: EndWatch;
  /** How many connections each user asked for. */
  readonly users: Set<{ readonly max: number }>;
}

const shared = new WeakMap<Sql, Shared>();

async function share(target: Sql, options: ConnectOptions): Promise<Database> {
  if (!isPool(target)) throw whyNoDatabase(target);
  const most = Math.max(1, target.options.max);
  let entry = shared.get(target);
  if (entry === undefined || entry.opened.pool.isClosed) {
    const pool = openPool(planOfPool(target, options), Math.min(most, options.max), options);
    entry = { opened: pool, watch: watchEnd(target), users: new Set() };
    shared.set(target, entry);
  }
  const { users, watch, opened: pool } = entry;
  const user = { max: options.max };
  const resize = (): void => {
    const wanted = [...users].reduce((sum, { max }) => sum + max, 0);
    pool.pool.resize(Math.min(most, wanted));
  };
  const leave = async (timeoutMs: number): Promise<void> => {
    if (!users.delete(user)) return;
    if (users.size > 0) return resize();
    watch.stop();
    await pool.pool.close(timeoutMs);
  };
  users.add(user);
  resize();
  try {
    await pool.ready;
  } catch (error) {
    await leave(0);
    throw isNoRoom(error) ? noRoomBeside(pool.own.sql, error) : connectError(pool.own.sql, error);
  }
  return databaseOf(pool, most, watch.ended, ({ timeoutMs = 5_000 } = {}) => leave(timeoutMs));
}

function noRoomBeside(sql: Sql, error: unknown): LongtailError {
  return new LongtailError(
    'POOL_TOO_SMALL',
    `The ${place(sql)} allows no connections besides those of the pool passed in: ${errorFacts(error).message}`,
    "Longtail opens its own connections, at most as many as the pool's max. Raise the server's or the role's limit, or lower the pool's max.",
    { cause: error },
  );
}

/** How a pool opens its connections. */
interface Plan extends ServerAddress {
  /** Undefined: decided once it is known whether a pooler is in between. */
  readonly prepare: boolean | undefined;
  readonly timeoutMs: number;
}

async function planOfUrl(target: string, options: ConnectOptions): Promise<Plan> {
  const address = parseDatabaseUrl(target, surroundingsOf(target, options.environment));
  const [endpoint] = address.endpoints;
  if (endpoint === undefined) throw new Error('a server address without an endpoint');
  const password = address.password === '' ? await passwordFromFile(address) : address.password;
  return {
    attempts: await waysTo(address),
    endpoint,
    user: address.user,
    password: () => password,
    database: address.database,
    sessionAttrs: address.sessionAttrs,
    startup: {
      application_name: address.applicationName ?? options.applicationName,
      ...(address.options === undefined ? {} : { options: address.options }),
    },
    prepare: options.prepare ?? (address.mayPrepare ? undefined : false),
    timeoutMs: address.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
  };
}

function planOfPool(target: Sql, options: ConnectOptions): Plan {
  const address = addressOf(target);
  return {
    ...address,
    startup: { ...address.startup, application_name: options.applicationName },
    prepare: options.prepare ?? (address.prepare ? undefined : false),
    timeoutMs: CONNECT_TIMEOUT_MS,
  };
}

function openPool(plan: Plan, max: number, { times }: ConnectOptions): OpenedPool {
  const { endpoint, attempts, sessionAttrs, timeoutMs, password, startup } = plan;
  const template = postgres({
    host: 'localhost',
    port: endpoint.port,
    // The driver opens nothing with this: it only appears in error messages.
    path: endpoint.kind === 'socket' ? endpoint.path : `${endpoint.host}:${endpoint.port}`,
    user: plan.user,
    database: plan.database,
    password: 'unused',
    max,
    prepare: plan.prepare ?? true,
    // Longtail neither sends nor reads arrays. This saves a query per connection.
    fetch_types: false,
    // Without a value, the driver would read the environment's, which may be one that it does not support.
    target_session_attrs: 'primary',
    onnotice: () => {},
    connection: {},
  });
  let pooled: boolean | undefined;
  const opener = new LineOpener({
    attempts,
    sessionAttrs,
    timeoutMs,
    settings: { template, password, startup, prepare: () => plan.prepare ?? pooled === false },
  });
  const greet = async (line: Line): Promise<void> => {
    pooled ??= await checkServer(line.sql, place(template));
    // Through a pooler, settings would reach other clients, and would be lost after the transaction.
    await line.sql.unsafe(pooled ? 'select 1' : SETTINGS_OF_SESSION);
    template.options.prepare = line.sql.options.prepare = plan.prepare ?? !pooled;
  };
  const pool = new Pool<Line>(max, (signal) => opener.open(greet, signal), times);
  const own = ownPool(template, pool, () => pooled === true);
  const ready = pool.take().then((line) => pool.give(line));
  // Every caller that awaits it gets the error.
  ready.catch(() => undefined);
  const made: OpenedPool = { own, pool, ready, isPooled: () => pooled === true };
  opened.set(own.sql, made);
  return made;
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

/** Throws if the server cannot be used. Returns whether a pooler is in between. */
async function checkServer(sql: Sql, where: string): Promise<boolean> {
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
  const facts = one(answer);
  if (facts.versionNumber < OLDEST_VERSION) {
    throw new LongtailError(
      'DATABASE_TOO_OLD',
      `${where} runs PostgreSQL ${facts.version}; 14 or newer is required.`,
      'Upgrade the server, or use another database.',
    );
  }
  if (facts.encoding !== 'UTF8') {
    throw new LongtailError(
      'DATABASE_NOT_UTF8',
      `${where} stores text as ${facts.encoding}. Search queries come in every script and need UTF8.`,
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
      `As its owner, run: GRANT USAGE ON SCHEMA longtail TO ${identifier(facts.user)}; GRANT ALL ON ALL TABLES IN SCHEMA longtail TO ${identifier(facts.user)};`,
    );
  }
  // A pooler reports a process id of its own for cancelling.
  return answer.state?.pid !== facts.backendPid;
}

/** Describes the database without user or password: `database longtail on localhost:5432`. */
export function place(sql: Sql): string {
  const { host, port, database, path } = sql.options;
  const server = typeof path === 'string' ? path : `${host[0] ?? 'localhost'}:${port[0] ?? 5432}`;
  return `database ${database} on ${server}`;
}

/** PostgreSQL's error code when its rules require or forbid encryption. Poolers word theirs differently. */
function isEncryptionRefused(code: string, message: string): boolean {
  return (
    (code === '28000' && /no encryption|SSL off/i.test(message)) ||
    /SSL (?:is )?required|TLS required/i.test(message)
  );
}

/** Turns any error of a first query into an error for the user. */
export function connectError(sql: Sql, error: unknown): LongtailError {
  if (error instanceof LongtailError) return error;
  const { code, message } = errorFacts(error);
  const where = place(sql);
  if (/^(28...|3D000|42501)$/.test(code) && !isEncryptionRefused(code, message)) {
    return new LongtailError(
      'DATABASE_REFUSED',
      `The ${where} refused the connection: ${message}`,
      'Check the user, password and database name in the URL.',
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
  if (/^(?:LONGTAIL_NO_TLS|ERR_TLS|ERR_SSL|EPROTO|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO)/.test(code)) {
    return new LongtailError(
      'DATABASE_REFUSED',
      `The ${where} cannot be reached over TLS as the URL requires: ${message}`,
      "Check sslmode (require encrypts without checking the certificate), and sslrootcert with the provider's certificate.",
      { cause: error },
    );
  }
  if (isEncryptionRefused(code, message)) {
    return new LongtailError(
      'DATABASE_REFUSED',
      `The ${where} refused the connection: ${message}`,
      'It accepts only encrypted connections: add sslmode=require to the URL. Or its pg_hba.conf has no line for this host, user and database.',
      { cause: error },
    );
  }
  const nextStep = isConnectionLoss(error)
    ? 'Check that the server is running and that host and port are correct.'
    : "Check the server's log and the URL's parameters (sslmode).";
  return new LongtailError('DATABASE_UNAVAILABLE', `The ${where} does not respond: ${message}`, nextStep, {
    cause: error,
  });
}
