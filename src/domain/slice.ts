import { quoted } from './quoted.ts';

/**
 * The vocabulary of what is copied. A slice is complete or not as a whole: one property, one search type, one dataset,
 * one date.
 */

/** Search types of the Search Console API, in its spelling. */
export const SEARCH_TYPES = ['web', 'image', 'video', 'news', 'discover', 'googleNews'] as const;
export type SearchType = (typeof SEARCH_TYPES)[number];

/** Dimensions of a dataset besides the date, in the order in which a dataset's name joins them. */
export const DIMENSIONS = ['page', 'query', 'country', 'device', 'searchAppearance'] as const;
export type Dimension = (typeof DIMENSIONS)[number];

/**
 * A dataset's name: its dimensions joined by `+` in the order of {@link DIMENSIONS}, or `date` for the day's totals.
 * Only `parseDataset` creates it, so that each dataset has one name.
 */
export type Dataset = string;

/** Dimensions that a dataset may join, each at most once, in any order. */
type Joined<D extends string> = D extends string ? D | `${D}+${JoinedRest<D>}` : never;
type JoinedRest<Used extends string> = {
  [D in Exclude<Joinable, Used>]:
    | D
    | (JoinedRest<Used | D> extends never ? never : `${D}+${JoinedRest<Used | D>}`);
}[Exclude<Joinable, Used>];
type Joinable = Exclude<Dimension, 'searchAppearance'>;

/**
 * A dataset's name as a user may write it. Editors suggest the known names with dimensions in any order; strings known
 * only at run time are allowed too. `parseDataset` checks it.
 */
export type DatasetName = 'date' | 'searchAppearance' | Joined<Joinable> | (string & {});

/** A calendar day in Pacific time, `YYYY-MM-DD`. Never a JavaScript Date, which would add a time zone. */
export type Day = string;

/** Identifies a slice within a property. */
export interface SliceKey {
  readonly searchType: SearchType;
  readonly dataset: Dataset;
  readonly date: Day;
}

/** A failed slice and the reason. */
export interface SliceFailure extends SliceKey {
  readonly reason: string;
}

/** An opened slice. `id` is the row's ID in `longtail.slice`, as text. */
export interface Slice extends SliceKey {
  readonly id: string;
  readonly siteUrl: string;
}

/** Dimensions of a dataset: `page+query` → `['page', 'query']`, `date` → `[]`. */
export function dimensionsOf(dataset: Dataset): readonly Dimension[] {
  if (dataset === 'date') return [];
  const names = dataset.split('+');
  return DIMENSIONS.filter((dimension) => names.includes(dimension));
}

/**
 * Reads a dataset's name with dimensions in any order. Returns its canonical name, or a sentence about what is wrong.
 * `query+page` → `page+query`.
 */
export function parseDataset(text: string): { readonly dataset: Dataset } | { readonly problem: string } {
  const trimmed = text.trim();
  if (trimmed === 'date') return { dataset: 'date' };
  const names = trimmed.split('+').map((name) => name.trim());
  for (const name of names) {
    if (!DIMENSIONS.some((dimension) => dimension === name)) {
      return {
        problem: `${quoted(text)} is not a dataset: use "date", or dimensions joined by "+" out of ${DIMENSIONS.join(', ')}.`,
      };
    }
  }
  if (new Set(names).size !== names.length) return { problem: `${quoted(text)} names a dimension twice.` };
  if (names.includes('searchAppearance') && names.length > 1) {
    return { problem: 'Google returns searchAppearance only on its own, not with another dimension.' };
  }
  return { dataset: DIMENSIONS.filter((dimension) => names.includes(dimension)).join('+') };
}

/** Why Google does not offer this dataset for this search type, or undefined if it does. */
export function whyNotServed(searchType: SearchType, dataset: Dataset): string | undefined {
  const dimensions = dimensionsOf(dataset);
  if (searchType === 'discover' && dimensions.includes('device')) {
    return 'Google does not group Discover by device.';
  }
  if ((searchType === 'discover' || searchType === 'googleNews') && dimensions.includes('query')) {
    return `Google has no queries for ${searchType === 'discover' ? 'Discover' : 'Google News'}.`;
  }
  return undefined;
}

/**
 * Whether a day with clicks must have rows in this dataset. Rare queries are hidden, and most days have no search
 * appearances, so for those an empty answer means nothing.
 */
export function mustHaveRows(dataset: Dataset, clicks: number): boolean {
  const dimensions = dimensionsOf(dataset);
  return clicks > 0 && !dimensions.includes('query') && !dimensions.includes('searchAppearance');
}
