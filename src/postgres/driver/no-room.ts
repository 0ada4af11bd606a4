import { errorFacts } from '../../domain/error-facts.ts';

/** Whether a server or a pooler has no connection left, or none for this role: the others of ours may work. */
export function isNoRoom(error: unknown): boolean {
  const { code, message } = errorFacts(error);
  // PostgreSQL's own word for it: the server's limit, the role's, the database's.
  if (code === '53300') return true;
  // Poolers say it with codes that mean other things, too: PgBouncer, Supavisor, pgcat, Odyssey.
  return POOLERS.test(message);
}

const POOLERS =
  /no more connections allowed|max client(?:s|_conn| connections)|MaxClientsInSessionMode|too many (?:clients|connections)|client connection limit|connection slots|query_wait_timeout/i;
