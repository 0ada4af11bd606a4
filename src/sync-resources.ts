/**
 * What a run holds open, in the order in which it is opened; closed in the opposite order. A step that fails closes what
 * the steps before it opened.
 */
import { type Config, MOST_CONCURRENCY, mostConcurrency, SPARE_CONNECTIONS } from './config.ts';
import { connect, type Database } from './db/connect.ts';
import { type EmbeddedServer, startEmbedded } from './db/embedded.ts';
import { keepPropertyLock } from './db/kept-lock.ts';
import { migrate } from './db/migrate.ts';
import { lockProperty, lockUserScope, type PropertyLock } from './db/property-lock.ts';
import { startRun } from './db/run.ts';
import { createStore, type Store } from './db/store.ts';
import type { RunIdentity } from './db/types.ts';
import type { Clock } from './domain/clock.ts';
import { LongtailError } from './errors.ts';
import { createRateLimiter, type RateLimiter } from './rate-limiter.ts';
import { type Auth, createAuth } from './search-console/auth.ts';
import type { Client } from './search-console/call.ts';
import { createClient } from './search-console/client.ts';
import { createGotTransport } from './search-console/got-transport.ts';
import { createListedName } from './search-console/listed-name.ts';
import type { SyncOptions } from './sync-types.ts';
import { createTelemetry, type Telemetry } from './telemetry.ts';

const CONNECT_TIMEOUT_MS = 10_000;
/** Google takes its time over a large batch before it says a word. */
const FIRST_BYTE_TIMEOUT_MS = 120_000;
/**
 * The longest time that a request without an answer may still be on its way: a network that needs longer is not used,
 * since no connection comes about on it. What Google takes to answer is no part of it, that comes after the arrival.
 */
const GRACE_MS = CONNECT_TIMEOUT_MS;
/** Leases older than this no longer count in any window that ends token by token. */
const LEASE_MEMORY_MS = 3_600_000;

export interface Resources {
  readonly database: Database;
  readonly lock: PropertyLock;
  readonly run: RunIdentity;
  readonly store: Store;
  readonly auth: Auth;
  readonly client: Client;
  /** What Search Console calls the property. */
  readonly listedName: ReturnType<typeof createListedName>;
  readonly limiter: RateLimiter;
  readonly scopes: readonly string[];
  readonly telemetry: Telemetry;
  readonly graceMs: number;
  /** Where the embedded server keeps its data, when it is that. */
  close(): Promise<void>;
}

/** The database alone, for questions that need no lock. */
export interface OpenDatabase {
  readonly database: Database;
  close(): Promise<void>;
}

export async function openDatabase(config: Config, clock: Clock): Promise<OpenDatabase> {
  const closing: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const step of closing.splice(0).reverse()) await step();
  };
  try {
    let target = config.database;
    if (target === undefined) {
      const server: EmbeddedServer = await startEmbedded({ clock });
      closing.push(() => server.close({ waitMs: 0 }));
      target = server.url;
    }
    const database = await connect(target, {
      max: mostConcurrency(config) + SPARE_CONNECTIONS,
      applicationName: 'longtail',
      ...(config.prepare === undefined ? {} : { prepare: config.prepare }),
    });
    closing.push(() => database.close({ timeoutMs: 1_000 }));
    if (config.migrate) await migrate(database.sql);
    return { database, close };
  } catch (error) {
    await close();
    throw error;
  }
}

export async function openResources(config: Config, options: SyncOptions, clock: Clock): Promise<Resources> {
  // Credentials first: they are what is most often wrong, and cost nothing to look at.
  const auth = await createAuth({
    credentials: config.credentials,
    tokenUrl: config.tokenUrl,
    clock,
  });
  const opened = await openDatabase(config, clock);
  const closing: (() => Promise<void> | void)[] = [opened.close];
  const close = async (): Promise<void> => {
    for (const step of closing.splice(0).reverse()) await step();
  };
  try {
    const { sql } = opened.database;
    const locking = await lockProperty(sql, config.siteUrl, clock);
    if (locking.kind === 'busy') {
      throw new LongtailError(
        'PROPERTY_BUSY',
        `Another synchronisation of "${config.siteUrl}" is under way in this database.`,
        'Wait for it to end, or stop it; this one has touched nothing.',
      );
    }
    const lock = keepPropertyLock(sql, config.siteUrl, locking.lock, clock);
    let releaseUser = async (): Promise<void> => undefined;
    closing.push(() => releaseUser());
    closing.push(() => lock.release());

    const { userScope, projectScope } = auth.identity;
    const limiter =
      options.rateLimiter ??
      createRateLimiter({
        requestsPerMinute: config.requestsPerMinute,
        extraBudgets: config.extraBudgets,
        clock,
        ...(options.inspect === undefined ? {} : { inspect: options.inspect }),
      });
    if (options.rateLimiter === undefined) closing.push(() => limiter.close());
    releaseUser = await limiter.holdUser(userScope, () => lockUserScope(lock, userScope));

    const { run } = await startRun(sql, lock, {
      from: config.from,
      to: config.to,
      searchTypes: config.searchTypes,
      datasets: config.datasets,
      refresh: config.refresh,
      force: config.acceptShrunk,
    });
    const store = createStore(opened.database, run);
    const scopes = scopesOf(config, userScope, projectScope);
    await recoverLeases(store, limiter, scopes, GRACE_MS);

    const transport = createGotTransport({
      clock,
      maxSockets: MOST_CONCURRENCY,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      firstByteTimeoutMs: FIRST_BYTE_TIMEOUT_MS,
    });
    closing.push(() => transport.close());
    const access = {
      transport,
      clock,
      apiRoot: config.apiRoot,
      quotaProjectId: auth.identity.quotaProjectId,
    };
    const client = createClient(access);
    const telemetry = createTelemetry(config.siteUrl, clock);
    closing.push(() => telemetry.close());
    return {
      database: opened.database,
      lock,
      run,
      store,
      auth,
      client,
      listedName: createListedName(config.siteUrl, access),
      limiter,
      scopes,
      telemetry,
      graceMs: GRACE_MS,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The budgets that every request of this run is taken from. */
export function scopesOf(config: Config, userScope: string, projectScope: string | null): readonly string[] {
  const known = [`site:${config.siteUrl}`, userScope, projectScope ?? 'project:unknown'];
  const others = config.extraBudgets
    .map(({ scopeKind }) => scopeKind)
    .filter((kind) => !['site', 'user', 'project'].includes(kind))
    .map((kind) => `${kind}:all`);
  return [...known, ...new Set(others)];
}

/**
 * Tokens that a run before this one took count until their window has passed; those that never settled as if their
 * request had left just now, and were still on its way: the process that sent it is gone, its bytes may not be. A scope
 * that this limiter has served it knows.
 */
export async function recoverLeases(
  store: Store,
  limiter: RateLimiter,
  scopes: readonly string[],
  graceMs: number,
): Promise<void> {
  const unknown = scopes.filter((scope) => !limiter.knownScopes.has(scope));
  for (const scope of unknown) limiter.knownScopes.add(scope);
  if (unknown.length === 0) return;
  const found = await store.readOpenLeases(unknown, LEASE_MEMORY_MS);
  if (found.kind !== 'ok') {
    throw new LongtailError('DATABASE_UNAVAILABLE', found.reason, 'Run again when the database answers.');
  }
  if (found.value.length === 0) return;
  limiter.actor.send({
    type: 'leases.recovered',
    leases: found.value.map(({ scope, tokens, settledMsAgo }) => ({
      scope,
      tokens,
      settledMsAgo: settledMsAgo ?? -graceMs,
    })),
  });
}
