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

/** A checked way to a PostgreSQL that Longtail can work with. */
export interface Database {
  /** Queries and transactions on connections of our own. Nothing else of the driver's pool works on it. */
  readonly sql: Sql;
  /** Whether something stands between us and the server (PgBouncer, a cloud's pooler). */
  readonly pooled: boolean;
  /** Whether one connection may be held for long: the session is ours, and two are left for the work. */
  readonly maySpareConnection: boolean;
  /** Resolves when the host ends the pool that it handed in. Never where there is none. */
  readonly hostEnded: Promise<void>;
  /** Closes what this opened; waits up to `timeoutMs` (5,000) for queries under way. */
  close(options?: { readonly timeoutMs?: number }): Promise<void>;
}

export interface ConnectOptions {
  /** The most connections that are opened: one for each concurrent writer, and one for all else. */
  readonly max: number;
  /** Shown in `pg_stat_activity`, where the URL says nothing else. */
  readonly applicationName: string;
  /** Prepared statements. Without an answer: not through a pooler, which may give each transaction another session. */
  readonly prepare?: boolean;
  /** Who asked has given up: what is being opened is closed. */
  readonly signal?: AbortSignal;
  /** Variables that stand in for what a URL leaves out; without an answer the process's own. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly times?: PoolTimes;
}

const OLDEST_VERSION = 140_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** Fewer do not allow one to be set aside. */
const LEAST_TO_SPARE_ONE = 3;

/**
 * Opens a pool to a URL, or to where the host's own leads, and checks what Longtail stands on: PostgreSQL 14, UTF-8,
 * writable. Rejects with a LongtailError that names the next step and never the password.
 *
 * All who are handed the same pool share the connections that are made of it, at most as many as it has itself.
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
  // One of ours: it stays open.
  if (inside !== undefined) return databaseOf(inside, options.max, NEVER, async () => {});
  return await share(target, options);
}

const NEVER = new Promise<never>(() => {});

/** A pool of ours, and what is known of its server. */
interface OpenedPool {
  readonly own: OwnPool;
  readonly pool: Pool<Line>;
  /** Resolves when the server has been checked. */
  readonly ready: Promise<void>;
  isPooled(): boolean;
}

/** Pools of ours, by their face. */
const opened = new WeakMap<object, OpenedPool>();

function databaseOf(
  { own, isPooled }: OpenedPool,
  max: number,
  hostEnded: Promise<void>,
  close: Database['close'],
): Database {
  const pooled = isPooled();
  return { sql: own.sql, pooled, maySpareConnection: !pooled && max >= LEAST_TO_SPARE_ONE, hostEnded, close };
}

/** Connections made of one pool that was handed in, and who uses them. */
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
    `The ${place(sql)} gives no connection beside those of the pool handed in: ${errorFacts(error).message}`,
    "Longtail opens connections of its own, at most as many as the pool's max: raise the server's or the role's limit, or lower the pool's max.",
    { cause: error },
  );
}

/** How the lines of a pool are made. */
interface Plan extends ServerAddress {
  /** Undefined: as soon as it is known that no pooler stands in between. */
  readonly prepare: boolean | undefined;
  readonly timeoutMs: number;
}

async function planOfUrl(target: string, options: ConnectOptions): Promise<Plan> {
  const address = parseDatabaseUrl(target, surroundingsOf(target, options.environment));
  const [endpoint] = address.endpoints;
  if (endpoint === undefined) throw new Error('an address without a place');
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
    // It opens nothing: this is what its errors and ours show.
    path: endpoint.kind === 'socket' ? endpoint.path : `${endpoint.host}:${endpoint.port}`,
    user: plan.user,
    database: plan.database,
    password: 'unused',
    max,
    prepare: plan.prepare ?? true,
    // No arrays are sent or read: one query less for each connection.
    fetch_types: false,
    // One that the driver knows: without one it would read the environment's, which may be none that it knows.
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
    // Of no use to others, and no longer ours after the transaction.
    await line.sql.unsafe(pooled ? 'select 1' : SETTINGS_OF_SESSION);
    template.options.prepare = line.sql.options.prepare = plan.prepare ?? !pooled;
  };
  const pool = new Pool<Line>(max, (signal) => opener.open(greet, signal), times);
  const own = ownPool(template, pool, () => pooled === true);
  const ready = pool.take().then((line) => pool.give(line));
  // Each who waits for it hears of it.
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

/** Refuses a server that cannot be used. Returns whether a pooler stands in between. */
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
      `As its owner: GRANT USAGE ON SCHEMA longtail TO ${identifier(facts.user)}; GRANT ALL ON ALL TABLES IN SCHEMA longtail TO ${identifier(facts.user)};`,
    );
  }
  // A pooler hands out a process id of its own for cancelling.
  return answer.state?.pid !== facts.backendPid;
}

/** The database in words, without user or password: `database longtail on localhost:5432`. */
export function place(sql: Sql): string {
  const { host, port, database, path } = sql.options;
  const server = typeof path === 'string' ? path : `${host[0] ?? 'localhost'}:${port[0] ?? 5432}`;
  return `database ${database} on ${server}`;
}

/** PostgreSQL's own word for a connection whose rules want, or do not want, encryption. Poolers have words of theirs. */
function isEncryptionRefused(code: string, message: string): boolean {
  return (
    (code === '28000' && /no encryption|SSL off/i.test(message)) ||
    /SSL (?:is )?required|TLS required/i.test(message)
  );
}

/** Whatever a first query can fail with, as an error for the user. */
export function connectError(sql: Sql, error: unknown): LongtailError {
  if (error instanceof LongtailError) return error;
  const { code, message } = errorFacts(error);
  const where = place(sql);
  if (/^(28...|3D000|42501)$/.test(code) && !isEncryptionRefused(code, message)) {
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
  if (/^(?:LONGTAIL_NO_TLS|ERR_TLS|ERR_SSL|EPROTO|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO)/.test(code)) {
    return new LongtailError(
      'DATABASE_REFUSED',
      `The ${where} cannot be reached over TLS as the URL demands: ${message}`,
      "Check sslmode (require encrypts without checking the certificate), and sslrootcert with the provider's certificate.",
      { cause: error },
    );
  }
  if (isEncryptionRefused(code, message)) {
    return new LongtailError(
      'DATABASE_REFUSED',
      `The ${where} refused the connection: ${message}`,
      'It takes encrypted connections only: put sslmode=require into the URL; or its pg_hba.conf has no line for this host, user and database.',
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
