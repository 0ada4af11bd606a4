import type { Sql } from 'postgres';
import { pruneLeases } from './leases.ts';
import { transaction } from './transaction.ts';

/** Slices whose rows go in one round: ids only, so that the list stays small. */
const SLICES_A_ROUND = 500;

/**
 * Deletes the rows and ledgers of the property's versions that ended without being what readers see, its crashed runs'
 * among them, a transaction a slice (50,000 rows: 30 ms), and leases that are too old to count. Open slices that
 * nobody has touched for a day are given up first. Stops early when `isAborted` says so. Returns the number of slices.
 *
 * Call it with the property's lock held.
 */
export async function cleanUp(sql: Sql, propertyId: string, isAborted: () => boolean): Promise<number> {
  await sql`
    update longtail.slice s set status = 'abandoned', error = 'left open by an earlier run'
    where s.property_id = ${propertyId}::text::bigint and s.status = 'open'
      and s.opened_at < now() - interval '1 day'
      and not exists (select from longtail.slice_page p
        where p.slice_id = s.id and p.committed_at > now() - interval '1 day')
      and exists (select from longtail.run r where r.id = s.run_id and r.status <> 'running')`;
  await pruneLeases(sql);
  let cleaned = 0;
  for (;;) {
    const ended = await sql<{ id: string }[]>`
      select id::text as "id" from longtail.slice
      where property_id = ${propertyId}::text::bigint and has_facts
        and status in ('superseded', 'failed', 'abandoned')
      order by id limit ${SLICES_A_ROUND}`;
    for (const { id } of ended) {
      if (isAborted()) return cleaned;
      await deleteRows(sql, id);
      cleaned += 1;
    }
    if (ended.length < SLICES_A_ROUND) return cleaned;
  }
}

/** One statement, and so one transaction: a ledger's entry and its rows go together. */
async function deleteRows(sql: Sql, sliceId: string): Promise<void> {
  await sql`
    with ended as (
      update longtail.slice set has_facts = false
      where id = ${sliceId}::text::bigint and status in ('superseded', 'failed', 'abandoned')
      returning id
    ), pages as (
      delete from longtail.slice_page p using ended where p.slice_id = ended.id
    )
    delete from longtail.fact f using ended where f.slice_id = ended.id`;
}

/** A tenth of PostgreSQL's own: 3,000 rows are looked at instead of 30,000, each of them in a block of its own. */
const STATISTICS_TARGET = 10;

/**
 * Tells PostgreSQL what a run has written, so that the first questions are answered with a good plan. Autovacuum looks
 * more closely later.
 */
export async function analyze(sql: Sql): Promise<void> {
  await transaction(sql, async (tx) => {
    await tx.unsafe(`set local default_statistics_target = ${STATISTICS_TARGET}`);
    for (const table of ['property', 'slice', 'fact']) await tx.unsafe(`analyze longtail.${table}`);
  });
}
