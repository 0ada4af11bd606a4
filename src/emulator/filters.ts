import type { FilterOperator } from '../domain/filter.ts';
import type { TextPool } from './text-pool.ts';

export const FILTERED_DIMENSIONS = ['query', 'page', 'country', 'device', 'searchAppearance'] as const;
export type FilteredDimension = (typeof FILTERED_DIMENSIONS)[number];

export interface Filter {
  readonly dimension: FilteredDimension;
  readonly operator: FilterOperator;
  readonly expression: string;
  readonly matches: (value: string) => boolean;
}

/**
 * Compiles a filter. Undefined: its regular expression is invalid. `contains` ignores case; `equals` is case-sensitive
 * for pages and queries. RE2's syntax is close enough to JavaScript's, except for leading flags, `(?i)`, and for what RE2
 * refuses: looking ahead and behind, references to groups.
 */
export function compileFilter(
  dimension: FilteredDimension,
  operator: FilterOperator,
  expression: string,
): Filter | undefined {
  const matches = matcher(dimension, operator, expression);
  return matches === undefined ? undefined : { dimension, operator, expression, matches };
}

function matcher(
  dimension: FilteredDimension,
  operator: FilterOperator,
  expression: string,
): ((value: string) => boolean) | undefined {
  const exactCase = dimension === 'page' || dimension === 'query';
  const folded = expression.toLowerCase();
  switch (operator) {
    case 'equals':
      return exactCase ? (value) => value === expression : (value) => value.toLowerCase() === folded;
    case 'notEquals':
      return exactCase ? (value) => value !== expression : (value) => value.toLowerCase() !== folded;
    case 'contains':
      return (value) => value.toLowerCase().includes(folded);
    case 'notContains':
      return (value) => !value.toLowerCase().includes(folded);
    case 'includingRegex':
    case 'excludingRegex': {
      const regex = fromRe2(expression);
      if (regex === undefined) return undefined;
      return operator === 'includingRegex' ? (value) => regex.test(value) : (value) => !regex.test(value);
    }
  }
}

const NOT_IN_RE2 = /\\[1-9]|\\k<|\(\?(?:=|!|<=|<!|>)/;
const QUOTED = /\\[^1-9k]|\[(?:\\.|[^\]\\])*\]/g;

function fromRe2(expression: string): RegExp | undefined {
  if (NOT_IN_RE2.test(expression.replaceAll(QUOTED, ''))) return undefined;
  const front = /^\(\?([ims]+)\)/.exec(expression);
  const source = (front === null ? expression : expression.slice(front[0].length))
    .replaceAll('(?P<', '(?<')
    .replaceAll('\\A', '^')
    .replaceAll('\\z', '$');
  try {
    return new RegExp(source, `u${[...new Set(front?.[1] ?? '')].join('')}`);
  } catch {
    try {
      // Without the u flag, JavaScript accepts escapes such as \- that RE2 also accepts.
      return new RegExp(source, [...new Set(front?.[1] ?? '')].join(''));
    } catch {
      return undefined;
    }
  }
}

/**
 * Which values of a dimension pass all its filters: 1 or 0 by number. The last entry, after those of the pool, is for rows
 * without a value, which count as an empty text. Undefined: the dimension has no filter.
 */
export function passMask(
  filters: readonly Filter[],
  dimension: FilteredDimension,
  pool: TextPool,
): Uint8Array | undefined {
  const own = filters.filter((filter) => filter.dimension === dimension);
  if (own.length === 0) return undefined;
  const passes = (text: string): number => (own.every((filter) => filter.matches(text)) ? 1 : 0);
  return Uint8Array.from([...pool.texts, ''], passes);
}
