/** Google gives no more rows than this for a day and a search type. */
export const ROWS_GIVEN_AT_MOST = 50_000;

/** A day that contradicts its calendar. */
export const noRows = (clicks: number): string =>
  `Google gives no rows, and says that the day has ${clicks} clicks`;

/** Of fewer rows Google leaves out half, or brings them back, from one day to the next: it hides what few people have searched. */
export const ROWS_THAT_MEAN_SOMETHING = 100;

/** Why a slice ended without rows of its own being seen. Stored, and read again: see `after-page.ts`. */
export const NOT_PUBLISHED = 'the day is not published yet';
export const FIRST_LOOK_KEPT = 'the first look had as many different rows';

/** All that decides how a slice whose pages are all there ends. */
export interface SealFacts {
  /** Of all its pages. */
  readonly rows: number;
  /** Rows whose key had come before in the slice. */
  readonly duplicateRows: number;
  /** Opened because the version before it had duplicates. */
  readonly isSecondLook: boolean;
  /** False for a day that may yet be published. */
  readonly mayBeEmpty: boolean;
  /** Clicks that the day has by the calendar, where this dataset would have to show them. */
  readonly clicks?: number;
  /** The run was told that less may replace more. */
  readonly acceptShrunk: boolean;
  /** The version that readers see now. */
  readonly previous: {
    readonly rows: number;
    readonly duplicateRows: number;
    /** Google had called its day final. What is provisional by its own word may shrink. */
    readonly final: boolean;
  } | null;
}

export type SealVerdict =
  | { readonly kind: 'complete'; readonly capped: boolean; readonly lookAgain: boolean }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'abandoned'; readonly reason: string };

/**
 * Decides how a slice ends. What Google no longer has is not replaced by less; a slice with duplicates is fetched once
 * more, and the version with more different rows stays.
 */
export function judge(facts: SealFacts): SealVerdict {
  const { rows, duplicateRows, previous } = facts;
  if (facts.isSecondLook && previous !== null) {
    const different = rows - duplicateRows;
    if (rows === 0 || different < previous.rows - previous.duplicateRows) {
      return { kind: 'abandoned', reason: FIRST_LOOK_KEPT };
    }
    return complete(rows, false);
  }
  if (rows === 0 && !facts.mayBeEmpty) return { kind: 'abandoned', reason: NOT_PUBLISHED };
  if (rows === 0 && facts.clicks !== undefined && facts.clicks > 0) {
    return { kind: 'failed', reason: noRows(facts.clicks) };
  }
  if (previous !== null && rows === 0 && previous.rows > 0) {
    return { kind: 'failed', reason: `shrunk: Google gives no rows now, and gave ${previous.rows} before` };
  }
  if (previous !== null && isMuch(previous) && rows * 2 < previous.rows && !facts.acceptShrunk) {
    return {
      kind: 'failed',
      reason: `shrunk: Google gives ${rows} rows now, and gave ${previous.rows} before; acceptShrunk (--accept-shrunk) takes them`,
    };
  }
  return complete(rows, duplicateRows > 0 && !facts.isSecondLook);
}

const isMuch = ({ rows, final }: NonNullable<SealFacts['previous']>): boolean =>
  final && rows >= ROWS_THAT_MEAN_SOMETHING;

function complete(rows: number, lookAgain: boolean): SealVerdict {
  return { kind: 'complete', capped: rows >= ROWS_GIVEN_AT_MOST, lookAgain };
}
