import type { Sql } from 'postgres';

/**
 * How many sessions of this database, or of one application in it, wait for a lock. Not on a connection that is in a
 * transaction: there it would be the first answer for ever.
 */
export async function lockWaiters(sql: Sql, application: string | null = null): Promise<number> {
  const waiting = await sql`
    select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
      and (${application}::text is null or application_name = ${application}::text)`;
  return waiting.length;
}
