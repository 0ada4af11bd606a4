import type { Coverage, CoverageRange } from '../domain/coverage.ts';
import type { SearchType, SliceKey } from '../domain/slice.ts';
import { answer } from './answer.ts';
import { commitCalendar } from './calendar.ts';
import { CommitQueue } from './commit-queue.ts';
import type { Database } from './connect.ts';
import { sharedCopyMemory } from './copy-memory.ts';
import { readCoverage } from './coverage.ts';
import { sharedHeapNudge } from './heap-nudge.ts';
import { KeyHashes } from './key-hashes.ts';
import { readOpenLeases, recordLease, settleLease } from './leases.ts';
import { settleTrusted } from './settle-trusted.ts';
import { failSlice, openSlices, sealEmptySlices } from './slices.ts';
import { explain, probeWritable } from './trouble.ts';
import type {
  Answer,
  Calendar,
  CommitResult,
  CommittedPage,
  DatabaseAway,
  DayTotal,
  LeaseGrant,
  LeaseRecord,
  LeaseSettlement,
  OpenedSlice,
  PageCommit,
  RunIdentity,
  SettledKey,
} from './types.ts';

/**
 * All that one run reads and writes while it fetches: the port behind which PostgreSQL is, and in a simulation is not.
 * No call rejects for a database that is away, full or refusing: these are values. A rejection is a bug.
 */
export interface Store {
  /** Writes one page with its ledger entry, and seals the slice when the page is its last. Safe to repeat. */
  commitPage(commit: PageCommit): Promise<CommitResult>;

  /**
   * For the pages of one call, which are written in their order: those that come while others are being written go into
   * the next transaction together. While the database is away the pages stay where they are, and are written when `wait`
   * says so; without `wait`, and once the database has failed for good, what waits fails with what failed. Once the call is
   * aborted, what waits is dropped.
   */
  openQueue(signal: AbortSignal, wait?: WaitForDatabase): Pick<Store, 'commitPage'>;

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
   * For slices of this run that were begun before anything was known of their days, once it is: those that are complete
   * by now become final where the day is. Commits under way are waited for, so change what {@link PageCommit.day} refers
   * to first: afterwards each slice is settled by this call, or will be sealed by what is known. The value is the keys
   * whose slice has ended as not published.
   */
  settleTrusted(keys: readonly SettledKey[]): Promise<Answer<readonly SliceKey[]>>;

  /** What the table has of these keys. Keys without an entry are missing. */
  readCoverage(range: CoverageRange): Promise<Answer<readonly Coverage[]>>;

  /**
   * Keeps what Google said about the days of one search type. Days that it no longer names keep their totals; the value is those
   * of the range that had clicks, newest first.
   */
  commitCalendar(searchType: SearchType, calendar: Calendar): Promise<Answer<readonly DayTotal[]>>;

  /** Writes the lease down before its first request is sent. */
  recordLease(grant: LeaseGrant): Promise<Answer<null>>;

  settleLease(settlement: LeaseSettlement): Promise<Answer<null>>;

  /** Leases of any run in these scopes that may still count, settled at most `windowMs` ago or never. */
  readOpenLeases(scopes: readonly string[], windowMs: number): Promise<Answer<readonly LeaseRecord[]>>;

  /** Whether the database would take a page now: a server that answers may be read-only, or its tables locked. */
  probe(): Promise<Answer<null>>;
}

/** Waits until what failed is to be tried again. False: never, since the call is over. */
export type WaitForDatabase = (away: DatabaseAway) => Promise<boolean>;

const NEVER = new AbortController().signal;

/**
 * The store of one run in a PostgreSQL. It holds no connection and needs no closing. A page that waits for a lock for
 * longer than `lockTimeoutMs` counts the database as away.
 */
export function createStore(
  { sql }: Pick<Database, 'sql'>,
  run: RunIdentity,
  { lockTimeoutMs = 3_000 }: { readonly lockTimeoutMs?: number } = {},
): Store {
  const hashes = new KeyHashes();
  const memory = sharedCopyMemory();
  const nudge = sharedHeapNudge();
  const openQueue = (signal: AbortSignal, wait?: WaitForDatabase) => {
    const queue = new CommitQueue({ sql, run, hashes, nudge, lockTimeoutMs }, memory, signal, wait);
    return { commitPage: (commit: PageCommit) => queue.commit(commit) };
  };
  const ask = async <T>(work: () => Promise<T>): Promise<Answer<T>> => {
    const answered = await answer(work);
    return answered.kind === 'ok' ? answered : explain(sql, answered);
  };
  return {
    commitPage: (commit) => openQueue(NEVER).commitPage(commit),
    openQueue,
    failSlice(sliceId, reason, page) {
      hashes.forget(sliceId);
      return ask(() => failSlice(sql, run, sliceId, reason, page));
    },
    openSlices: (keys, options) => ask(() => openSlices(sql, run, keys, options)),
    sealEmptySlices: (keys, options) => ask(() => sealEmptySlices(sql, run, keys, options)),
    settleTrusted: (keys) => ask(() => settleTrusted(sql, run, keys)),
    readCoverage: (range) => ask(() => readCoverage(sql, run, range)),
    commitCalendar: (searchType, calendar) => ask(() => commitCalendar(sql, run, searchType, calendar)),
    recordLease: (grant) => ask(() => recordLease(sql, run, grant)),
    settleLease: (settlement) => answer(() => settleLease(sql, run, settlement)),
    readOpenLeases: (scopes, windowMs) => ask(() => readOpenLeases(sql, scopes, windowMs)),
    probe: () => ask(() => probeWritable(sql)),
  };
}
