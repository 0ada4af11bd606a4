/**
 * The vocabulary of what is copied. A slice is complete or not as a whole: one property, one search type, one dataset,
 * one date, and of a day that is requested in parts one part. What is known of datasets is in `dataset.ts`.
 */

/** Search types of the Search Console API, in its spelling. */
export const SEARCH_TYPES = ['web', 'image', 'video', 'news', 'discover', 'googleNews'] as const;
export type SearchType = (typeof SEARCH_TYPES)[number];

/**
 * A dataset's name: its dimensions joined by `+` in the order of `DIMENSIONS`, or `date` for the day's totals.
 * Only `parseDataset` creates it, so that each dataset has one name.
 */
export type Dataset = string;

/** A calendar day in Pacific time, `YYYY-MM-DD`. Never a JavaScript Date, which would add a time zone. */
export type Day = string;

/** Identifies a slice within a property. */
export interface SliceKey {
  readonly searchType: SearchType;
  readonly dataset: Dataset;
  readonly date: Day;
  /**
   * Which part of the day this is, as the filter that makes it: `searchAppearance=VIDEO`, `country=deu,device=MOBILE`; see
   * `part.ts`. Absent or empty: the day is requested as a whole.
   */
  readonly part?: string;
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
