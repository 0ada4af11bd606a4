import type { NotServed } from './dataset.ts';
import type { Dataset, Day, SearchType, SliceKey } from './slice.ts';
import type { SliceStatus } from './slice-life.ts';

/** The keys a question is about: every combination of the lists and the range. */
export interface CoverageRange {
  readonly from: Day;
  readonly to: Day;
  readonly searchTypes: readonly SearchType[];
  readonly datasets: readonly Dataset[];
  /** With it, days that Google no longer has of a dataset are left out. */
  readonly today?: Day;
  /** Combinations that Google refused. They are left out. */
  readonly refused?: readonly NotServed[];
}

/** What the table has for one key, or for one part of it. Keys without a row are missing. */
export interface Coverage extends SliceKey {
  readonly status: Extract<SliceStatus, 'complete' | 'open' | 'failed'>;
  readonly final: boolean;
  /** Completed before the refresh cut-off, so a refresh fetches it again. */
  readonly beforeCutOff: boolean;
}

/** The search appearances of a day, out of its complete first step. */
export interface Appearances {
  readonly searchType: SearchType;
  readonly date: Day;
  readonly values: readonly string[];
}
