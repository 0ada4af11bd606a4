import { type Dataset, type Day, dimensionsOf, type SearchType, type Slice } from '../../domain/slice.ts';

/** Google's limit. @see https://developers.google.com/webmaster-tools/v1/searchanalytics/query */
export const MAX_ROW_LIMIT = 25_000;

/** One API request, sent alone or as part of a batch. */
export interface ApiRequest {
  readonly method: 'POST';
  /** Path and query string, beginning with `/`: `/webmasters/v3/sites/…/searchAnalytics/query?prettyPrint=false`. */
  readonly path: string;
  /** JSON. */
  readonly body: string;
  /** Keys per row of the answer. */
  readonly keyCount: number;
  /** Maximum rows of the answer. */
  readonly rowLimit: number;
}

export interface PageRange {
  readonly startRow: number;
  /** 1 to {@link MAX_ROW_LIMIT}. */
  readonly rowLimit: number;
}

/** One page of a slice: the rows `startRow` and on, of one day. */
export function sliceQuery(slice: Omit<Slice, 'id'>, range: PageRange): ApiRequest {
  return request(slice, slice.date, slice.date, dimensionsOf(slice.dataset), range);
}

/** The calendar: each day's totals over a range, the days Google has not published left out. Rows have one key, the day. */
export function calendarQuery(calendar: {
  readonly siteUrl: string;
  readonly searchType: SearchType;
  readonly from: Day;
  readonly to: Day;
}): ApiRequest {
  const range = { startRow: 0, rowLimit: MAX_ROW_LIMIT };
  return request(calendar, calendar.from, calendar.to, ['date'], range);
}

function request(
  property: { readonly siteUrl: string; readonly searchType: SearchType },
  startDate: Day,
  endDate: Day,
  dimensions: readonly (Dataset | 'date')[],
  { startRow, rowLimit }: PageRange,
): ApiRequest {
  return {
    method: 'POST',
    // Indented JSON is 50 % larger.
    path: `/webmasters/v3/sites/${encodeURIComponent(property.siteUrl)}/searchAnalytics/query?prettyPrint=false`,
    body: JSON.stringify({
      startDate,
      endDate,
      dimensions,
      type: property.searchType,
      // Includes fresh days; the calendar says which of them may still change.
      dataState: 'all',
      rowLimit,
      startRow,
    }),
    keyCount: dimensions.length,
    rowLimit,
  };
}
