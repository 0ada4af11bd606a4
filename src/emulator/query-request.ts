import { isDay } from '../domain/day.ts';
import { FILTER_OPERATORS } from '../domain/filter.ts';
import { type Day, SEARCH_TYPES, type SearchType } from '../domain/slice.ts';
import { type ApiError, badRequest, invalidArgument } from './api-errors.ts';
import { compileFilter, FILTERED_DIMENSIONS, type Filter } from './filters.ts';

/** `searchAnalytics.query`: parses and validates the request's body as Google does. */

export const API_DIMENSIONS = [
  'date',
  'query',
  'page',
  'country',
  'device',
  'searchAppearance',
  'hour',
] as const;
export type ApiDimension = (typeof API_DIMENSIONS)[number];
const DATA_STATES = ['final', 'all', 'hourlyAll'] as const;
export type DataState = (typeof DATA_STATES)[number];
const AGGREGATIONS = ['auto', 'byProperty', 'byPage', 'byNewsShowcasePanel'] as const;
export type Aggregation = Exclude<(typeof AGGREGATIONS)[number], 'auto'>;

export const MAX_ROW_LIMIT = 25_000;
const DEFAULT_ROW_LIMIT = 1_000;
const MAX_EXPRESSION = 4_096;
const MAX_INT32 = 2_147_483_647;

export interface QueryRequest {
  readonly kind: 'query';
  readonly searchType: SearchType;
  readonly startDate: Day;
  readonly endDate: Day;
  readonly dimensions: readonly ApiDimension[];
  /** All must hold. */
  readonly filters: readonly Filter[];
  readonly dataState: DataState;
  /** The effective aggregation: `auto` is already resolved. */
  readonly aggregation: Aggregation;
  readonly rowLimit: number;
  readonly startRow: number;
}

/** Validates a parsed JSON body. Names may be `camelCase` or `snake_case`, enum values `byPage` or `BY_PAGE`. */
export function readQueryRequest(body: unknown): QueryRequest | ApiError {
  const fields = objectFields(body, '', [
    'startDate',
    'endDate',
    'dimensions',
    'type',
    'searchType',
    'dataState',
    'aggregationType',
    'rowLimit',
    'startRow',
    'dimensionFilterGroups',
  ]);
  if ('kind' in fields) return fields;
  const { values } = fields;

  const missing = ['startDate', 'endDate'].filter(
    (name) => values[name] === undefined || values[name] === '',
  );
  if (missing.length > 0) {
    return badRequest(missing.map((name) => `${name} field is required.`).join('\n'), 'required');
  }
  const startDate = values.startDate;
  const endDate = values.endDate;
  if (typeof startDate !== 'string') return invalidArgument("Invalid value at 'start_date' (TYPE_STRING)");
  if (typeof endDate !== 'string') return invalidArgument("Invalid value at 'end_date' (TYPE_STRING)");
  for (const [name, date] of [
    ['startDate', startDate],
    ['endDate', endDate],
  ]) {
    if (date !== undefined && !isDay(date))
      return badRequest(`Invalid ${name}: '${date}'. Expected format: YYYY-MM-DD.`);
  }
  if (startDate > endDate) return badRequest('startDate must be before or equal to endDate.');

  const rowLimit = integer(values.rowLimit ?? DEFAULT_ROW_LIMIT, 'row_limit');
  if (typeof rowLimit !== 'number') return rowLimit;
  if (rowLimit < 1 || rowLimit > MAX_ROW_LIMIT)
    return badRequest(`rowLimit must be between 1 and ${MAX_ROW_LIMIT}.`);
  const startRow = integer(values.startRow ?? 0, 'start_row');
  if (typeof startRow !== 'number') return startRow;
  if (startRow < 0) return badRequest('startRow must be greater than or equal to 0.');

  const searchType = word(values.type ?? values.searchType ?? 'web', SEARCH_TYPES, 'type');
  if (typeof searchType !== 'string') return searchType;
  const dataState = word(values.dataState ?? 'final', DATA_STATES, 'data_state');
  if (typeof dataState !== 'string') return dataState;
  const asked = word(values.aggregationType ?? 'auto', AGGREGATIONS, 'aggregation_type');
  if (typeof asked !== 'string') return asked;

  const dimensions: ApiDimension[] = [];
  const dimensionList = values.dimensions ?? [];
  if (!Array.isArray(dimensionList)) return invalidArgument("Invalid value at 'dimensions'");
  for (const [index, item] of dimensionList.entries()) {
    const dimension = word(item, API_DIMENSIONS, `dimensions[${index}]`);
    if (typeof dimension !== 'string') return dimension;
    dimensions.push(dimension);
  }
  const filters = readFilters(values.dimensionFilterGroups ?? []);
  if ('kind' in filters) return filters;

  const aggregation = resolveAggregation(asked, searchType, dimensions, filters.filters);
  const problem = whyRefused(searchType, dimensions, filters.filters, dataState, asked);
  if (problem !== undefined) return badRequest(problem);
  return {
    kind: 'query',
    searchType,
    startDate,
    endDate,
    dimensions,
    filters: filters.filters,
    dataState,
    aggregation,
    rowLimit,
    startRow,
  };
}

function whyRefused(
  searchType: SearchType,
  dimensions: readonly ApiDimension[],
  filters: readonly Filter[],
  dataState: DataState,
  aggregation: (typeof AGGREGATIONS)[number],
): string | undefined {
  const has = (dimension: ApiDimension): boolean => dimensions.includes(dimension);
  const involves = (dimension: ApiDimension): boolean =>
    has(dimension) || filters.some((filter) => filter.dimension === dimension);
  if (new Set(dimensions).size !== dimensions.length)
    return 'Cannot group by the same dimension more than once.';
  if (has('searchAppearance') && dimensions.length > 1) {
    return 'Cannot group by search appearance dimension together with another dimension.';
  }
  if (searchType === 'discover' && has('device')) return 'Requests for Discover cannot be grouped by device';
  if (searchType === 'discover' && involves('query'))
    return 'Requests for Discover cannot be grouped by query';
  if (searchType === 'googleNews' && involves('query'))
    return 'Requests for Google News cannot be grouped by query';
  if (has('date') && has('hour')) return 'Cannot group by date and hour dimensions together.';
  if (has('hour') && dataState !== 'hourlyAll')
    return 'Grouping by hour requires dataState to be HOURLY_ALL.';
  if (dataState === 'hourlyAll' && !has('hour')) return 'dataState HOURLY_ALL requires grouping by hour.';
  if (aggregation === 'byProperty' && involves('page')) {
    return 'Cannot aggregate by property when grouping or filtering by page.';
  }
  if (aggregation === 'byProperty' && (searchType === 'discover' || searchType === 'googleNews')) {
    return 'Aggregation by property is not supported for Discover and Google News.';
  }
  if (aggregation === 'byNewsShowcasePanel') {
    const showcaseOnly = filters.some(
      (filter) =>
        filter.dimension === 'searchAppearance' &&
        filter.operator === 'equals' &&
        filter.expression === 'NEWS_SHOWCASE',
    );
    if (!showcaseOnly || involves('page') || (searchType !== 'discover' && searchType !== 'googleNews')) {
      return 'Aggregation by News Showcase panel requires a NEWS_SHOWCASE search appearance filter and type discover or googleNews, without page.';
    }
  }
  return undefined;
}

function resolveAggregation(
  asked: (typeof AGGREGATIONS)[number],
  searchType: SearchType,
  dimensions: readonly ApiDimension[],
  filters: readonly Filter[],
): Aggregation {
  if (asked !== 'auto') return asked;
  const byPage = dimensions.includes('page') || filters.some((filter) => filter.dimension === 'page');
  return byPage || searchType === 'discover' || searchType === 'googleNews' ? 'byPage' : 'byProperty';
}

function readFilters(groups: unknown): { readonly filters: readonly Filter[] } | ApiError {
  if (!Array.isArray(groups)) return invalidArgument("Invalid value at 'dimension_filter_groups'");
  const filters: Filter[] = [];
  for (const [groupIndex, item] of groups.entries()) {
    const where = `dimension_filter_groups[${groupIndex}]`;
    const group = objectFields(item, where, ['groupType', 'filters']);
    if ('kind' in group) return group;
    const groupType = word(group.values.groupType ?? 'and', ['and'] as const, `${where}.group_type`);
    if (typeof groupType !== 'string') return groupType;
    const list = group.values.filters ?? [];
    if (!Array.isArray(list)) return invalidArgument(`Invalid value at '${where}.filters'`);
    for (const [index, entry] of list.entries()) {
      const place = `${where}.filters[${index}]`;
      const fields = objectFields(entry, place, ['dimension', 'operator', 'expression']);
      if ('kind' in fields) return fields;
      const dimension = word(fields.values.dimension, FILTERED_DIMENSIONS, `${place}.dimension`);
      if (typeof dimension !== 'string') return dimension;
      const operator = word(fields.values.operator ?? 'equals', FILTER_OPERATORS, `${place}.operator`);
      if (typeof operator !== 'string') return operator;
      const expression = fields.values.expression;
      if (typeof expression !== 'string')
        return invalidArgument(`Invalid value at '${place}.expression' (TYPE_STRING)`);
      if (expression.length > MAX_EXPRESSION) {
        return badRequest(`Filter expressions have at most ${MAX_EXPRESSION} characters.`);
      }
      const filter = compileFilter(dimension, operator, expression);
      if (filter === undefined) return badRequest(`Invalid regular expression: '${expression}'.`);
      filters.push(filter);
    }
  }
  return { filters };
}

/** Google also accepts whole numbers as strings. */
function integer(value: unknown, name: string): number | ApiError {
  const number = typeof value === 'string' && /^-?\d+$/.test(value) ? Number(value) : value;
  if (typeof number === 'number' && Number.isInteger(number) && Math.abs(number) <= MAX_INT32) return number;
  return invalidArgument(`Invalid value at '${name}' (TYPE_INT32), ${JSON.stringify(value)}`);
}

/** An enum value, spelled `byPage` or `BY_PAGE`. */
function word<const W extends string>(value: unknown, words: readonly W[], name: string): W | ApiError {
  const plain = (text: string): string => text.replaceAll('_', '').toLowerCase();
  const found = typeof value === 'string' ? words.find((item) => plain(item) === plain(value)) : undefined;
  return found ?? invalidArgument(`Invalid value at '${name}', ${JSON.stringify(value) ?? 'nothing'}`);
}

function objectFields(
  value: unknown,
  where: string,
  names: readonly string[],
): { readonly values: Readonly<Record<string, unknown>> } | ApiError {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return invalidArgument(
      `Invalid value at '${where === '' ? 'request' : where}', a JSON object was expected.`,
    );
  }
  const values: Record<string, unknown> = {};
  for (const [name, item] of Object.entries(value)) {
    const camel = name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    if (!names.includes(camel)) {
      const at = where === '' ? '' : ` at '${where}'`;
      return invalidArgument(
        `Invalid JSON payload received. Unknown name "${name}"${at}: Cannot find field.`,
      );
    }
    // Google's JSON parser treats null like a missing field.
    if (item !== null) values[camel] = item;
  }
  return { values };
}
