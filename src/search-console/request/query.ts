import { type Dimension, factsOf } from '../../domain/dataset.ts';
import { EVERYTHING, type Filter, type Selection } from '../../domain/filter.ts';
import { fixedBy, groupedBy } from '../../domain/part.ts';
import type { Day, SearchType, Slice } from '../../domain/slice.ts';

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

/** One page of a slice: the rows `startRow` and on, of one day or one part of it. */
export function sliceQuery(
  slice: Omit<Slice, 'id'>,
  range: PageRange,
  { filters, aggregation }: Selection = EVERYTHING,
): ApiRequest {
  const all = [...filters, ...fixedBy(slice).map(({ dimension, value }) => equalTo(dimension, value))];
  return request(slice, slice.date, slice.date, groupedBy(slice), range, {
    dataState: factsOf(slice.dataset).dataState,
    // Left out rather than empty: a plain request has the form that everybody sends.
    ...(all.length > 0 && { dimensionFilterGroups: [{ groupType: 'and', filters: all }] }),
    ...(aggregation !== 'auto' && { aggregationType: aggregation }),
  });
}

const equalTo = (dimension: Dimension, expression: string) =>
  ({ dimension, operator: 'equals', expression }) as const;

/** The calendar: each day's totals over a range, the days Google has not published left out. Rows have one key, the day. */
export function calendarQuery(calendar: {
  readonly siteUrl: string;
  readonly searchType: SearchType;
  readonly from: Day;
  readonly to: Day;
}): ApiRequest {
  const range = { startRow: 0, rowLimit: MAX_ROW_LIMIT };
  return request(calendar, calendar.from, calendar.to, ['date'], range, { dataState: 'all' });
}

interface RequestRest {
  /** Both include fresh days; the calendar, or the answer itself, says what of them may still change. */
  readonly dataState: 'all' | 'hourly_all';
  readonly dimensionFilterGroups?: readonly {
    readonly groupType: 'and';
    readonly filters: readonly (Filter | ReturnType<typeof equalTo>)[];
  }[];
  readonly aggregationType?: string;
}

function request(
  property: { readonly siteUrl: string; readonly searchType: SearchType },
  startDate: Day,
  endDate: Day,
  dimensions: readonly (Dimension | 'date')[],
  { startRow, rowLimit }: PageRange,
  rest: RequestRest,
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
      ...rest,
      rowLimit,
      startRow,
    }),
    keyCount: dimensions.length,
    rowLimit,
  };
}
