import type { Coverage, CoverageRange } from '../domain/coverage.ts';
import type { SearchType, SliceKey } from '../domain/slice.ts';
import type {
  Answer,
  Calendar,
  CommittedPage,
  DayTotal,
  OpenedSlice,
  PageCommit,
  SettledKey,
} from './types.ts';

/** Which slices there are and how far each is: the progress of a run, without its rows. */
export interface SliceLedger {
  /** What the table has of these keys. Keys without an entry are missing. */
  readCoverage(range: CoverageRange): Promise<Answer<readonly Coverage[]>>;

  /**
   * Opens a slice for each key, in the order of the keys. One that an earlier run left open is continued from its
   * ledger when its newest page is at most `continueYoungerThanMinutes` old, else abandoned for a new one.
   */
  openSlices(
    keys: readonly SliceKey[],
    options: { readonly continueYoungerThanMinutes: number },
  ): Promise<Answer<readonly OpenedSlice[]>>;

  /**
   * Records days without data as complete and empty, without a call. A key that is complete already, with or without
   * rows, stays as it is (nothing is replaced by less). The value is how many keys were sealed.
   */
  sealEmptySlices(keys: readonly SliceKey[], options: { readonly final: boolean }): Promise<Answer<number>>;

  /**
   * Ends an open slice as failed. A slice that is no longer open stays as it is. With the page that is the reason: unless
   * that page is in the ledger, committed with an answer that was lost; then nothing has failed, and the value is what
   * came of it.
   */
  failSlice(
    sliceId: string,
    reason: string,
    page?: Pick<PageCommit, 'startRow'>,
  ): Promise<Answer<CommittedPage | null>>;

  /**
   * For slices of this run that were begun before anything was known of their days, once it is: those that are complete
   * by now become final where the day is. Commits under way are waited for, so change what {@link PageCommit.day} refers
   * to first: afterwards each slice is settled by this call, or will be sealed by what is known. The value is the keys
   * whose slice has ended as not published.
   */
  settleTrusted(keys: readonly SettledKey[]): Promise<Answer<readonly SliceKey[]>>;

  /**
   * Keeps what Google said about the days of one search type. Days that it no longer names keep their totals; the value is those
   * of the range that had clicks, newest first.
   */
  commitCalendar(searchType: SearchType, calendar: Calendar): Promise<Answer<readonly DayTotal[]>>;
}
