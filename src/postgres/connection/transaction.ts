import type { Sql, TransactionSql } from 'postgres';
import { isConnectionLoss } from '../driver/failure.ts';
import { ownPoolOf } from '../driver/own-pool.ts';
import type { Use } from '../driver/pool.ts';

/**
 * `sql.begin`, safe when the connection dies.
 *
 * When a callback settles, the driver sends `rollback` or `commit`. On a lost connection this throws an uncaught
 * TypeError, which kills the host (porsager/postgres#1154, #1208). If the driver has opened another transaction on the
 * connection by then, the statement even runs inside that one. So after a connection loss the callback never settles: `begin` itself
 * rejects. For the same reason, nothing may be sent on `tx` after `work` has failed or been abandoned.
 *
 * On Longtail's own pools, a transaction during which no byte moves is ended after {@link Use.silenceMs} (75 s by default).
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
    // The driver's type unwraps arrays of promises. This is an object, which it returns unchanged.
    return (result as { value: T }).value;
  } catch (error) {
    isLost = true;
    // The server's last message says more than the lost connection.
    throw cause ?? error;
  }
}

function never(): Promise<never> {
  return new Promise(() => {});
}
