import type { Sql, TransactionSql } from 'postgres';
import type { Clock } from '../../domain/clock.ts';
import { errorFacts } from '../../domain/error-facts.ts';
import { within } from '../../domain/wait.ts';
import { transaction } from '../connection/transaction.ts';

/**
 * Shows that this process is alive: an advisory lock in an open transaction on one connection, shared by all runs. The
 * lock is free as soon as the server notices that the process is gone, so the next run need not wait until the leases
 * expire. It protects nothing: without it, leases simply last until they expire.
 */
export interface Presence {
  /** The lock's name, stored with the leases. Null while there is none. */
  readonly name: () => string | null;
  /** Calls the listener whenever `name` has changed. Returns the function that unsubscribes. */
  readonly onChange: (listener: () => void) => () => void;
  /** Releases the lock when the process's last run leaves. Takes at most a second. */
  readonly leave: () => Promise<void>;
}

const HEARTBEAT_MS = 15_000;
/** A connection that does not respond for this long counts as dead: a network that drops packets reports no error. */
const HEARTBEAT_TIMEOUT_MS = 30_000;
const RELEASE_TIMEOUT_MS = 1_000;
/** Pause after the work needed the presence's connection: it will need it again soon. */
const YIELDED_MS = 60_000;
/** How long a run waits for the first presence before it continues without one. */
const FIRST_WITHIN_MS = 2_000;
const RETRY_MS = { first: 50, most: 10_000 };

/** For a process without a spare connection. */
export const NO_PRESENCE: Presence = {
  name: () => null,
  onChange: () => () => undefined,
  leave: async () => undefined,
};

const shared = new WeakMap<Sql, KeptPresence>();

/**
 * This process's presence in the pool's database, shared by all runs over the same pool. `newName` must return names
 * that no other process uses.
 */
export async function enterPresence(sql: Sql, clock: Clock, newName: () => string): Promise<Presence> {
  const known = shared.get(sql);
  const kept = known ?? new KeptPresence(sql, clock, newName, () => shared.delete(sql));
  if (known === undefined) shared.set(sql, kept);
  return await kept.enter();
}

class KeptPresence {
  readonly #sql: Sql;
  readonly #clock: Clock;
  readonly #newName: () => string;
  readonly #onEmpty: () => void;
  readonly #listeners = new Set<() => void>();
  readonly #over = Promise.withResolvers<undefined>();
  readonly #first = Promise.withResolvers<undefined>();
  readonly #keeping: Promise<void>;
  #name: string | null = null;
  #users = 0;
  #isOver = false;

  constructor(sql: Sql, clock: Clock, newName: () => string, onEmpty: () => void) {
    this.#sql = sql;
    this.#clock = clock;
    this.#newName = newName;
    this.#onEmpty = onEmpty;
    this.#keeping = this.#keep();
  }

  async enter(): Promise<Presence> {
    this.#users += 1;
    await within(this.#clock, FIRST_WITHIN_MS, this.#first.promise);
    let hasLeft = false;
    return {
      name: () => this.#name,
      onChange: (listener) => {
        const entry = () => listener();
        this.#listeners.add(entry);
        return () => void this.#listeners.delete(entry);
      },
      leave: async () => {
        if (hasLeft) return;
        hasLeft = true;
        this.#users -= 1;
        if (this.#users > 0) return;
        this.#onEmpty();
        this.#isOver = true;
        this.#over.resolve(undefined);
        // If the database no longer responds, the lock ends with its connection, at the latest when the pool closes.
        await within(this.#clock, RELEASE_TIMEOUT_MS, this.#keeping);
      },
    };
  }

  async #keep(): Promise<void> {
    let delayMs = RETRY_MS.first;
    while (!this.#isOver) {
      const name = this.#newName();
      const wanted = Promise.withResolvers<void>();
      let isWanted = false;
      const held = await holdLock(this.#sql, name, this.#clock, () => {
        isWanted = true;
        wanted.resolve();
      }).catch(() => undefined);
      if (held !== undefined) {
        delayMs = RETRY_MS.first;
        this.#change(name);
        this.#first.resolve(undefined);
        await Promise.race([held.lost, this.#over.promise, wanted.promise]);
        // Announce first, then release: the renewal must record it before others find the lock free.
        this.#change(null);
        if (this.#isOver || isWanted) await held.release();
      }
      if (this.#isOver) return;
      await within(this.#clock, isWanted ? YIELDED_MS : delayMs, this.#over.promise);
      delayMs = Math.min(2 * delayMs, RETRY_MS.most);
    }
  }

  #change(name: string | null): void {
    this.#name = name;
    if (this.#isOver) return;
    for (const listener of [...this.#listeners]) listener();
  }
}

interface HeldLock {
  /** Resolves when the connection that holds the lock is gone or no longer responds. */
  readonly lost: Promise<string>;
  readonly release: () => Promise<void>;
}

/**
 * Takes the lock in an open transaction on its own connection. A session lock could end with a pooled connection. The
 * transaction stays idle, and `session.ts` sees to it that no server setting ends it. Only the simple protocol is used:
 * the extended protocol keeps a snapshot, which would hold back vacuum for the whole run.
 */
async function holdLock(
  sql: Sql,
  name: string,
  clock: Clock,
  whenWanted: () => void,
): Promise<HeldLock | undefined> {
  const taken = Promise.withResolvers<TransactionSql | undefined>();
  const asked = Promise.withResolvers<void>();
  const lost = Promise.withResolvers<string>();
  const work = async (tx: TransactionSql): Promise<void> => {
    if (!(await tryLock(tx, name))) {
      taken.resolve(undefined);
      return;
    }
    taken.resolve(tx);
    await asked.promise;
  };
  const ended = transaction(sql, work, { whenWanted, isUrgent: true }).then(
    () => lost.resolve('it was released'),
    (error: unknown) => {
      taken.reject(error);
      lost.resolve(errorFacts(error).message);
    },
  );
  const tx = await taken.promise;
  if (tx === undefined) {
    await ended;
    return undefined;
  }
  const stopHeartbeat = startHeartbeat(clock, tx, (reason) => lost.resolve(reason));
  void lost.promise.then(stopHeartbeat);
  return {
    lost: lost.promise,
    async release() {
      stopHeartbeat();
      asked.resolve();
      await ended;
    },
  };
}

async function tryLock(tx: TransactionSql, name: string): Promise<boolean> {
  // The simple protocol takes no parameters. The name consists of letters, digits and dashes.
  const rows = await tx.unsafe<{ taken: boolean }[]>(
    `select pg_try_advisory_xact_lock(hashtextextended('${name}', 0)) as "taken"`,
  );
  return rows[0]?.taken === true;
}

function startHeartbeat(clock: Clock, tx: TransactionSql, onDead: (reason: string) => void): () => void {
  let timer: unknown;
  let isStopped = false;
  const beat = (): void => {
    timer = clock.setTimeout(() => onDead('the connection does not respond'), HEARTBEAT_TIMEOUT_MS);
    tx.unsafe('select 1').then(
      () => {
        clock.clearTimeout(timer);
        if (!isStopped) timer = clock.setTimeout(beat, HEARTBEAT_MS);
      },
      (error: unknown) => {
        clock.clearTimeout(timer);
        if (!isStopped) onDead(errorFacts(error).message);
      },
    );
  };
  timer = clock.setTimeout(beat, HEARTBEAT_MS);
  return () => {
    isStopped = true;
    clock.clearTimeout(timer);
  };
}
