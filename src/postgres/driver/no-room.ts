import { errorFacts } from '../../domain/error-facts.ts';

/** Whether a server or pooler has no connection left, or none for this role. Existing connections may still work. */
export function isNoRoom(error: unknown): boolean {
  const { code, message } = errorFacts(error);
  // PostgreSQL's code for it: the limit of the server, the role or the database.
  if (code === '53300') return true;
  // Poolers use codes that also mean other things: PgBouncer, Supavisor, pgcat, Odyssey.
  return POOLERS.test(message);
}

const POOLERS =
  /no more connections allowed|max client(?:s|_conn| connections)|MaxClientsInSessionMode|too many (?:clients|connections)|client connection limit|connection slots|query_wait_timeout/i;
