import type { CommitResult, DatabaseAway, PageCommit } from './types.ts';

/** Where rows go. */
export interface RowSink {
  /**
   * For the pages of one call, which are written in their order: those that come while others are being written go into
   * the next transaction together. While the database is away the pages stay where they are, and are written when `wait`
   * says so; without `wait`, and once the database has failed for good, what waits fails with what failed. Once the call is
   * aborted, what waits is dropped.
   */
  openQueue(signal: AbortSignal, wait?: WaitForDatabase): PageQueue;
}

/** The pages of one call, on their way into the database. */
export interface PageQueue {
  /** Writes one page with its ledger entry, and seals the slice when the page is its last. Safe to repeat. */
  commitPage(commit: PageCommit): Promise<CommitResult>;
}

/** Waits until what failed is to be tried again. False: never, since the call is over. */
export type WaitForDatabase = (away: DatabaseAway) => Promise<boolean>;
