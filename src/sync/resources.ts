/**
 * The open resources of a run: opened step by step as `machines/run-life/run-life.ts` requests, closed in reverse order. An
 * abandoned step closes whatever it still opens.
 */
import { randomUUID } from 'node:crypto';
import type { Clock } from '../domain/clock.ts';
import { LongtailError } from '../domain/errors.ts';
import { Turns } from '../domain/turns.ts';
import { aborted } from '../domain/wait.ts';
import { wordsOf } from '../domain/words.ts';
import { startEmbedded } from '../embedded-postgres/embedded.ts';
import type { OpeningStep } from '../machines/run-life/context.ts';
import { connect, type Database } from '../postgres/connection/connect.ts';
import { propertyResource } from '../postgres/locks/lease-book.ts';
import { finishRun, startRun } from '../postgres/queries/run.ts';
import { migrate } from '../postgres/schema/migrate.ts';
import { requireSchema } from '../postgres/schema/schema-state.ts';
import { createStore } from '../postgres/store.ts';
import { type Auth, createAuth } from '../search-console/auth/auth.ts';
import { tokenInfoUrl } from '../search-console/auth/token-info.ts';
import { createClient } from '../search-console/client.ts';
import { createGotTransport } from '../search-console/http/got-transport.ts';
import { createListedName } from '../search-console/listed-name.ts';
import type { Client } from '../search-console/request/call.ts';
import type { Store } from '../store/store.ts';
import type { RunIdentity } from '../store/types.ts';
import { type Config, MAX_CONCURRENCY, maxCalls, SPARE_CONNECTIONS, selectionIn } from './config.ts';
import { Fallbacks } from './fallbacks.ts';
import { type KeptLeases, takeLeases } from './leases.ts';
import { createRateLimiter } from './limiter.ts';
import { internalsOf, type LimiterInternals } from './limiter-internals.ts';
import { createTelemetry, type Telemetry } from './telemetry.ts';
import type { NoticeEvent, SyncOptions } from './types.ts';

const CONNECT_TIMEOUT_MS = 10_000;
/** Google may take this long before the first byte of a large batch. */
const FIRST_BYTE_TIMEOUT_MS = 120_000;
/**
 * Maximum transit time of an unanswered request. On a slower network no connection would be established. Google's
 * processing time is not included: it begins after arrival.
 */
const GRACE_MS = CONNECT_TIMEOUT_MS;
/** Older leases no longer count in any sliding window. */
const LEASE_MEMORY_MS = 3_600_000;

/** Everything that a run needs open. */
export interface Resources {
  readonly database: Database;
  readonly leases: KeptLeases;
  readonly run: RunIdentity;
  /** Unique among all runs that may ever share a limiter, whatever their databases. */
  readonly runName: string;
  readonly store: Store;
  readonly auth: Auth;
  readonly client: Client;
  /** The property name as Search Console lists it. */
  readonly listedName: ReturnType<typeof createListedName>;
  readonly limiter: LimiterInternals;
  readonly scopes: readonly string[];
  readonly telemetry: Telemetry;
  readonly graceMs: number;
  /** See {@link Turns}. */
  readonly nextTurn: Turns['next'];
  readonly fallbacks: Fallbacks;
}

/** Shared by all runs of the process: they share one event loop. */
const turns = new Turns();

type Opened = { -readonly [Name in keyof Resources]?: Resources[Name] };

/** Closes one resource. If that involves waiting, it takes at most `withinMs` milliseconds. */
type Closer = (withinMs: number) => Promise<unknown> | unknown;

/** Writes the row of a run, under the property's lease. */
export type BeginRun = (sql: Database['sql'], lock: Omit<RunIdentity, 'runId'>) => Promise<RunIdentity>;

function beginSync(config: Config): BeginRun {
  const { from, to, searchTypes, datasets, refresh, acceptShrunk } = config;
  const parameters = {
    ...{ from, to, searchTypes, datasets, refresh, acceptShrunk },
    ...selectionIn(config),
  };
  return async (sql, lock) => (await startRun(sql, lock, parameters)).run;
}

/** The open resources of a run or dry run. */
export class Holdings {
  readonly #config: Config;
  readonly #options: SyncOptions;
  readonly #clock: Clock;
  readonly #tell: (notice: NoticeEvent) => void;
  readonly #opened: Opened = {};
  readonly #fallbacks = new Fallbacks();
  readonly #closers: Closer[] = [];
  readonly #beginRun: BeginRun;
  /** The database to connect to. */
  #target: Config['database'];

  constructor(
    config: Config,
    options: SyncOptions,
    clock: Clock,
    tell: (notice: NoticeEvent) => void,
    beginRun: BeginRun = beginSync(config),
  ) {
    this.#config = config;
    this.#options = options;
    this.#clock = clock;
    this.#tell = tell;
    this.#beginRun = beginRun;
    this.#target = config.database;
  }

  /** What is open so far. */
  get opened(): Readonly<Opened> {
    return this.#opened;
  }

  /** @throws Error if no earlier step has opened it: a bug. */
  need<Name extends keyof Resources>(name: Name): Resources[Name] {
    const value = this.#opened[name];
    if (value === undefined) throw new Error(`${name} is not open`);
    return value;
  }

  /** All resources. @throws Error before the last step. */
  all(): Resources {
    return {
      database: this.need('database'),
      leases: this.need('leases'),
      run: this.need('run'),
      runName: this.need('runName'),
      listedName: this.need('listedName'),
      store: this.need('store'),
      auth: this.need('auth'),
      client: this.need('client'),
      limiter: this.need('limiter'),
      scopes: this.need('scopes'),
      telemetry: this.need('telemetry'),
      graceMs: this.need('graceMs'),
      nextTurn: this.need('nextTurn'),
      fallbacks: this.#fallbacks,
    };
  }

  /** Opens the next resource. If `signal` is aborted, it closes whatever it still opens. */
  open(step: OpeningStep, signal: AbortSignal): Promise<void> {
    switch (step) {
      case 'credentials':
        return this.#openCredentials();
      case 'server':
        return this.#openServer(signal);
      case 'database':
        return this.#openDatabase(signal);
      case 'schema':
        return this.#openSchema();
      case 'property':
        return this.#openProperty(signal);
      case 'run':
        return this.#openRun(signal);
      case 'budgets':
        return this.#openBudgets(signal);
    }
  }

  /**
   * Closes everything in reverse order, each resource within `withinMs`. When aborted, starts closing all the rest and waits
   * for none of it. Never rejects: a resource that fails to close does not keep the others open.
   */
  async close(withinMs: number, signal: AbortSignal): Promise<void> {
    const hurried = aborted(signal);
    for (let step = this.#closers.pop(); step !== undefined; step = this.#closers.pop()) {
      await Promise.race([closeOne(step, signal.aborted ? 0 : withinMs), hurried]);
    }
  }

  /** Records how to close what was opened. */
  async #keep<T>(signal: AbortSignal, opening: Promise<T>, close: (value: T) => Closer): Promise<T> {
    const value = await opening;
    if (signal.aborted) {
      await closeOne(close(value), LATE_CLOSE_MS);
      signal.throwIfAborted();
    }
    this.#closers.push(close(value));
    return value;
  }

  /** First, because credentials are wrong most often and cheap to check. */
  async #openCredentials(): Promise<void> {
    const { credentials, tokenUrl, apiRoot } = this.#config;
    const { rateLimiter } = this.#options;
    if (rateLimiter !== undefined) internalsOf(rateLimiter);
    // A host may start all its properties together.
    await turns.next();
    this.#opened.auth = await createAuth({
      credentials,
      tokenUrl,
      tokenInfoUrl: tokenInfoUrl(apiRoot, tokenUrl),
      clock: this.#clock,
    });
  }

  async #openServer(signal: AbortSignal): Promise<void> {
    if (this.#target !== undefined) return;
    const starting = startEmbedded({ clock: this.#clock, signal });
    const server = await this.#keep(
      signal,
      starting,
      ({ close }) =>
        () =>
          close({ waitMs: 0 }),
    );
    this.#target = server.url;
  }

  async #openDatabase(signal: AbortSignal): Promise<void> {
    const { prepare } = this.#config;
    if (this.#target === undefined) throw new Error('no database is configured');
    const connecting = connect(this.#target, {
      max: maxCalls(this.#config) + SPARE_CONNECTIONS,
      applicationName: 'longtail',
      signal,
      ...(prepare === undefined ? {} : { prepare }),
    });
    this.#opened.database = await this.#keep(
      signal,
      connecting,
      ({ close }) =>
        (timeoutMs) =>
          close({ timeoutMs }),
    );
  }

  async #openSchema(): Promise<void> {
    const { sql } = this.need('database');
    if (!this.#config.migrate) return await requireSchema(sql);
    const { notices = [] } = await migrate(sql);
    for (const notice of notices) this.#tell({ kind: 'view', ...notice });
  }

  async #openProperty(signal: AbortSignal): Promise<void> {
    const { siteUrl, requestsPerMinute, extraBudgets, wait } = this.#config;
    const taking = takeLeases(this.need('database'), {
      siteUrl,
      clock: this.#clock,
      newId: randomUUID,
      wait,
      signal,
      inspect: this.#options.inspect,
    });
    const leases = await this.#keep(signal, taking, (taken) => () => taken.release());
    this.#opened.leases = leases;

    const { rateLimiter, inspect } = this.#options;
    const handle =
      rateLimiter ??
      createRateLimiter({
        requestsPerMinute,
        extraBudgets,
        clock: this.#clock,
        ...(inspect === undefined ? {} : { inspect }),
      });
    if (rateLimiter === undefined) this.#closers.push(() => handle.close());
    const limiter = internalsOf(handle);
    this.#opened.limiter = limiter;
    this.#opened.runName = limiter.nameRun();
    await leases.takeAccount(this.need('auth').identity.userScope, limiter);
  }

  async #openRun(signal: AbortSignal): Promise<void> {
    const { sql } = this.need('database');
    const run = await this.#beginRun(sql, this.need('leases'));
    if (signal.aborted) {
      // Otherwise the next run would record this one as crashed.
      await finishRun(sql, run, { status: 'halted', reason: 'halted while it began' });
      signal.throwIfAborted();
    }
    this.#opened.run = run;
    this.#opened.store = createStore(this.need('database'), run, {
      nudgesHeap: this.#config.nudgeHeap,
      onCopyPath: (path) => this.#fallbacks.note('copy', path),
    });
  }

  async #openBudgets(signal: AbortSignal): Promise<void> {
    const clock = this.#clock;
    const { siteUrl, apiRoot, haltDeadlineMs } = this.#config;
    const { userScope, projectScope, quotaProjectId } = this.need('auth').identity;
    const scopes = scopesOf(this.#config, userScope, projectScope);
    await recoverLeases(this.need('store'), this.need('limiter'), scopes, GRACE_MS);
    signal.throwIfAborted();
    const transport = createGotTransport({
      root: apiRoot,
      clock,
      maxSockets: MAX_CONCURRENCY,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      firstByteTimeoutMs: FIRST_BYTE_TIMEOUT_MS,
    });
    this.#fallbacks.note('gunzip', transport.gunzipPath);
    const telemetry = createTelemetry(siteUrl, clock, haltDeadlineMs);
    this.#closers.push(() => transport.close());
    this.#closers.push(() => telemetry.close());
    const access = { transport, clock, apiRoot, quotaProjectId };
    Object.assign(this.#opened, {
      scopes,
      client: createClient(access),
      listedName: createListedName(siteUrl, access),
      telemetry,
      graceMs: GRACE_MS,
      nextTurn: () => turns.next(),
    } satisfies Opened);
  }
}

/** Maximum time for closing the resource of an abandoned step. */
const LATE_CLOSE_MS = 1_000;

async function closeOne(close: Closer, withinMs: number): Promise<void> {
  try {
    await close(withinMs);
  } catch (error) {
    process.emitWarning(`A resource could not be closed: ${wordsOf(error)}`, 'LongtailClosingWarning');
  }
}

/** The scopes whose budgets every request of this run counts against. */
export function scopesOf(config: Config, userScope: string, projectScope: string | null): readonly string[] {
  const known = [propertyResource(config.siteUrl), userScope, projectScope ?? 'project:unknown'];
  const others = config.extraBudgets
    .map(({ scopeKind }) => scopeKind)
    .filter((kind) => !['site', 'user', 'project'].includes(kind))
    .map((kind) => `${kind}:all`);
  return [...known, ...new Set(others)];
}

/**
 * Makes the limiter count tokens that earlier runs and other processes took, until their window has passed. Call it at the
 * start of a run, and when a limiter regains a scope from another process. Repeated calls count each token once.
 */
export async function recoverLeases(
  store: Store,
  limiter: LimiterInternals,
  scopes: readonly string[],
  graceMs: number,
): Promise<void> {
  const found = await store.readOpenLeases(scopes, LEASE_MEMORY_MS);
  if (found.kind !== 'ok') {
    throw new LongtailError('DATABASE_UNAVAILABLE', found.reason, 'Run again when the database answers.');
  }
  const leases = limiter.leasesOfOthers.toCount(found.value, graceMs);
  if (leases.length > 0) limiter.actor.send({ type: 'leases.recovered', leases });
}
