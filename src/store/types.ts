import type { ErrorCode } from '../domain/errors.ts';
import type { SelectionKey } from '../domain/filter.ts';
import type { AfterPage } from '../domain/page-result.ts';
import type { Day, Slice, SliceKey } from '../domain/slice.ts';
import type { RowBlock } from '../rows/row-block.ts';

/** The database accepts nothing at present. The same call may succeed later. */
export interface DatabaseAway {
  readonly kind: 'databaseAway';
  readonly reason: string;
  /**
   * The cause, if the server named one. `timeout`: a setting of the server, the database or the role ended the work.
   * `readOnly`: writes are not possible now. `locked`: another session holds a lock. Absent: the connection or the
   * server is gone, or its state passes by itself.
   */
  readonly cause?: 'timeout' | 'readOnly' | 'locked';
  /** What the user can do if it continues. */
  readonly nextStep?: string;
}

/** A failed database call, which may be worth a retry or not. Any other error is a bug and is thrown. */
export type DatabaseFailure =
  | DatabaseAway
  /** Disk full, missing permission, wrong encoding, fenced off by a newer writer: no retry can fix it. */
  | {
      readonly kind: 'fatal';
      readonly code: ErrorCode;
      readonly reason: string;
      readonly nextStep?: string;
    };

/** The result of a call: its value, or why there is none. */
export type Answer<T> = { readonly kind: 'ok'; readonly value: T } | DatabaseFailure;

/** The run that writes. `epoch` is its fencing token: the property's epoch when the run took the lease. */
export interface RunIdentity {
  readonly runId: string;
  readonly propertyId: string;
  readonly epoch: string;
  /** The holder whose leases must exist when tokens are recorded. */
  readonly holder: string;
  /** The selection that its slices belong to. Absent: everything. */
  readonly selection?: SelectionKey;
}

export interface PageCommit {
  readonly slice: Slice;
  readonly startRow: number;
  /** Number of rows requested. Fewer in the answer end the slice. */
  readonly rowLimit: number;
  /** Read before the call returns its promise. The block may be overwritten afterwards. */
  readonly rows: RowBlock;
  /** Read only when the slice is sealed: more may become known while the page is on its way. */
  readonly day: DayKnowledge;
}

/** What is known of a slice's day. Both flags are false while nothing is known. */
export interface DayKnowledge {
  /** Whether Google no longer changes the day. */
  readonly final: boolean;
  /** False for a day at or after the last published one: an empty answer does not complete it. */
  readonly mayBeEmpty: boolean;
  /** The day's clicks in the calendar. Absent or 0 while unknown. */
  readonly clicks?: number;
}

/** What became known of a key after its slice was begun. */
export interface SettledKey extends SliceKey {
  readonly final: boolean;
}

/** A page that is in the ledger, and what follows from it. */
export interface CommittedPage {
  /** `alreadyCommitted`: the page was already in the ledger and nothing was written. Both are success. */
  readonly kind: 'committed' | 'alreadyCommitted';
  readonly rows: number;
  readonly next: AfterPage;
}

export type CommitResult =
  | CommittedPage
  /** PostgreSQL rejected these rows; the database itself is fine. Nothing was written. */
  | { readonly kind: 'rejected'; readonly reason: string }
  /** Its call was aborted before the page was written. Nothing was written. */
  | { readonly kind: 'dropped' }
  | DatabaseFailure;

/** A slice opened for fetching, and where to continue it. */
export interface OpenedSlice {
  readonly slice: Slice;
  readonly startRow: number;
}

/** A day of the calendar: Google's totals for the property, independent of the dataset. */
export interface DayTotal {
  readonly date: Day;
  readonly clicks: number;
  readonly impressions: number;
}

/** Google's calendar for one search type, and when it was read. */
export interface Calendar {
  /** The requested range. Nothing is known outside it. */
  readonly from: Day;
  readonly to: Day;
  /** The newest day with data; null if the range has none. */
  readonly lastPublished: Day | null;
  /** The first day that Google marks as still changing; null if it marks none. */
  readonly firstIncomplete: Day | null;
  /** The days with data. Days left out have none. */
  readonly days: readonly DayTotal[];
}

/** Tokens from an earlier run that may still count at the server. */
export interface LeaseRecord {
  /** Unique in the database: the run's number, then the run's own name for the lease. */
  readonly leaseId: string;
  readonly scope: string;
  readonly tokens: number;
  /**
   * Milliseconds since it settled, by the database's clock; null if it never did. Negative while the last byte of an
   * unanswered request may still be on its way.
   */
  readonly settledMsAgo: number | null;
  /** The same moment as the database's text. Equal in two readings if nothing was settled in between. */
  readonly settledAt: string | null;
}

/** Tokens granted for one call. Every token is taken from each of the scopes. */
export interface LeaseGrant {
  readonly leaseId: string;
  /** Budgets as scope IDs: `site:…`, `user:…`, `project:…`. */
  readonly scopes: readonly string[];
  readonly tokens: number;
}

/** The result of some of a lease's tokens. */
export interface LeaseSettlement {
  readonly leaseId: string;
  /** Requests that were answered or dropped. They reach the server within `graceMs` from now. */
  readonly settled: number;
  readonly graceMs: number;
  /** Tokens whose requests were never sent. */
  readonly returned: number;
}
