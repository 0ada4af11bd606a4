import type { Dataset, Day, SearchType, SliceKey } from './slice.ts';

/** Which keys a question is about: all of them that the lists and the range span. */
export interface CoverageRange {
  readonly from: Day;
  readonly to: Day;
  readonly searchTypes: readonly SearchType[];
  readonly datasets: readonly Dataset[];
}

/** What the table has of one key. Keys without a row are missing. */
export interface Coverage extends SliceKey {
  readonly status: 'complete' | 'open' | 'failed';
  readonly final: boolean;
  /** Completed before the refresh's cut-off, so a refresh fetches it again. */
  readonly beforeCutOff: boolean;
}
