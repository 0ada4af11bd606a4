import type { TransactionSql } from 'postgres';
import type { RunIdentity } from '../../store/types.ts';
import { FENCED_OFF, Refusal } from '../connection/answer.ts';

/**
 * Locks the run's row until the transaction ends, so that no other run takes over the property meanwhile. Throws if one
 * already has. Every write of a run starts with it, except for pages. Returns the property's site URL.
 */
export async function lockRunRow(tx: TransactionSql, run: RunIdentity): Promise<string> {
  const timeout = tx`set local lock_timeout = '10s'`.simple().execute();
  const held = tx<{ siteUrl: string }[]>`
    select p.site_url as "siteUrl" from longtail.run r
    join longtail.property p on p.id = r.property_id and p.epoch = r.epoch
    where r.id = ${run.runId}::text::bigint and r.status = 'running' and r.epoch = ${run.epoch}::text::bigint
    for share of r`.execute();
  const [, [row]] = await Promise.all([timeout, held]);
  if (row === undefined) throw new Refusal(FENCED_OFF);
  return row.siteUrl;
}
