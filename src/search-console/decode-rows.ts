import type { Day } from '../domain/slice.ts';

/** One row as the API gives it. `keys` are the dimensions asked for, in that order. */
export interface QueryRow {
  readonly keys: readonly string[];
  readonly clicks: number;
  readonly impressions: number;
  /** Absent for Discover and Google News. */
  readonly position: number | null;
}

/** One answer of searchAnalytics.query. */
export interface QueryAnswer {
  readonly rows: readonly QueryRow[];
  /** The first day that is not yet wholly counted; sent only when grouping by date. */
  readonly firstIncompleteDate: Day | null;
  /** `byPage` or `byProperty`, or null when the server left it out. */
  readonly responseAggregationType: string | null;
  /** Size of the JSON, decompressed. */
  readonly bytes: number;
}
