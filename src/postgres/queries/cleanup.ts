import type { Sql, TransactionSql } from 'postgres';
import { errorFacts } from '../../domain/error-facts.ts';
import { transaction } from '../connection/transaction.ts';
import { pruneLeases } from '../locks/token-leases.ts';

/** Slices whose rows go in one round: ids only, so that the list stays small. */
const SLICES_A_ROUND = 500;
/** Rows that go at once: few enough for a slow database to be through with them in the time of a statement. */
const ROWS_AT_ONCE = 10_000;
/** All of it can be done next time: so nothing waits for long, for a lock or for a slow disk. */
const LOCK_TIMEOUT_MS = 2_000;
const STATEMENT_TIMEOUT_MS = 10_000;
const CLEAN_UP_WITHIN_MS = 30_000;

/**
 * Deletes the rows and ledgers of the property's versions that ended without being what readers see, its crashed runs'
 * among them, so many rows at a time, and leases that are too old to count. Open slices that nobody has touched for a day are
 * given up first. Stops early when `isAborted` says so, when it has taken half a minute, and at whatever the database has
 * against it: a run is complete all the same, and the next one goes on. Returns the number of slices.
 *
 * Call it with the property's lock held.
 */
export async function cleanUp(sql: Sql, propertyId: string, isAborted: () => boolean): Promise<number> {
  const late = AbortSignal.timeout(CLEAN_UP_WITHIN_MS);
  let cleaned = 0;
  await unlessRefused(async () => {
    await giveUpOldSlices(sql, propertyId);
    for await (const id of endedSlices(sql, propertyId)) {
      let isDone = false;
      while (!isDone) {
        if (isAborted() || late.aborted) return;
        isDone = await deleteRows(sql, id);
      }
      cleaned += 1;
    }
  });
  if (!isAborted()) await unlessRefused(() => bounded(sql, pruneLeases));
  return cleaned;
}

/** What may be done another time: whatever PostgreSQL or the line says against it is an answer. A bug is none. */
async function unlessRefused(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (errorFacts(error).code === '') throw error;
  }
}

/** A transaction that waits for nobody for long. */
async function bounded<T>(sql: Sql, work: (tx: TransactionSql) => Promise<T>): Promise<T> {
  return await transaction(sql, async (tx) => {
    // Sent at once, so that it comes before the work and costs no round trip.
    const limits = tx
      .unsafe(
        `select set_config('lock_timeout', '${LOCK_TIMEOUT_MS}', true),
          set_config('statement_timeout', '${STATEMENT_TIMEOUT_MS}', true)`,
      )
      .execute();
    const [, result] = await Promise.all([limits, work(tx)]);
    return result;
  });
}

async function giveUpOldSlices(sql: Sql, propertyId: string): Promise<void> {
  await bounded(
    sql,
    (tx) => tx`
      update longtail.slice s set status = 'abandoned', error = 'left open by an earlier run'
      where s.property_id = ${propertyId}::text::bigint and s.status = 'open'
        and s.opened_at < now() - interval '1 day'
        and not exists (select from longtail.slice_page p
          where p.slice_id = s.id and p.committed_at > now() - interval '1 day')
        and exists (select from longtail.run r where r.id = s.run_id and r.status <> 'running')`,
  );
}

async function* endedSlices(sql: Sql, propertyId: string): AsyncGenerator<string, void, undefined> {
  let after = '0';
  for (;;) {
    const from = after;
    const ended = await bounded(
      sql,
      (tx) => tx<{ id: string }[]>`
        select id::text as "id" from longtail.slice
        where property_id = ${propertyId}::text::bigint and has_facts
          and status in ('superseded', 'failed', 'abandoned') and id > ${from}::text::bigint
        order by slice.id limit ${SLICES_A_ROUND}`,
    );
    for (const { id } of ended) yield id;
    const last = ended.at(-1);
    if (last === undefined || ended.length < SLICES_A_ROUND) return;
    after = last.id;
  }
}

/** Of one slice, in one statement. The ledger's entries go with the last rows. Resolves whether those are gone. */
async function deleteRows(sql: Sql, sliceId: string): Promise<boolean> {
  const [gone] = await bounded(
    sql,
    (tx) => tx<{ rows: number }[]>`
      with ended as (
        select id from longtail.slice
        where id = ${sliceId}::text::bigint and has_facts and status in ('superseded', 'failed', 'abandoned')
        for no key update
      ), facts as (
        delete from longtail.fact f using ended
        where f.slice_id = ended.id and f.ctid = any(array(
          select ctid from longtail.fact where slice_id = ${sliceId}::text::bigint limit ${ROWS_AT_ONCE}::int))
        returning f.slice_id
      ), counted as (
        select count(*)::int as rows from facts
      ), pages as (
        delete from longtail.slice_page p using ended, counted
        where p.slice_id = ended.id and counted.rows < ${ROWS_AT_ONCE}::int
      ), done as (
        update longtail.slice s set has_facts = false from ended, counted
        where s.id = ended.id and counted.rows < ${ROWS_AT_ONCE}::int
      )
      select rows as "rows" from counted`,
  );
  return (gone?.rows ?? 0) < ROWS_AT_ONCE;
}

/** A tenth of PostgreSQL's own: 3,000 rows are looked at instead of 30,000, each of them in a block of its own. */
const STATISTICS_TARGET = 10;

/**
 * Tells PostgreSQL what a run has written, so that the first questions are answered with a good plan. Autovacuum looks
 * more closely later; so a table that somebody has locked is left to it.
 */
export async function analyze(sql: Sql): Promise<void> {
  for (const table of ['property', 'slice', 'fact']) {
    await unlessRefused(() =>
      bounded(sql, async (tx) => {
        await tx.unsafe(`set local default_statistics_target = ${STATISTICS_TARGET}`);
        await tx.unsafe(`analyze longtail.${table}`);
      }),
    );
  }
}
