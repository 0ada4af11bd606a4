import type { Appearances, Coverage, CoverageRange } from '../domain/coverage.ts';
import type { NotServed } from '../domain/dataset.ts';
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

/** The slices and how far each is: the progress of a run, without its rows. */
export interface SliceLedger {
  /** What the table has of these keys, of a day in parts one entry for each. Keys without an entry are missing. */
  readCoverage(range: CoverageRange): Promise<Answer<readonly Coverage[]>>;

  /** The search appearances of the days of the range whose first step is complete, newest day first. */
  readAppearances(range: CoverageRange): Promise<Answer<readonly Appearances[]>>;

  /** The combinations that Google refused within the last 30 days. */
  readRefused(): Promise<Answer<readonly NotServed[]>>;

  /** Abandons an open slice because Google does not serve its combination, and notes that. */
  refuseSlice(sliceId: string, refused: NotServed): Promise<Answer<null>>;

  /**
   * Opens a slice for each key, in the order of the keys. A slice left open by an earlier run is continued from its
   * ledger if its newest page is at most `continueYoungerThanMinutes` old; otherwise it is abandoned and replaced by a
   * new one.
   */
  openSlices(
    keys: readonly SliceKey[],
    options: { readonly continueYoungerThanMinutes: number },
  ): Promise<Answer<readonly OpenedSlice[]>>;

  /**
   * Records days without data as complete and empty, without a call. Complete keys stay unchanged, with or without
   * rows, so no data is overwritten. Returns how many keys were sealed.
   */
  sealEmptySlices(keys: readonly SliceKey[], options: { readonly final: boolean }): Promise<Answer<number>>;

  /**
   * Ends an open slice as failed. A slice that is no longer open stays unchanged. With `page`, the cause of the
   * failure: if that page is already in the ledger because the answer to its commit was lost, nothing has failed and
   * the value is the page's result.
   */
  failSlice(
    sliceId: string,
    reason: string,
    page?: Pick<PageCommit, 'startRow'>,
  ): Promise<Answer<CommittedPage | null>>;

  /**
   * Settles speculative slices of this run once their days are known: complete slices become final if the day is final.
   * Waits for commits under way, so update the object in {@link PageCommit.day} first: then each slice is either
   * settled here or sealed with the new knowledge. Returns the keys whose slice has ended as not published.
   */
  settleSpeculative(keys: readonly SettledKey[]): Promise<Answer<readonly SliceKey[]>>;

  /**
   * Stores Google's calendar for one search type. Days that it no longer lists keep their totals. Returns those of them
   * within the range that had clicks, newest first.
   */
  commitCalendar(searchType: SearchType, calendar: Calendar): Promise<Answer<readonly DayTotal[]>>;
}
