import type { PathChoice } from '../domain/path-choice.ts';
import type { WaitForDatabase } from '../store/row-sink.ts';
import type { Store } from '../store/store.ts';
import type { Answer, PageCommit, RunIdentity } from '../store/types.ts';
import { CommitQueue } from './commit/commit-queue.ts';
import { type HeapNudge, sharedHeapNudge } from './commit/heap-nudge.ts';
import { settleSpeculative } from './commit/settle-speculative.ts';
import { failSlice, openSlices, refuseSlice, sealEmptySlices } from './commit/slices.ts';
import { answer } from './connection/answer.ts';
import type { Database } from './connection/connect.ts';
import { explain, probeWritable } from './connection/trouble.ts';
import { sharedCopyMemory } from './copy/copy-memory.ts';
import { KeyHashes } from './duplicates/key-hashes.ts';
import { readOpenLeases, recordLease, settleLease } from './locks/token-leases.ts';
import { commitCalendar } from './queries/calendar.ts';
import { readAppearances, readCoverage, readRefused } from './queries/coverage.ts';

export interface StoreOptions {
  readonly lockTimeoutMs?: number;
  /**
   * Makes V8 mark its heap every few pages; see {@link HeapNudge}. For a process that does nothing else.
   * @default false
   */
  readonly nudgesHeap?: boolean;
  /** Called for each commit with the path of its COPY. */
  readonly onCopyPath?: (path: PathChoice) => void;
}

/**
 * One run's store in PostgreSQL. It holds no connection and need not be closed. When a page waits for a lock for longer
 * than `lockTimeoutMs`, the database counts as unavailable.
 */
export function createStore(
  { sql }: Pick<Database, 'sql'>,
  run: RunIdentity,
  { lockTimeoutMs = 3_000, nudgesHeap = false, onCopyPath = () => {} }: StoreOptions = {},
): Store {
  const hashes = new KeyHashes();
  const memory = sharedCopyMemory();
  const nudge = nudgesHeap ? sharedHeapNudge() : undefined;
  const openQueue = (signal: AbortSignal, wait?: WaitForDatabase) => {
    const queue = new CommitQueue(
      { sql, run, hashes, nudge, lockTimeoutMs, onCopyPath },
      memory,
      signal,
      wait,
    );
    return { commitPage: (commit: PageCommit) => queue.commit(commit) };
  };
  const ask = async <T>(work: () => Promise<T>): Promise<Answer<T>> => {
    const answered = await answer(work);
    return answered.kind === 'ok' ? answered : explain(sql, answered);
  };
  return {
    openQueue,
    failSlice(sliceId, reason, page) {
      hashes.forget(sliceId);
      return ask(() => failSlice(sql, run, sliceId, reason, page));
    },
    openSlices: (keys, options) => ask(() => openSlices(sql, run, keys, options)),
    sealEmptySlices: (keys, options) => ask(() => sealEmptySlices(sql, run, keys, options)),
    settleSpeculative: (keys) => ask(() => settleSpeculative(sql, run, keys)),
    readCoverage: (range) => ask(() => readCoverage(sql, run, range)),
    readAppearances: (range) => ask(() => readAppearances(sql, run, range)),
    readRefused: () => ask(() => readRefused(sql, run)),
    refuseSlice(sliceId, refused) {
      hashes.forget(sliceId);
      return ask(() => refuseSlice(sql, run, sliceId, refused));
    },
    commitCalendar: (searchType, calendar) => ask(() => commitCalendar(sql, run, searchType, calendar)),
    recordLease: (grant) => ask(() => recordLease(sql, run, grant)),
    settleLease: (settlement) => answer(() => settleLease(sql, run, settlement)),
    readOpenLeases: (scopes, windowMs) => ask(() => readOpenLeases(sql, scopes, windowMs)),
    probe: () => ask(() => probeWritable(sql)),
  };
}
