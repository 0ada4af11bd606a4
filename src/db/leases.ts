import type { Sql, TransactionSql } from 'postgres';
import type { LeaseGrant, LeaseRecord, LeaseSettlement, RunIdentity } from './types.ts';

/** A run's own names for its leases are made unlike any other run's. */
function storedId(run: RunIdentity, leaseId: string): string {
  return `${run.runId}/${leaseId}`;
}

/**
 * See {@link Store.recordLease}. One statement, which does not wait for the disk: what it writes survives the death of
 * any process of ours, and after a crash of the server itself the minute that a lease counts has passed.
 */
export async function recordLease(sql: Sql, run: RunIdentity, grant: LeaseGrant): Promise<null> {
  await sql`
    insert into longtail.quota_lease (lease_id, scope, run_id, tokens)
    select ${storedId(run, grant.leaseId)}::text, scope, ${run.runId}::text::bigint, ${grant.tokens}::int
    from set_config('synchronous_commit', 'off', true),
      jsonb_array_elements_text(${JSON.stringify(grant.scopes)}::text::jsonb) as scope
    on conflict do nothing`;
  return null;
}

/** See {@link Store.settleLease}. Of tokens that settle one after another, all count as if they had with the last. */
export async function settleLease(sql: Sql, run: RunIdentity, settlement: LeaseSettlement): Promise<null> {
  const { settled, graceMs, returned } = settlement;
  await sql`
    update longtail.quota_lease
    set tokens = tokens - ${returned}::int,
      settled_tokens = settled_tokens + ${settled}::int,
      settled_at = case when ${settled}::int = 0 then settled_at
        else greatest(settled_at, now() + make_interval(secs => ${graceMs}::float8 / 1000)) end
    from set_config('synchronous_commit', 'off', true)
    where lease_id = ${storedId(run, settlement.leaseId)}::text`;
  return null;
}

/**
 * See {@link Store.readOpenLeases}. Two records for a lease that has settled in part. No request is under way for an
 * hour: a lease as old as that which never settled was lost with its run.
 */
export async function readOpenLeases(
  sql: Sql,
  scopes: readonly string[],
  windowMs: number,
): Promise<LeaseRecord[]> {
  return await sql<LeaseRecord[]>`
    with open as (
      select * from longtail.quota_lease
      where scope in (select jsonb_array_elements_text(${JSON.stringify(scopes)}::text::jsonb))
        and granted_at > now() - interval '25 hours'
    )
    select scope as "scope", (tokens - settled_tokens)::int as "tokens", null::float8 as "settledMsAgo"
    from open where tokens > settled_tokens and granted_at > now() - interval '1 hour'
    union all
    select scope, settled_tokens, (extract(epoch from now() - settled_at) * 1000)::float8
    from open
    where settled_tokens > 0 and settled_at > now() - make_interval(secs => ${windowMs}::float8 / 1000)`;
}

/** Deletes leases that no budget counts any more: the longest is a day's. */
export async function pruneLeases(sql: Sql | TransactionSql): Promise<void> {
  await sql`delete from longtail.quota_lease where granted_at < now() - interval '25 hours'`;
}
