import type { ErrorCode } from '../domain/errors.ts';
import type { AfterPage } from '../domain/page-result.ts';
import type { Day, Slice, SliceKey } from '../domain/slice.ts';
import type { RowBlock } from '../rows/row-block.ts';

/** The database takes nothing at present, for whatever reason: the same call may go through later. */
export interface DatabaseAway {
  readonly kind: 'databaseAway';
  readonly reason: string;
  /**
   * What the server said it was, where it said so. `timeout`: a setting of the server, the database or the role ended the
   * work. `readOnly`: nothing may be written now. `locked`: somebody else's lock. Absent: the line or the server is gone, or
   * its state passes by itself.
   */
  readonly cause?: 'timeout' | 'readOnly' | 'locked';
  /** What the user can do about it, if it stays so. */
  readonly nextStep?: string;
}

/** What a database call that may be tried again, or not, came to. Anything else thrown is a bug. */
export type DatabaseFailure =
  | DatabaseAway
  /** Disk full, no permission, wrong encoding, fenced off by a newer writer: no retry mends it. */
  | {
      readonly kind: 'fatal';
      readonly code: ErrorCode;
      readonly reason: string;
      readonly nextStep?: string;
    };

/** What a call came to: its value, or why there is none. */
export type Answer<T> = { readonly kind: 'ok'; readonly value: T } | DatabaseFailure;

/** The run that writes, and what fences it: `epoch` is the property's at the moment its lease was taken. */
export interface RunIdentity {
  readonly runId: string;
  readonly propertyId: string;
  readonly epoch: string;
  /** Whose leases must be there when tokens are recorded. */
  readonly holder: string;
}

export interface PageCommit {
  readonly slice: Slice;
  readonly startRow: number;
  /** Rows asked for; fewer in the answer end the slice. */
  readonly rowLimit: number;
  /** Read before the call returns its promise: the block may be overwritten afterwards. */
  readonly rows: RowBlock;
  /** Read at the moment of the seal, no sooner: while the page is on its way more may come to be known. */
  readonly day: DayKnowledge;
}

/** What is known of a slice's day. While nothing is, both are false. */
export interface DayKnowledge {
  /** Whether the day is past the last one that Google still changes. */
  readonly final: boolean;
  /** False for a day at or after the last published one: an empty answer does not complete it. */
  readonly mayBeEmpty: boolean;
  /** Its clicks by the calendar. Absent or 0 while nothing is known. */
  readonly clicks?: number;
}

/** What came to be known of a key after its slice was begun. */
export interface SettledKey extends SliceKey {
  readonly final: boolean;
}

/** A page that is in the ledger, and what follows from it. */
export interface CommittedPage {
  /** `alreadyCommitted`: this page was in the ledger; nothing was written. Both are success. */
  readonly kind: 'committed' | 'alreadyCommitted';
  readonly rows: number;
  readonly next: AfterPage;
}

export type CommitResult =
  | CommittedPage
  /** PostgreSQL would not take these rows (the slice's fault, not the database's state). Nothing was written. */
  | { readonly kind: 'rejected'; readonly reason: string }
  /** Its call was aborted before its turn came. Nothing was written. */
  | { readonly kind: 'dropped' }
  | DatabaseFailure;

/** A slice that was opened for fetching, and where to go on in it. */
export interface OpenedSlice {
  readonly slice: Slice;
  readonly startRow: number;
}

/** A day of the calendar: what Google says it has for the property, whatever the dataset. */
export interface DayTotal {
  readonly date: Day;
  readonly clicks: number;
  readonly impressions: number;
}

/** What Google said about one search type's days, and when. */
export interface Calendar {
  /** The range that was asked for; nothing is known outside it. */
  readonly from: Day;
  readonly to: Day;
  /** The newest day that Google had anything for; null when it had none in the range. */
  readonly lastPublished: Day | null;
  /** The first day that Google says it still changes; null when it named none. */
  readonly firstIncomplete: Day | null;
  /** The days that have data. A day that is left out has none. */
  readonly days: readonly DayTotal[];
}

/** Tokens that an earlier run took and that may still count at the server. */
export interface LeaseRecord {
  /** Unique in the database; after the run's number comes the name that its own run gave it. */
  readonly leaseId: string;
  readonly scope: string;
  readonly tokens: number;
  /**
   * How long ago, by the database's clock, it settled; null when it never did. Negative when the last byte of a request
   * without an answer may still be on its way.
   */
  readonly settledMsAgo: number | null;
  /** The same moment in the database's words: equal in two readings when nothing was settled in between. */
  readonly settledAt: string | null;
}

/** Tokens granted for one call; every token is taken from each of the scopes. */
export interface LeaseGrant {
  readonly leaseId: string;
  /** Budgets as scope ids: `site:…`, `user:…`, `project:…`. */
  readonly scopes: readonly string[];
  readonly tokens: number;
}

/** What became of some of a lease's tokens. */
export interface LeaseSettlement {
  readonly leaseId: string;
  /** Requests that were answered or dropped. They arrived at the server `graceMs` from now at the latest. */
  readonly settled: number;
  readonly graceMs: number;
  /** Tokens whose requests were never sent. */
  readonly returned: number;
}
