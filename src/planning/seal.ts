import { dimensionsOf, mustHaveRows } from '../domain/dataset.ts';
import type { Dataset } from '../domain/slice.ts';

/** Google returns at most this many rows per day and search type. */
export const ROWS_GIVEN_AT_MOST = 50_000;

/** What is known of a day from the calendar. Everything is false or absent while nothing is known. */
export interface KnownOfDay {
  /** The day's clicks. */
  readonly clicks?: number;
  /** Whether the calendar leaves the day out although it had data before. */
  readonly leftOut?: boolean;
}

/** Why an answer without rows contradicts what Google said of the day. Undefined: it does not. */
export function whyNotEmpty(
  dataset: Dataset,
  { clicks = 0, leftOut = false }: KnownOfDay,
): string | undefined {
  // Most days have no search appearances.
  if (leftOut && !dimensionsOf(dataset).includes('searchAppearance'))
    return 'Google returns no rows and leaves the day out of its calendar, but had data for it before';
  if (!mustHaveRows(dataset, clicks)) return undefined;
  return `Google returns no rows, but its calendar shows ${clicks} clicks for the day`;
}

/** Below this many rows, Google's answers vary by half from one day to the next, because it hides rare queries. */
export const ROWS_THAT_MEAN_SOMETHING = 100;

/** Begins the reason of a slice that has fewer rows than the one before. */
export const SHRUNK = 'shrunk: ';

/** Why a slice ended without rows of its own. Stored in the database and compared later: see `after-page.ts`. */
export const NOT_PUBLISHED = 'the day is not published yet';
export const FIRST_FETCH_KEPT = 'the first fetch had as many distinct rows';

/** The facts that decide how a slice with all its pages ends. */
export interface SealFacts {
  /** Rows of the slice, each key once. */
  readonly rows: number;
  /** Rows that Google gave besides, with a key that the slice has in another row. */
  readonly duplicatesDropped: number;
  /** The slice was opened because the previous version had duplicates. */
  readonly isRefetch: boolean;
  /** False for a day that may still be published. */
  readonly mayBeEmpty: boolean;
  /** Why an answer without rows cannot be right; see {@link whyNotEmpty}. */
  readonly notEmpty?: string | undefined;
  /** The run may replace a version with a smaller one. */
  readonly acceptShrunk: boolean;
  /** The version that readers see now. */
  readonly previous: {
    readonly rows: number;
    /** Google had marked its day as final. Provisional data may shrink. */
    readonly final: boolean;
  } | null;
}

export type SealVerdict =
  | { readonly kind: 'complete'; readonly capped: boolean; readonly lookAgain: boolean }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'abandoned'; readonly reason: string }
  /** The previous version stays for good: it was final, and Google has less now. It is not asked for again. */
  | { readonly kind: 'kept'; readonly reason: string };

/**
 * Decides how a slice ends. A shorter answer never overwrites rows that Google has deleted; what Google itself called
 * provisional may shrink. A slice with duplicates is fetched once more, and the version with more rows is kept.
 */
export function judge(facts: SealFacts): SealVerdict {
  const { rows, duplicatesDropped, previous } = facts;
  const given = rows + duplicatesDropped;
  if (facts.isRefetch && previous !== null) {
    if (rows === 0 || rows < previous.rows) return { kind: 'abandoned', reason: FIRST_FETCH_KEPT };
    return complete(given, false);
  }
  if (rows === 0) return judgeEmpty(facts);
  if (previous?.final === true && isMuch(previous) && rows * 2 < previous.rows && !facts.acceptShrunk) {
    return {
      kind: 'kept',
      reason: `${SHRUNK}Google now returns ${rows} rows, and returned ${previous.rows} before; acceptShrunk (--accept-shrunk) accepts them`,
    };
  }
  return complete(given, duplicatesDropped > 0 && !facts.isRefetch);
}

function judgeEmpty({ notEmpty, mayBeEmpty, previous }: SealFacts): SealVerdict {
  if (!mayBeEmpty && notEmpty === undefined) return { kind: 'abandoned', reason: NOT_PUBLISHED };
  if (previous !== null && previous.rows > 0 && (previous.final || isMuch(previous))) {
    const reason = `${SHRUNK}Google now returns no rows, and returned ${previous.rows} before`;
    return { kind: previous.final ? 'kept' : 'failed', reason };
  }
  return notEmpty === undefined ? complete(0, false) : { kind: 'failed', reason: notEmpty };
}

const isMuch = ({ rows }: NonNullable<SealFacts['previous']>): boolean => rows >= ROWS_THAT_MEAN_SOMETHING;

function complete(given: number, lookAgain: boolean): SealVerdict {
  return { kind: 'complete', capped: given >= ROWS_GIVEN_AT_MOST, lookAgain };
}
