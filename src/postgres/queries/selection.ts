import type { PendingQuery, Row, Sql, TransactionSql } from 'postgres';
import type { SelectionKey } from '../../domain/filter.ts';
import type { SliceKey } from '../../domain/slice.ts';
import type { RunIdentity } from '../../store/types.ts';

/** The selection of a run, as its slices have it. */
export const selectionOf = ({ selection }: Pick<RunIdentity, 'selection'>): SelectionKey =>
  selection ?? { filterKey: '', aggregationType: '' };

/** An SQL condition: slices `s` of the run's selection. */
export function isOfSelection(
  sql: Sql | TransactionSql,
  run: Pick<RunIdentity, 'selection'>,
): PendingQuery<Row[]> {
  const { filterKey, aggregationType } = selectionOf(run);
  return sql`s.filter_key = ${filterKey}::text and s.aggregation_type = ${aggregationType}::text`;
}

/** A key as it comes from the database, where no part is an empty text. */
export interface KeyRow {
  readonly part: string;
}

/** Leaves an empty part out. */
export function withoutEmptyPart<T extends KeyRow>({
  part,
  ...row
}: T): Omit<T, 'part'> & Pick<SliceKey, 'part'> {
  return part === '' ? row : { ...row, part };
}
