import type { Dataset, Day, SearchType, SliceKey } from './slice.ts';
import type { SliceStatus } from './slice-life.ts';

/** The keys a question is about: every combination of the lists and the range. */
export interface CoverageRange {
  readonly from: Day;
  readonly to: Day;
  readonly searchTypes: readonly SearchType[];
  readonly datasets: readonly Dataset[];
}

/** What the table has for one key. Keys without a row are missing. */
export interface Coverage extends SliceKey {
  readonly status: Extract<SliceStatus, 'complete' | 'open' | 'failed'>;
  readonly final: boolean;
  /** Completed before the refresh cut-off, so a refresh fetches it again. */
  readonly beforeCutOff: boolean;
}
