import type { Sql, TransactionSql } from 'postgres';
import type { LeaseGrant, LeaseRecord, LeaseSettlement, RunIdentity } from '../../store/types.ts';
import { LEASE_LOST, Refusal } from '../connection/answer.ts';

/** Makes a run's own lease ids unique among all runs. */
function storedId(run: RunIdentity, leaseId: string): string {
  return `${run.runId}/${leaseId}`;
}

/** Scopes from which only one party at a time may take tokens, and only with a lease. */
const isLeased = (scope: string): boolean => scope.startsWith('site:') || scope.startsWith('user:');

/**
 * See {@link TokenLedger.recordLease}. The record is on disk before its first request is sent, whatever the role's settings
 * say: a crashed server is back within seconds, and would grant a forgotten lease a second time. This costs each call one
 * flush of the write-ahead log: a few milliseconds, compared with hundreds for Google's response.
 *
 * Locks the leases that it needs. A party that takes one over deletes it, so it waits for this transaction and reads what
 * it wrote. If the other party was first, this one finds no lease.
 */
export async function recordLease(sql: Sql, run: RunIdentity, grant: LeaseGrant): Promise<null> {
  const leased = grant.scopes.filter(isLeased);
  const [found] = await sql<{ held: number }[]>`
    with asked as materialized (
      select scope from jsonb_array_elements_text(${JSON.stringify(grant.scopes)}::text::jsonb) as scope
    ), held as materialized (
      select resource from longtail.lease
      where holder = ${run.holder}::text and resource in (select scope from asked)
      for key share
    ), recorded as (
      insert into longtail.quota_lease (lease_id, scope, run_id, tokens)
      select ${storedId(run, grant.leaseId)}::text, scope, ${run.runId}::text::bigint, ${grant.tokens}::int
      from set_config('synchronous_commit', 'on', true), asked
      where (select count(*) from held) = ${leased.length}::int
      on conflict do nothing
    )
    select count(*)::int as "held" from held`;
  if (found?.held !== leased.length) throw new Refusal(LEASE_LOST);
  return null;
}

/**
 * See {@link TokenLedger.settleLease}. When tokens settle one after another, all count as settled with the last. Does not
 * wait for the disk: if a settlement is lost, its lease only counts for longer.
 */
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
 * See {@link TokenLedger.readOpenLeases}. Returns two records for a partly settled lease. No request takes an hour, so an
 * unsettled lease older than that was lost with its run.
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
    select lease_id as "leaseId", scope as "scope", (tokens - settled_tokens)::int as "tokens",
      null::float8 as "settledMsAgo", null::text as "settledAt"
    from open where tokens > settled_tokens and granted_at > now() - interval '1 hour'
    union all
    select lease_id, scope, settled_tokens, (extract(epoch from now() - settled_at) * 1000)::float8,
      extract(epoch from settled_at)::text
    from open
    where settled_tokens > 0 and settled_at > now() - make_interval(secs => ${windowMs}::float8 / 1000)`;
}

/** Deletes leases that no budget counts any more: the longest budget covers one day. */
export async function pruneLeases(sql: Sql | TransactionSql): Promise<void> {
  await sql`delete from longtail.quota_lease where granted_at < now() - interval '25 hours'`;
}
