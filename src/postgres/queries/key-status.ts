import type { PendingQuery, Row, Sql, TransactionSql } from 'postgres';

/**
 * What a key is by its versions, as a part of a query over `open`, `complete` and `failed`, the newest version of each
 * status, and `second_look`: an open second look, or an open one where nothing is complete or a failure is newer, is
 * `open`; a failure newer than the complete version is `failed`; else the complete version stands.
 */
export function keyStatus(sql: Sql | TransactionSql): PendingQuery<Row[]> {
  return sql`case
    when open is not null and (second_look or complete is null or failed > complete) then 'open'
    when failed is not null and failed > coalesce(complete, 0) then 'failed'
    else 'complete'
  end`;
}
