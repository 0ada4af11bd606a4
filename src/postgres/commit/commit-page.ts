import type { Buffer } from 'node:buffer';
import type { Sql, TransactionSql } from 'postgres';
import { errorFacts } from '../../domain/error-facts.ts';
import type { AfterPage } from '../../domain/page-result.ts';
import type { PathChoice } from '../../domain/path-choice.ts';
import { SourceError, startCopy, UntoldRefusal } from '../../internals/copy-in.ts';
import {
  judge,
  NOT_PUBLISHED,
  ROWS_GIVEN_AT_MOST,
  type SealVerdict,
  whyNotEmpty,
} from '../../planning/seal.ts';
import type { CommitResult, CommittedPage, PageCommit, RunIdentity } from '../../store/types.ts';
import { FENCED_OFF, Refusal } from '../connection/answer.ts';
import { transaction } from '../connection/transaction.ts';
import type { CopyArena } from '../copy/copy-memory.ts';
import { copyChunks } from '../copy/copy-text.ts';
import { type EncodedRows, encodeRows, FACT_COLUMNS } from '../copy/encode-rows.ts';
import { isConnectionLoss, isRejection, toFailure } from '../driver/failure.ts';
import type { KeyHashes } from '../duplicates/key-hashes.ts';
import type { PageKeys } from '../duplicates/packed-keys.ts';
import {
  type Completion,
  completeSlices,
  countKeys,
  dropDuplicates,
  endSlice,
  keepPrevious,
  markLast,
  noteReplaced,
  openRefetch,
} from '../queries/slice-rows.ts';
import type { HeapNudge } from './heap-nudge.ts';
import { insertPages, type LedgerEntry, lockSlices, readCommitted, sealed } from './ledger.ts';

/** Shared by all commits of one run. */
export interface CommitContext {
  readonly sql: Sql;
  readonly run: RunIdentity;
  readonly hashes: KeyHashes;
  /** Absent unless the run asked for it. */
  readonly nudge: HeapNudge | undefined;
  /** Called once per commit with the path of its COPY. */
  readonly onCopyPath: (path: PathChoice) => void;
  /** How long a commit waits for a lock before it treats the database as unavailable. */
  readonly lockTimeoutMs: number;
}

/** What follows a page that was written. */
type Written = Pick<CommittedPage, 'next' | 'afterShort'>;

/** Rolls the transaction back without an error to report: the page was already committed, or its slice has ended. */
class NothingToWrite extends Error {
  override readonly name = 'NothingToWrite';
}

/** A page ready to be written. Its rows are COPY text in an arena that it may share with other pages. */
export interface ReadPage extends Omit<PageCommit, 'rows'> {
  readonly count: number;
  readonly clicks: number;
  readonly impressions: number;
  readonly text: EncodedRows;
  /** Undefined: the slice cannot have a key twice. */
  readonly keys: PageKeys | undefined;
}

/** Encodes a page's rows synchronously: the next answer overwrites the memory they are in. */
export function readPage({ rows, ...page }: PageCommit, hashes: KeyHashes, arena: CopyArena): ReadPage {
  // A page of one row has each key once, and is most often all that there is.
  const isOneRow =
    page.startRow === 0 && rows.count <= 1 && rows.count < page.rowLimit && page.end !== 'empty';
  return {
    ...page,
    count: rows.count,
    clicks: rows.clicks,
    impressions: rows.impressions,
    text: encodeRows(page.slice, rows, arena),
    keys: isOneRow ? undefined : hashes.read(rows),
  };
}

/**
 * Writes pages of different slices in one transaction: their rows, their ledger entries and the seals of the slices
 * that they complete. The transaction commits all of it or nothing. If it fails and a page may be the cause, each page is
 * written in its own transaction. Returns one result per page, in order.
 *
 * `begin` starts the transaction. A commit takes four round trips, however many pages it has: begin; locks, ledger and
 * the start of COPY; rows, the barrier and the seals; commit.
 */
export async function commitPages(
  context: CommitContext,
  pages: readonly ReadPage[],
  arena: CopyArena,
  begin: typeof transaction = transaction,
): Promise<readonly CommitResult[]> {
  const { sql, hashes } = context;
  let isCommitting = false;
  let written: readonly Written[];
  try {
    written = await begin(sql, async (tx) => {
      const after = await write(tx, context, pages, arena.buffer);
      isCommitting = true;
      return after;
    });
  } catch (error) {
    if (pages.length > 1 && isOfOnePage(error)) {
      const results: CommitResult[] = [];
      for (const page of pages) results.push(...(await commitPages(context, [page], arena, begin)));
      return results;
    }
    const results: CommitResult[] = [];
    for (const page of pages) {
      const before = results.at(-1);
      // When the database does not respond, don't try every page.
      results.push(
        before?.kind === 'databaseAway' ? before : await afterFailure(sql, page, error, isCommitting),
      );
    }
    // The table may hold rows of an earlier answer, with ties in another order. Only the table knows its keys.
    for (const [index, page] of pages.entries()) {
      if (results[index]?.kind === 'alreadyCommitted') hashes.forget(page.slice.id);
    }
    return results;
  }
  return pages.map((page, index): CommitResult => {
    const after = written[index];
    if (after === undefined) throw new Error('a page without a result');
    remember(hashes, page, after.next);
    return { kind: 'committed', rows: page.count, ...after };
  });
}

/** Whether a single page may be the cause, so that the others can be written without it. */
const isOfOnePage = (error: unknown): boolean =>
  error instanceof NothingToWrite || error instanceof UntoldRefusal || isRejection(error);

function remember(hashes: KeyHashes, { slice, startRow, keys }: ReadPage, next: AfterPage): void {
  if (next.kind !== 'page') hashes.forget(slice.id);
  else if (keys !== undefined) hashes.keep(slice.id, startRow, keys);
}

async function afterFailure(
  sql: Sql,
  page: ReadPage,
  error: unknown,
  wasCommitting: boolean,
): Promise<CommitResult> {
  if (error instanceof Refusal) return error.failure;
  if (error instanceof SourceError) throw error;
  const wasLost = wasCommitting && isConnectionLoss(error);
  if (error instanceof NothingToWrite || wasLost) {
    // Perhaps only the response to COMMIT was lost: check over another connection.
    const committed = await ask(() => readCommitted(sql, page));
    if (committed !== undefined) return committed;
    if (!wasLost) return { kind: 'rejected', reason: 'its slice has ended or belongs to another run' };
  }
  const failure = toFailure(error);
  if (failure !== undefined) return failure;
  if (error instanceof UntoldRefusal || isRejection(error)) {
    return { kind: 'rejected', reason: `PostgreSQL rejected the rows: ${errorFacts(error).message}` };
  }
  throw error;
}

async function ask(question: () => Promise<CommitResult | undefined>): Promise<CommitResult | undefined> {
  try {
    return await question();
  } catch (error) {
    const failure = toFailure(error);
    if (failure === undefined) throw error;
    return failure;
  }
}

async function write(
  tx: TransactionSql,
  { run, hashes, lockTimeoutMs, onCopyPath }: CommitContext,
  pages: readonly ReadPage[],
  arena: Buffer,
): Promise<readonly Written[]> {
  const timeout = tx.unsafe(`set local lock_timeout = ${lockTimeoutMs}`).execute();
  const locked = lockSlices(
    tx,
    run,
    pages.map(({ slice }) => slice.id),
  );
  const inserted = insertPages(tx, run, pages);
  const from = pages[0]?.text.from ?? 0;
  const to = pages.at(-1)?.text.to ?? 0;
  const copy =
    from === to ? undefined : startCopy(tx, `copy longtail.fact (${FACT_COLUMNS}) from stdin`, onCopyPath);

  const [, , found] = await Promise.all([timeout, locked, inserted]);
  const entries = new Map<string, LedgerEntry>(found.map((entry) => [entry.sliceId, entry]));
  if (found.some(({ isOurs, isOpen, isNew }) => !isOurs || !isOpen || !isNew)) {
    await copy?.cancel();
    throw found.every(({ isOurs }) => isOurs) ? new NothingToWrite() : new Refusal(FENCED_OFF);
  }

  const finish = async (): Promise<readonly Written[]> => {
    for (const page of pages) await endRepetition(tx, page, entries);
    const after = await seal(tx, run, pages, entries, hashes);
    // If the rows were refused, COMMIT would roll back without an error.
    if (after.every(({ kind }) => kind === 'page')) await tx.unsafe('select 1');
    return after.map((next, index) => {
      const isAfterShort = entries.get(pages[index]?.slice.id ?? '')?.afterShort === true;
      return isAfterShort ? { next, afterShort: true } : { next };
    });
  };
  if (copy === undefined) return await finish();
  return await copy.send((maxBytes) => copyChunks(arena.subarray(from, to), maxBytes), finish);
}

/**
 * A server that ignores `startRow` never returns an empty page. Where only an empty page ends the slice, or no more rows
 * can follow, a page whose keys are all known ends it as well.
 */
async function endRepetition(
  tx: TransactionSql,
  { slice, startRow, count }: ReadPage,
  entries: Map<string, LedgerEntry>,
): Promise<void> {
  const entry = entries.get(slice.id);
  if (entry === undefined || entry.hasLast || count === 0 || startRow === 0) return;
  if (!entry.afterShort && startRow < ROWS_GIVEN_AT_MOST) return;
  const isAtTheEnd = startRow + count === entry.rows && entry.contiguousRows === entry.rows;
  if (!isAtTheEnd || (await countKeys(tx, slice.id)) > startRow) return;
  await markLast(tx, slice.id, startRow);
  entries.set(slice.id, { ...entry, hasLast: true, afterShort: false });
}

/** Seals the slices that are complete now. Returns what follows each page, in order. */
async function seal(
  tx: TransactionSql,
  run: RunIdentity,
  pages: readonly ReadPage[],
  entries: ReadonlyMap<string, LedgerEntry>,
  hashes: KeyHashes,
): Promise<readonly AfterPage[]> {
  const completions: Completion[] = [];
  const lookAgain: string[] = [];
  const next: AfterPage[] = [];
  for (const page of pages) {
    const entry = entries.get(page.slice.id);
    if (entry === undefined) throw new Error('a page without an entry');
    if (page.text.replacedCharacters > 0) await noteReplaced(tx, page, page.text.replacedCharacters);
    if (!entry.hasLast || entry.contiguousRows !== entry.rows) {
      next.push({ kind: 'page', startRow: entry.contiguousRows });
      continue;
    }
    const duplicatesDropped = hasNoDuplicates(page, entry, hashes)
      ? 0
      : await dropDuplicates(tx, run, page.slice.id);
    const verdict = judgeSlice(page, entry, duplicatesDropped);
    if (verdict.kind === 'complete') {
      const { previousId } = entry;
      const { capped } = verdict;
      completions.push({
        sliceId: page.slice.id,
        previousId,
        capped,
        duplicatesDropped,
        final: page.day.final,
      });
      if (verdict.lookAgain) lookAgain.push(page.slice.id);
      next.push(sealed(capped, duplicatesDropped));
    } else {
      await endSlice(tx, page.slice.id, page.day.final, verdict);
      if (verdict.kind === 'kept' && entry.previousId !== null)
        await keepPrevious(tx, entry.previousId, verdict.reason);
      next.push(afterEnd(verdict));
    }
  }
  if (completions.length > 0) await completeSlices(tx, completions);
  for (const sliceId of lookAgain) {
    const index = pages.findIndex(({ slice }) => slice.id === sliceId);
    next[index] = { kind: 'again', sliceId: await openRefetch(tx, sliceId) };
  }
  return next;
}

function judgeSlice(page: ReadPage, entry: LedgerEntry, duplicatesDropped: number): SealVerdict {
  const { previousId, previousRows, previousFinal } = entry;
  return judge({
    rows: entry.rows - duplicatesDropped,
    duplicatesDropped,
    isRefetch: entry.isRefetch,
    mayBeEmpty: page.day.mayBeEmpty,
    notEmpty: whyNotEmpty(page.slice.dataset, page.day),
    acceptShrunk: entry.acceptShrunk,
    previous: previousId === null ? null : { rows: previousRows, final: previousFinal },
  });
}

function afterEnd(verdict: Exclude<SealVerdict, { kind: 'complete' }>): AfterPage {
  if (verdict.kind !== 'abandoned') return { kind: 'failed', reason: verdict.reason };
  return verdict.reason === NOT_PUBLISHED ? { kind: 'notPublished' } : { kind: 'sealed' };
}

/** Whether duplicate keys in the slice are ruled out. False also when some of its pages are not known here. */
function hasNoDuplicates(
  { slice, startRow, count, keys }: ReadPage,
  entry: LedgerEntry,
  hashes: KeyHashes,
): boolean {
  if (keys === undefined) return true;
  const isAtTheEnd = startRow + count === entry.rows;
  return isAtTheEnd && hashes.suspects(slice.id, startRow, keys) === 0;
}
