import type { CommitResult, DatabaseAway, PageCommit } from './types.ts';

/** The port that rows are written to. */
export interface RowSink {
  /**
   * Opens a queue for the pages of one call. They are written in order; pages that arrive during a write share the next
   * transaction. While the database is away, pages stay queued and are written again when `wait` resolves to true.
   * Without `wait`, or after a permanent failure, queued pages fail with the same error. An aborted call drops its
   * queued pages.
   */
  openQueue(signal: AbortSignal, wait?: WaitForDatabase): PageQueue;
}

/** The pages of one call that wait to be written. */
export interface PageQueue {
  /** Writes one page with its ledger entry, and seals the slice if the page is its last. Safe to repeat. */
  commitPage(commit: PageCommit): Promise<CommitResult>;
}

/** Resolves when the failed write should be tried again. False if the call is over. */
export type WaitForDatabase = (away: DatabaseAway) => Promise<boolean>;
