import { createHash } from 'node:crypto';
import { quoted } from './quoted.ts';

/** What a user selects of a property's rows: filters and an aggregation. Slices of one selection never mix with others. */

export const FILTER_DIMENSIONS = ['page', 'query', 'country', 'device', 'searchAppearance'] as const;
export type FilterDimension = (typeof FILTER_DIMENSIONS)[number];

/** Google's operators. Expressions of the last two are regular expressions in RE2's syntax. */
export const FILTER_OPERATORS = [
  'equals',
  'notEquals',
  'contains',
  'notContains',
  'includingRegex',
  'excludingRegex',
] as const;
export type FilterOperator = (typeof FILTER_OPERATORS)[number];

/** One condition. All conditions of a run must hold. */
export interface Filter {
  readonly dimension: FilterDimension;
  readonly operator: FilterOperator;
  /** At most 4,096 characters. */
  readonly expression: string;
}

/** How impressions are counted: once for a search, or once for each page that it showed. */
export const AGGREGATIONS = ['auto', 'byProperty', 'byPage'] as const;
export type Aggregation = (typeof AGGREGATIONS)[number];

/** What a run asks for besides datasets. */
export interface Selection {
  readonly filters: readonly Filter[];
  /** `auto`: Google's choice, by page where pages are grouped or filtered. */
  readonly aggregation: Aggregation;
}

export const EVERYTHING: Selection = { filters: [], aggregation: 'auto' };

/** The selection in a slice's key. Both are empty for {@link EVERYTHING}. */
export interface SelectionKey {
  readonly filterKey: string;
  readonly aggregationType: string;
}

const MAX_EXPRESSION = 4_096;
/** An index entry of PostgreSQL has room for 2,700 bytes. */
const MAX_KEY_BYTES = 1_000;

const OTHER_OPERATORS: Readonly<Record<string, FilterOperator>> = {
  includes: 'contains',
  excludes: 'notContains',
  matches: 'includingRegex',
  notmatches: 'excludingRegex',
};

/** Reads a filter as it is written on a command line: `page includes /blog/`. */
export function parseFilter(text: string): { readonly filter: Filter } | { readonly problem: string } {
  const [, dimension = '', operator = '', expression = ''] =
    /^\s*(\S+)\s+(\S+)\s+(.*?)\s*$/s.exec(text) ?? [];
  if (expression === '') {
    return { problem: `${quoted(text)} is not a filter: write "dimension operator expression".` };
  }
  return checkFilter({ dimension, operator, expression });
}

/** Checks a filter of any origin. Names may be written in any case, and operators by their other names. */
export function checkFilter(given: {
  readonly dimension: string;
  readonly operator: string;
  readonly expression: string;
}): { readonly filter: Filter } | { readonly problem: string } {
  const { expression } = given;
  const dimension = FILTER_DIMENSIONS.find((name) => name.toLowerCase() === given.dimension.toLowerCase());
  if (dimension === undefined) {
    return {
      problem: `${quoted(given.dimension)} cannot be filtered: use one of ${FILTER_DIMENSIONS.join(', ')}.`,
    };
  }
  const written = given.operator.toLowerCase();
  const operator =
    FILTER_OPERATORS.find((name) => name.toLowerCase() === written) ??
    (Object.hasOwn(OTHER_OPERATORS, written) ? OTHER_OPERATORS[written] : undefined);
  if (operator === undefined) {
    return {
      problem: `${quoted(given.operator)} is not an operator: use one of ${FILTER_OPERATORS.join(', ')}.`,
    };
  }
  if (expression === '' || expression.length > MAX_EXPRESSION) {
    return { problem: `A filter's expression has 1 to 4,096 characters; this one has ${expression.length}.` };
  }
  return { filter: { dimension, operator, expression } };
}

/** The filter as {@link parseFilter} reads it, and as the view shows it. */
export const filterText = ({ dimension, operator, expression }: Filter): string =>
  `${dimension} ${operator} ${JSON.stringify(expression)}`;

/**
 * The same filters in any order have the same key: `page contains "/blog/" and query equals "x"`. Of a longer one a hash is
 * the key.
 */
export function selectionKey({ filters, aggregation }: Selection): SelectionKey {
  const texts = [...new Set(filters.map(filterText))].sort();
  const text = texts.join(' and ');
  const filterKey =
    Buffer.byteLength(text) <= MAX_KEY_BYTES
      ? text
      : `sha256:${createHash('sha256').update(text).digest('hex')}`;
  return { filterKey, aggregationType: aggregation === 'auto' ? '' : aggregation };
}

/** Whether a selection leaves out rows: then a day with clicks may have none. */
export const isSelective = ({ filters }: Selection): boolean => filters.length > 0;

/** Whether anything but {@link EVERYTHING} is selected. */
export const isSelected = ({ filters, aggregation }: Selection): boolean =>
  filters.length > 0 || aggregation !== 'auto';
