import type { TransactionSql } from 'postgres';
import type { RunIdentity } from '../../store/types.ts';
import { FENCED_OFF, Refusal } from '../connection/answer.ts';

/**
 * Holds the run's row until the transaction ends, so that nobody takes the property over meanwhile, or refuses. Every
 * change that a run makes, pages apart, begins with it. Returns the property's site URL.
 */
export async function holdRun(tx: TransactionSql, run: RunIdentity): Promise<string> {
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
