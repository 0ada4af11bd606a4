import type { Sql } from 'postgres';
import type { SliceKey } from '../../domain/slice.ts';
import type { RunIdentity } from '../../store/types.ts';
import { transaction } from '../connection/transaction.ts';
import { lockRunRow } from '../locks/lock-run-row.ts';
import { isOfSelection, type KeyRow, withoutEmptyPart } from '../queries/selection.ts';

/** See {@link SliceLedger.noteShortPage}. */
export async function noteShortPage(sql: Sql, run: RunIdentity): Promise<null> {
  return await transaction(sql, async (tx) => {
    await lockRunRow(tx, run);
    await tx`
      update longtail.property set short_page_at = now() where id = ${run.propertyId}::text::bigint`;
    return null;
  });
}

/**
 * See {@link SliceLedger.doubtShortEnds}. Commits that were under way when the short page was noted may have sealed
 * their slices by the old rule: they belong to a run that was under way then, whose slices are looked at each time.
 * An hour of grace covers a slice that a crashed run had begun and its successor found to be cut.
 */
export async function doubtShortEnds(sql: Sql, run: RunIdentity): Promise<SliceKey[]> {
  return await transaction(sql, async (tx) => {
    await lockRunRow(tx, run);
    const doubted = tx`
      update longtail.slice s set doubted = true
      from longtail.property p join longtail.run r on r.property_id = p.id
      where p.id = ${run.propertyId}::text::bigint and p.short_page_at is not null
        and r.started_at <= p.short_page_at
        and coalesce(r.ended_at, now()) >= p.short_page_at - interval '1 hour'
        and s.property_id = p.id and s.run_id = r.id and s.status = 'complete' and not s.doubted
        and exists (select from longtail.slice_page e where e.slice_id = s.id and e.last and e.short)`.execute();
    const keys = tx<(SliceKey & KeyRow)[]>`
      select s.search_type as "searchType", s.dataset as "dataset", s.date::text as "date", s.part as "part"
      from longtail.slice s
      where s.property_id = ${run.propertyId}::text::bigint and s.status = 'complete' and s.doubted
        and ${isOfSelection(tx, run)}
      order by s.date desc, s.search_type, s.dataset, s.part`.execute();
    const [, rows] = await Promise.all([doubted, keys]);
    return rows.map(withoutEmptyPart);
  });
}
