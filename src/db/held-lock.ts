import type { Sql, TransactionSql } from 'postgres';
import type { Clock } from '../domain/clock.ts';
import { errorFacts } from './failure.ts';
import { transaction } from './transaction.ts';

/** A lock that one process has at a time, across all that use the database. */
export interface HeldLock {
  /** Resolves with the reason when the lock is lost: its connection died. Never rejects. */
  readonly lost: Promise<string>;
  /** Takes a second lock on the same connection, given up with the first. False: somebody has it. */
  alsoTake(name: string): Promise<boolean>;
  /** Gives it up, within a second even where nobody answers. Safe to repeat, and after a loss. */
  release(): Promise<void>;
}

const HEARTBEAT_MS = 15_000;
/** Unanswered for so long, the connection counts as dead: a network that swallows packets says nothing. */
const HEARTBEAT_TIMEOUT_MS = 30_000;
/** How long giving it up may take. */
const RELEASE_TIMEOUT_MS = 1_000;

/**
 * Takes an advisory lock, or finds it busy (undefined). It is held in an open transaction on a connection of its own: a
 * session's lock would go with the pool's connection, and a transaction pooler would give it to strangers. Only the
 * simple protocol is used there, since the extended one keeps a snapshot, which holds back vacuum for the whole run.
 */
export async function holdLock(sql: Sql, name: string, clock: Clock): Promise<HeldLock | undefined> {
  const taken = Promise.withResolvers<TransactionSql | undefined>();
  const asked = Promise.withResolvers<void>();
  const lost = Promise.withResolvers<string>();
  let isOver = false;

  const ended = transaction(sql, async (tx) => {
    await forgetTimeouts(tx);
    if (!(await tryLock(tx, name))) {
      taken.resolve(undefined);
      return;
    }
    taken.resolve(tx);
    await asked.promise;
  }).then(
    () => {
      isOver = true;
    },
    (error: unknown) => {
      isOver = true;
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
    async alsoTake(other) {
      // After a loss the driver may have given the connection to somebody else.
      return isOver ? false : tryLock(tx, other);
    },
    async release() {
      stopHeartbeat();
      asked.resolve();
      const late = Promise.withResolvers<void>();
      // A database that has stopped answering gives the lock up with the connection, which the pool's end ends.
      const timer = clock.setTimeout(late.resolve, RELEASE_TIMEOUT_MS);
      await Promise.race([ended, lost.promise, late.promise]);
      clock.clearTimeout(timer);
    },
  };
}

/** An open transaction that does nothing is what a lock looks like: no server setting may end it. */
async function forgetTimeouts(tx: TransactionSql): Promise<void> {
  await tx`
    select set_config(name, '0', true) from pg_settings
    where name in ('idle_in_transaction_session_timeout', 'transaction_timeout', 'statement_timeout')`.simple();
}

async function tryLock(tx: TransactionSql, name: string): Promise<boolean> {
  // No parameters in the simple protocol; the name is written as hexadecimal, which needs no quoting.
  const hex = Buffer.from(name, 'utf8').toString('hex');
  const rows = await tx.unsafe<{ taken: boolean }[]>(
    `select pg_try_advisory_xact_lock(hashtextextended('longtail:${hex}', 0)) as "taken"`,
  );
  return rows[0]?.taken === true;
}

function startHeartbeat(clock: Clock, tx: TransactionSql, onDead: (reason: string) => void): () => void {
  let timer: unknown;
  let isStopped = false;
  const beat = (): void => {
    timer = clock.setTimeout(() => {
      onDead('the connection that holds the lock does not answer');
    }, HEARTBEAT_TIMEOUT_MS);
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
