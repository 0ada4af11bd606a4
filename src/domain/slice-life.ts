/**
 * The life of a slice's version: its statuses, what may follow each, and what causes the step. Readers see the rows of a
 * `complete` version only. A key has at most one open and one complete version at a time.
 *
 *   (new) ──► open ──► complete ──► superseded
 *                ├───► failed ──► abandoned
 *                └───► abandoned
 *   (new) ──► complete     a day without data, known from the calendar: no request is needed
 */
export const SLICE_LIFE = {
  open: {
    complete: 'its last page is committed and accepted (`judge` in planning/seal.ts)',
    failed: 'Google refuses a page for good, or the pages contradict what is known',
    abandoned: 'the day is not published, the version is too old to continue, or a refetch brought less',
  },
  complete: { superseded: 'a newer version is complete' },
  superseded: {},
  failed: { abandoned: 'the calendar now shows that the day has no data' },
  abandoned: {},
} as const satisfies Readonly<Record<SliceStatus, Readonly<Partial<Record<SliceStatus, string>>>>>;

export type SliceStatus = 'open' | 'complete' | 'superseded' | 'failed' | 'abandoned';

/** Statuses in the order of a life. */
export const SLICE_STATUSES: readonly SliceStatus[] = [
  'open',
  'complete',
  'superseded',
  'failed',
  'abandoned',
];

/** Statuses of a new version. */
export const FIRST_STATUSES: readonly SliceStatus[] = ['open', 'complete'];

/** Statuses of versions whose rows no reader sees any more. Their rows are deleted. */
export const ENDED_STATUSES: readonly SliceStatus[] = ['superseded', 'failed', 'abandoned'];

/** Whether a version may change from one status to the other. */
export const mayFollow = (from: SliceStatus, to: SliceStatus): boolean => to in SLICE_LIFE[from];
