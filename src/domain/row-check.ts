/** What a verification knows of one key: the table's row, Google's row, and how they compare. */
import { dimensionsOf } from './dataset.ts';
import { FILTER_DIMENSIONS, type FilterDimension } from './filter.ts';
import type { Dataset, Day, SearchType } from './slice.ts';

/** The figures of one row. */
export interface RowFigures {
  readonly clicks: number;
  readonly impressions: number;
  /** Null where Google gives none (Discover, Google News). */
  readonly position: number | null;
}

/** The slice that a key was drawn from. */
export interface DrawnSlice {
  /** The row's ID in `longtail.slice`, as text. */
  readonly id: string;
  readonly searchType: SearchType;
  readonly dataset: Dataset;
  readonly date: Day;
  readonly version: number;
  /** When this version was fetched, ISO 8601. */
  readonly fetchedAt: string;
}

/** The dimensions that make a key of a dataset, each of which a filter can name. */
export const filtersOf = (dataset: Dataset): readonly FilterDimension[] =>
  FILTER_DIMENSIONS.filter((dimension) => dimensionsOf(dataset).includes(dimension));

/** A key to ask Google for. */
export interface DrawnKey {
  readonly slice: DrawnSlice;
  /** One value for each dimension of the dataset, in its order. */
  readonly keys: readonly string[];
  /** The table's row. Null: the table has none, and Google should have none either. */
  readonly table: RowFigures | null;
}

/**
 * How Google's row compares with the table's. `changed`: both have the key, with other figures. `missingAtGoogle`: only
 * the table has it. `missingInTable`: only Google has it.
 */
export type Comparison = 'equal' | 'changed' | 'missingAtGoogle' | 'missingInTable';

/** Only the last digits of a position may differ: they depend on how the number was printed. */
const RELATIVE_TOLERANCE = 1e-9;

export function compareRows(table: RowFigures | null, google: RowFigures | null): Comparison {
  if (table === null) return google === null ? 'equal' : 'missingInTable';
  if (google === null) return 'missingAtGoogle';
  const isEqual =
    table.clicks === google.clicks &&
    table.impressions === google.impressions &&
    isSamePosition(table.position, google.position);
  return isEqual ? 'equal' : 'changed';
}

function isSamePosition(a: number | null, b: number | null): boolean {
  if (a === null || b === null) return a === b;
  return Math.abs(a - b) <= RELATIVE_TOLERANCE * Math.max(1, Math.abs(a), Math.abs(b));
}

/**
 * The row with this key in an answer that was filtered by it. A filter may ignore case or the spelling of a URL, so an answer may
 * hold other keys as well, and the key itself in another spelling. Undefined: it has none.
 */
export function findRow<R extends { readonly keys: readonly string[] }>(
  rows: readonly R[],
  keys: readonly string[],
): R | undefined {
  const isSame = (row: R, spelled: (text: string) => string): boolean =>
    row.keys.every((key, index) => spelled(key) === spelled(keys[index] ?? ''));
  return rows.find((row) => isSame(row, (text) => text)) ?? rows.find((row) => isSame(row, withoutSpelling));
}

/** A URL's characters may be percent-encoded or not, and letters with accents may be one character or two. */
function withoutSpelling(text: string): string {
  try {
    return decodeURI(text).normalize('NFC');
  } catch {
    return text.normalize('NFC');
  }
}

/** The longest expression of a filter, in characters. @see https://developers.google.com/webmaster-tools/v1/searchanalytics/query */
const MAX_EXPRESSION_LENGTH = 4_096;

/** Why Google cannot be asked for a key. */
export type WhyNotAsked =
  /** A value is longer than a filter's expression may be. */
  | 'tooLong'
  /** It holds a character in place of one that PostgreSQL cannot store, so the real key is not known. */
  | 'replacedCharacters'
  /** A filter cannot look for an empty text. */
  | 'empty';

const REPLACEMENT = '\uFFFD';

/** Undefined: Google can be asked for it. */
export function whyNotAsked(keys: readonly string[], replacedCharacters: number): WhyNotAsked | undefined {
  if (keys.some((key) => key.length > MAX_EXPRESSION_LENGTH)) return 'tooLong';
  if (keys.some((key) => key === '')) return 'empty';
  if (replacedCharacters > 0 && keys.some((key) => key.includes(REPLACEMENT))) return 'replacedCharacters';
  return undefined;
}
