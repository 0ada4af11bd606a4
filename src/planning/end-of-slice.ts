import { dimensionsOf } from '../domain/dataset.ts';
import type { Dataset, SliceKey } from '../domain/slice.ts';
import type { PageEnd } from '../store/types.ts';

/**
 * What ends a slice. `short`: an answer with fewer rows than requested. `empty`: only one without rows. `auto`: a short
 * one, but a sample of them is followed by the request that must come back empty; if one ever does not, as `empty`.
 */
export const ENDS_OF_SLICE = ['short', 'empty', 'auto'] as const;
export type EndOfSlice = (typeof ENDS_OF_SLICE)[number];

/** Share of the short answers that are followed by one more request. */
const SAMPLE = 0.02;
/** Limits that people have met at Google are round: 1,000 rows, 5,000. */
const SUSPICIOUS_MULTIPLE = 1_000;

/** An answer and where it stands in its slice. */
export interface EndingPage {
  readonly dataset: Dataset;
  readonly startRow: number;
  readonly rows: number;
  readonly rowLimit: number;
}

/** Decides for one run which short answers end their slice, and remembers those that turned out not to. */
export interface SliceEnds {
  readonly mode: EndOfSlice;
  /** `chance`: random, in [0, 1). Called once for each answer. */
  endOf(page: EndingPage, chance: number): PageEnd;
  /** Rows have come after a short page of this slice. Returns whether that is news of it. */
  shortPageSeen(slice: SliceKey & { readonly id: string }): boolean;
  /** In how many slices rows have come after a short page. */
  shortPages(): number;
}

/** `onSeen` is called once for each slice. */
export function createSliceEnds(mode: EndOfSlice, onSeen: (slice: SliceKey) => void): SliceEnds {
  const sampled = new Set<Dataset>();
  const seen = new Set<string>();
  return {
    mode,
    endOf({ dataset, startRow, rows, rowLimit }, chance) {
      if (mode !== 'auto') return mode;
      if (seen.size > 0) return 'empty';
      // Totals are one row; a full page is followed by another anyway, and nothing follows an empty one.
      if (rows === 0 || rows >= rowLimit || dimensionsOf(dataset).length === 0) return 'unlessDistrusted';
      if ((startRow + rows) % SUSPICIOUS_MULTIPLE === 0) return 'empty';
      if (sampled.has(dataset) && chance >= SAMPLE) return 'unlessDistrusted';
      sampled.add(dataset);
      return 'empty';
    },
    shortPageSeen({ id, ...slice }) {
      if (seen.has(id)) return false;
      seen.add(id);
      onSeen(slice);
      return true;
    },
    shortPages: () => seen.size,
  };
}
