import { isTwoStep } from '../../domain/dataset.ts';
import { type DrawnKey, filtersOf } from '../../domain/row-check.ts';
import type { ApiRequest } from './query.ts';

/** A filter ignores case in some dimensions, so that more than one row may pass. */
const ROW_LIMIT = 100;

/**
 * Asks for one key of one day: a filter for each dimension. Grouped by the same dimensions, so that the answer says which key
 * each of its rows has.
 */
export function keyQuery(siteUrl: string, { slice, keys }: Pick<DrawnKey, 'slice' | 'keys'>): ApiRequest {
  const filtered = filtersOf(slice.dataset);
  // Google does not group by search appearance together with others. It is the last of a key's dimensions.
  const dimensions = isTwoStep(slice.dataset) ? filtered.slice(0, -1) : filtered;
  const filters = filtered.map((dimension, index) => ({
    dimension,
    operator: 'equals',
    expression: keys[index] ?? '',
  }));
  return {
    method: 'POST',
    path: `/webmasters/v3/sites/${encodeURIComponent(siteUrl)}/searchAnalytics/query?prettyPrint=false`,
    body: JSON.stringify({
      startDate: slice.date,
      endDate: slice.date,
      dimensions,
      type: slice.searchType,
      ...(filters.length === 0 ? {} : { dimensionFilterGroups: [{ groupType: 'and', filters }] }),
      // As when the table's row was fetched.
      dataState: 'all',
      rowLimit: ROW_LIMIT,
      startRow: 0,
    }),
    keyCount: dimensions.length,
    rowLimit: ROW_LIMIT,
  };
}
