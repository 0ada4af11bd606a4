import type { PendingQuery, Row, Sql, TransactionSql } from 'postgres';

/**
 * A key's status, derived from its versions. An SQL expression for a query with `open`, `complete` and `failed`, the newest
 * version of each status, and `second_look`, an open refetch. The key is `open` if it has an open refetch, or an open version
 * while none is complete or a failure is newer; `failed` if a failure is newer than the complete version; otherwise `complete`.
 */
export const KEY_STATUS = `case
    when open is not null and (second_look or complete is null or failed > complete) then 'open'
    when failed is not null and failed > coalesce(complete, 0) then 'failed'
    else 'complete'
  end`;

/** {@link KEY_STATUS} as a fragment of a query. */
export function keyStatus(sql: Sql | TransactionSql): PendingQuery<Row[]> {
  return sql`${sql.unsafe(KEY_STATUS)}`;
}
