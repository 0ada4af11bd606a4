import type { Sql, TransactionSql } from 'postgres';
import { isConnectionLoss } from '../driver/failure.ts';
import { ownPoolOf } from '../driver/own-pool.ts';
import type { Use } from '../driver/pool.ts';

/**
 * `sql.begin`, safe when the connection dies.
 *
 * The driver reacts to a callback that ends by sending `rollback` or `commit`. On a connection that is gone this is an
 * uncaught TypeError, which kills the host (porsager/postgres#1154, #1208), or, worse, a statement in whatever
 * transaction the driver's next use of the connection has open. So after a loss the callback never settles: `begin`
 * itself rejects. For the same reason nothing may be sent on `tx` after `work` has failed or been abandoned.
 *
 * On a pool of ours a transaction on which no byte moves is ended after {@link Use.silenceMs}, 75 s where nothing
 * else is said.
 */
export async function transaction<T>(
  sql: Sql,
  work: (tx: TransactionSql) => Promise<T>,
  use: Use = {},
): Promise<T> {
  let isLost = false;
  let cause: unknown;
  const guarded = async (tx: TransactionSql): Promise<{ value: T }> => {
    try {
      const value = await work(tx);
      return isLost ? await never() : { value };
    } catch (error) {
      if (!isLost && !isConnectionLoss(error)) throw error;
      cause = error;
      return await never();
    }
  };
  try {
    const pool = ownPoolOf(sql);
    const result = await (pool === undefined ? sql.begin(guarded) : pool.begin(guarded, use));
    // The driver's type unwraps arrays of promises; ours is an object, and stays as it is.
    return (result as { value: T }).value;
  } catch (error) {
    isLost = true;
    // What the server said before it hung up tells more than that it did.
    throw cause ?? error;
  }
}

function never(): Promise<never> {
  return new Promise(() => {});
}
