import { FILTER_DIMENSIONS, type Filter } from '../../domain/filter.ts';
import { askedKey, type DrawnKey } from '../../domain/row-check.ts';
import { type ApiRequest, sliceQuery } from './query.ts';

/** A filter ignores case in some dimensions, so that more than one row may pass. */
const ROW_LIMIT = 100;

/**
 * Asks for one key of one day, or of one part of it: a filter for each dimension. Grouped as when the table's row was fetched,
 * so that the answer says which key each of its rows has.
 */
export function keyQuery(siteUrl: string, key: Pick<DrawnKey, 'slice' | 'keys'>): ApiRequest {
  const filters = askedKey(key).map(({ dimension, value }): Filter => {
    const filtered = FILTER_DIMENSIONS.find((known) => known === dimension);
    if (filtered === undefined) throw new Error(`no filter looks for a value of ${dimension}`);
    return { dimension: filtered, operator: 'equals', expression: value };
  });
  const range = { startRow: 0, rowLimit: ROW_LIMIT };
  return sliceQuery({ ...key.slice, siteUrl }, range, { filters, aggregation: 'auto' });
}
