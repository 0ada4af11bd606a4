import type { Sql, TransactionSql } from 'postgres';
import { errorFacts } from '../../domain/error-facts.ts';
import { ROWS_GIVEN_AT_MOST } from '../../planning/seal.ts';
import { transaction } from '../connection/transaction.ts';
import { pruneLeases } from '../locks/token-leases.ts';

/** Slices per round. Only ids are read, so the list stays small. */
const SLICES_PER_ROUND = 500;
/** Rows per delete: few enough for a slow database to finish within the statement timeout. */
const ROWS_AT_ONCE = 10_000;
/** All of this can be done next time, so nothing waits long for a lock or a slow disk. */
const LOCK_TIMEOUT_MS = 2_000;
const STATEMENT_TIMEOUT_MS = 10_000;
const CLEAN_UP_WITHIN_MS = 30_000;

/**
 * Deletes, in batches, the rows and ledger entries of the property's slice versions that have ended and that readers do
 * not see, those of crashed runs included; then leases too old to count. First notes which slices Google has cut off,
 * and abandons open slices that have been untouched for a day. Stops early when `isAborted` returns true, after half a minute, and at any database error: the run is
 * complete anyway, and the next one continues. Returns the number of slices cleaned up.
 *
 * Call it while holding the property's lease.
 */
export async function cleanUp(sql: Sql, propertyId: string, isAborted: () => boolean): Promise<number> {
  const late = AbortSignal.timeout(CLEAN_UP_WITHIN_MS);
  let cleaned = 0;
  await ignoringRefusals(async () => {
    await noteCaps(sql, propertyId);
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
  if (!isAborted()) await ignoringRefusals(() => bounded(sql, pruneLeases));
  return cleaned;
}

/** Ignores database errors: this work can be done another time. Bugs are rethrown. */
async function ignoringRefusals(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (errorFacts(error).code === '') throw error;
  }
}

/** A transaction with short timeouts. */
async function bounded<T>(sql: Sql, work: (tx: TransactionSql) => Promise<T>): Promise<T> {
  return await transaction(sql, async (tx) => {
    // Sent together with the work, ahead of it, so it costs no extra round trip.
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

/** Days whose number of rows is the same round maximum, before it counts as Google's own cap. */
const DAYS_OF_A_CAP = 3;

/**
 * Notes which slices Google has cut off. Of queries alone it may give fewer than 50,000 a day: the largest number that
 * any day has, if it is a round thousand and several days have just that. More days may teach another cap, or none.
 */
async function noteCaps(sql: Sql, propertyId: string): Promise<void> {
  await bounded(
    sql,
    (tx) => tx`
      update longtail.slice s set capped = judged.capped
      from (
        select id, given >= ${ROWS_GIVEN_AT_MOST}::int
          or (given = most and most > 0 and most % 1000 = 0 and days >= ${DAYS_OF_A_CAP}::int) as capped
        from (
          select id, given, max(given) over of_type as most, count(*) over of_type_and_given as days
          from (
            select id, search_type, part, filter_key, aggregation_type, rows + duplicates_dropped as given
            from longtail.slice
            where property_id = ${propertyId}::text::bigint and dataset = 'query' and status = 'complete'
          ) slices
          window of_type as (partition by search_type, part, filter_key, aggregation_type),
            of_type_and_given as (partition by search_type, part, filter_key, aggregation_type, given)
        ) counted
      ) judged
      where s.id = judged.id and s.capped <> judged.capped`,
  );
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
        order by slice.id limit ${SLICES_PER_ROUND}`,
    );
    for (const { id } of ended) yield id;
    const last = ended.at(-1);
    if (last === undefined || ended.length < SLICES_PER_ROUND) return;
    after = last.id;
  }
}

/** Deletes rows of one slice in one statement, the ledger entries with the last rows. Resolves to whether none are left. */
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

/** A tenth of PostgreSQL's default: it samples 3,000 rows instead of 30,000, each in a block of its own. */
const STATISTICS_TARGET = 10;

/**
 * Updates PostgreSQL's statistics after a run, so that the first queries get a good plan. Autovacuum samples more later,
 * so a table that is locked is left to it.
 */
export async function analyze(sql: Sql): Promise<void> {
  for (const table of ['property', 'slice', 'fact']) {
    await ignoringRefusals(() =>
      bounded(sql, async (tx) => {
        await tx.unsafe(`set local default_statistics_target = ${STATISTICS_TARGET}`);
        await tx.unsafe(`analyze longtail.${table}`);
      }),
    );
  }
}
