/** Google returns at most this many rows per day and search type. */
export const ROWS_GIVEN_AT_MOST = 50_000;

/** The reason for a day that contradicts its calendar. */
export const noRows = (clicks: number): string =>
  `Google returns no rows, but its calendar shows ${clicks} clicks for the day`;

/** Below this many rows, Google's answers vary by half from one day to the next, because it hides rare queries. */
export const ROWS_THAT_MEAN_SOMETHING = 100;

/** Why a slice ended without rows of its own. Stored in the database and compared later: see `after-page.ts`. */
export const NOT_PUBLISHED = 'the day is not published yet';
export const FIRST_FETCH_KEPT = 'the first fetch had as many distinct rows';

/** The facts that decide how a slice with all its pages ends. */
export interface SealFacts {
  /** Rows in all pages of the slice. */
  readonly rows: number;
  /** Rows whose key already occurred in the slice. */
  readonly duplicateRows: number;
  /** The slice was opened because the previous version had duplicates. */
  readonly isRefetch: boolean;
  /** False for a day that may still be published. */
  readonly mayBeEmpty: boolean;
  /** The day's clicks in the calendar, if this dataset must show them. */
  readonly clicks?: number;
  /** The run may replace a version with a smaller one. */
  readonly acceptShrunk: boolean;
  /** The version that readers see now. */
  readonly previous: {
    readonly rows: number;
    readonly duplicateRows: number;
    /** Google had marked its day as final. Provisional data may shrink. */
    readonly final: boolean;
  } | null;
}

export type SealVerdict =
  | { readonly kind: 'complete'; readonly capped: boolean; readonly lookAgain: boolean }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'abandoned'; readonly reason: string };

/**
 * Decides how a slice ends. A shorter answer never overwrites rows that Google has deleted. A slice with duplicates is
 * fetched once more, and the version with more distinct rows is kept.
 */
export function judge(facts: SealFacts): SealVerdict {
  const { rows, duplicateRows, previous } = facts;
  if (facts.isRefetch && previous !== null) {
    const different = rows - duplicateRows;
    if (rows === 0 || different < previous.rows - previous.duplicateRows) {
      return { kind: 'abandoned', reason: FIRST_FETCH_KEPT };
    }
    return complete(rows, false);
  }
  if (rows === 0 && !facts.mayBeEmpty) return { kind: 'abandoned', reason: NOT_PUBLISHED };
  if (rows === 0 && facts.clicks !== undefined && facts.clicks > 0) {
    return { kind: 'failed', reason: noRows(facts.clicks) };
  }
  if (previous !== null && rows === 0 && previous.rows > 0) {
    return {
      kind: 'failed',
      reason: `shrunk: Google now returns no rows, and returned ${previous.rows} before`,
    };
  }
  if (previous !== null && isMuch(previous) && rows * 2 < previous.rows && !facts.acceptShrunk) {
    return {
      kind: 'failed',
      reason: `shrunk: Google now returns ${rows} rows, and returned ${previous.rows} before; acceptShrunk (--accept-shrunk) accepts them`,
    };
  }
  return complete(rows, duplicateRows > 0 && !facts.isRefetch);
}

const isMuch = ({ rows, final }: NonNullable<SealFacts['previous']>): boolean =>
  final && rows >= ROWS_THAT_MEAN_SOMETHING;

function complete(rows: number, lookAgain: boolean): SealVerdict {
  return { kind: 'complete', capped: rows >= ROWS_GIVEN_AT_MOST, lookAgain };
}
