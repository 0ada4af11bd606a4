import type { Sql, TransactionSql } from 'postgres';
import type { Clock } from '../../domain/clock.ts';
import { errorFacts } from '../../domain/error-facts.ts';
import { within } from '../../domain/wait.ts';
import { transaction } from '../connection/transaction.ts';

/**
 * A sign that this process lives: an advisory lock in an open transaction on one connection, whatever the number of runs.
 * It is free as soon as the server has noticed that the process is gone, so whoever comes next need not wait until its
 * leases expire. It guards nothing: a process without one has leases that last until they expire.
 */
export interface Presence {
  /** The lock's name, for the leases' rows; null while there is none. */
  readonly name: () => string | null;
  /** Told whenever `name` has changed. Returns its unsubscribe. */
  readonly onChange: (listener: () => void) => () => void;
  /** Gives it up when the last of the process's runs does. Never takes more than a second. */
  readonly leave: () => Promise<void>;
}

const HEARTBEAT_MS = 15_000;
/** Unanswered for so long, the connection counts as dead: a network that swallows packets says nothing. */
const HEARTBEAT_TIMEOUT_MS = 30_000;
const RELEASE_TIMEOUT_MS = 1_000;
/** Where the work had no connection but the one of the sign, there will be none to spare soon. */
const YIELDED_MS = 60_000;
/** How long a run waits for the first sign; then it goes on without. */
const FIRST_WITHIN_MS = 2_000;
const RETRY_MS = { first: 50, most: 10_000 };

/** What a process that has no connection to spare has. */
export const NO_PRESENCE: Presence = {
  name: () => null,
  onChange: () => () => undefined,
  leave: async () => undefined,
};

const shared = new WeakMap<Sql, KeptPresence>();

/**
 * The presence of this process in the database of this pool: one for all runs over the same pool. `newName` gives names that
 * no other process has.
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
        // A database that has stopped answering gives it up with the connection, which the pool's end ends.
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
        // First told, then given up: the renewal that says so comes before others find it free.
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
  /** Resolves when the connection that holds it is gone, or no longer answers. */
  readonly lost: Promise<string>;
  readonly release: () => Promise<void>;
}

/**
 * In an open transaction on a connection of its own: a session's lock would go with the pool's connection. It does nothing,
 * which no setting of the server's may end: see `session.ts`. Only the simple protocol is used there, since the extended
 * one keeps a snapshot, which holds back vacuum for the whole run.
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
    () => lost.resolve('it was given up'),
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
  // No parameters in the simple protocol; the name is made of letters, digits and dashes.
  const rows = await tx.unsafe<{ taken: boolean }[]>(
    `select pg_try_advisory_xact_lock(hashtextextended('${name}', 0)) as "taken"`,
  );
  return rows[0]?.taken === true;
}

function startHeartbeat(clock: Clock, tx: TransactionSql, onDead: (reason: string) => void): () => void {
  let timer: unknown;
  let isStopped = false;
  const beat = (): void => {
    timer = clock.setTimeout(() => onDead('the connection does not answer'), HEARTBEAT_TIMEOUT_MS);
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
