import postgres, { type Sql } from 'postgres';

/**
 * A client for a server, or a line, that ends while it is used. The driver asks a new session for its array types by a
 * query that nobody waits for. When the session ends in the middle of it and the next connection is refused, that query
 * rejects unhandled and ends the whole process. So it is not asked: arrays come as text.
 * Without it `reserve` waits for ever on a session that has not been used yet: ask something first.
 */
export function openSql(
  url: string,
  { max = 1, idleTimeoutS }: { readonly max?: number; readonly idleTimeoutS?: number } = {},
): Sql {
  return postgres(url, { max, idle_timeout: idleTimeoutS, fetch_types: false, onnotice: () => undefined });
}
