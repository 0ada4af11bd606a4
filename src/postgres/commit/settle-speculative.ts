import type { Sql } from 'postgres';
import type { SliceKey } from '../../domain/slice.ts';
import { NOT_PUBLISHED } from '../../planning/seal.ts';
import type { RunIdentity, SettledKey } from '../../store/types.ts';
import { transaction } from '../connection/transaction.ts';
import { lockRunRow } from '../locks/lock-run-row.ts';
import { isOfSelection } from '../queries/selection.ts';

/** See {@link SliceLedger.settleSpeculative}. */
export async function settleSpeculative(
  sql: Sql,
  run: RunIdentity,
  keys: readonly SettledKey[],
): Promise<SliceKey[]> {
  if (keys.length === 0) return [];
  const json = JSON.stringify(
    keys.map(({ searchType, dataset, date, part = '', final }) => ({
      search_type: searchType,
      dataset,
      date,
      part,
      final,
    })),
  );
  return await transaction(sql, async (tx) => {
    await lockRunRow(tx, run);
    const ours = tx`
      longtail.slice s join jsonb_to_recordset(${json}::text::jsonb)
        as k(search_type text, dataset text, date date, part text, final bool) using (search_type, dataset, date, part)
      where s.property_id = ${run.propertyId}::text::bigint and s.run_id = ${run.runId}::text::bigint
        and ${isOfSelection(tx, run)}`;
    // Waits for every commit that may have used the earlier knowledge. Newest first, like the commit of a refetch, which
    // holds its own lock while it changes the previous version. Any other order could deadlock.
    const locked = tx`select s.id from ${ours} order by s.id desc for no key update of s`.execute();
    // A separate statement, so that it sees what those commits wrote.
    const settled = tx`
      update longtail.slice set final = true, data_state = 'final'
      where id in (select s.id from ${ours} and k.final) and status = 'complete'`.execute();
    const unpublished = tx<SliceKey[]>`
      select newest.search_type as "searchType", newest.dataset as "dataset", newest.date::text as "date"
      from (
        select distinct on (s.date, s.search_type, s.dataset) s.search_type, s.dataset, s.date, s.status, s.error
        from ${ours} order by s.date desc, s.search_type, s.dataset, s.version desc
      ) newest
      where newest.status = 'abandoned' and newest.error = ${NOT_PUBLISHED}::text
      order by newest.date desc, newest.search_type, newest.dataset`.execute();
    const [, , rows] = await Promise.all([locked, settled, unpublished]);
    return [...rows];
  });
}
