import type { Sql, TransactionSql } from 'postgres';
import { FENCED_OFF, one, Refusal } from './answer.ts';
import { type EncodedRows, encodeRows, FACT_COLUMNS } from './copy-block.ts';
import { SourceError, startCopy } from './copy-in.ts';
import type { CopyMemory } from './copy-memory.ts';
import { copyChunks } from './copy-text.ts';
import { errorFacts, isConnectionLoss, isRejection, toFailure } from './failure.ts';
import type { KeyHashes, PageKeys } from './key-hashes.ts';
import { insertPage, type LedgerEntry, lockSlice, readCommitted } from './ledger.ts';
import { judge, NOT_PUBLISHED } from './seal.ts';
import { completeSlice, endSlice, noteReplaced, openSecondLook, readDuplicates } from './slice-rows.ts';
import { transaction } from './transaction.ts';
import type { CommitResult, PageCommit, RunIdentity } from './types.ts';

/** What all commits of one run share. */
export interface CommitContext {
  readonly sql: Sql;
  readonly run: RunIdentity;
  readonly hashes: KeyHashes;
  readonly memory: CopyMemory;
  /** How long a commit waits for a lock before it counts the database as away. */
  readonly lockTimeoutMs: number;
}

type Committed = Extract<CommitResult, { kind: 'committed' | 'alreadyCommitted' }>;

/** Ends the transaction without an error to tell: the page was there, or its slice has ended. */
class NothingToWrite extends Error {
  override readonly name = 'NothingToWrite';
}

/**
 * Writes one page: its rows, its entry in the ledger and, when it is the last that was missing, the end of its slice,
 * in one transaction. Either all of it is there afterwards or nothing.
 *
 * Four round trips, whatever the page: begin; locks, ledger and the start of COPY; rows and the barrier with the seal;
 * commit.
 */
export async function commitPage(context: CommitContext, commit: PageCommit): Promise<CommitResult> {
  const { sql, hashes, memory } = context;
  // Before anything is waited for: the rows lie in memory that the next answer overwrites.
  const page = readPage(commit, hashes, memory);
  let next: Committed['next'] | undefined;
  try {
    next = await transaction(sql, async (tx) => {
      const after = await write(tx, context, page);
      next = after;
      return after;
    });
  } catch (error) {
    const result = await afterFailure(sql, page, error, next !== undefined);
    // What is in the table may be an earlier answer, with ties in another order: only the table knows its keys.
    if (result.kind === 'alreadyCommitted') hashes.forget(page.slice.id);
    return result;
  }
  // After a failure the driver may still hold pieces of it.
  memory.give(page.text.memory);
  remember(hashes, page, next);
  return { kind: 'committed', rows: page.count, next };
}

/** A page as it is written: its rows are COPY's text by now. */
interface ReadPage extends Omit<PageCommit, 'rows'> {
  readonly count: number;
  readonly clicks: number;
  readonly impressions: number;
  readonly text: EncodedRows;
  /** Of a page that has others beside it. */
  readonly keys: PageKeys | undefined;
}

function readPage({ rows, ...page }: PageCommit, hashes: KeyHashes, memory: CopyMemory): ReadPage {
  // A page that is a whole slice has no other to share keys with.
  const isWhole = page.startRow === 0 && rows.count < page.rowLimit;
  return {
    ...page,
    count: rows.count,
    clicks: rows.clicks,
    impressions: rows.impressions,
    text: encodeRows(page.slice.id, page.slice.dataset, rows, memory.take()),
    keys: isWhole ? undefined : hashes.read(rows),
  };
}

function remember(hashes: KeyHashes, { slice, startRow, keys }: ReadPage, next: Committed['next']): void {
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
    // The answer to COMMIT may be all that was lost: another connection knows.
    const committed = await ask(() => readCommitted(sql, page));
    if (committed !== undefined) return committed;
    if (!wasLost) return { kind: 'rejected', reason: 'its slice has ended, or belongs to another run' };
  }
  const failure = toFailure(error);
  if (failure !== undefined) return failure;
  if (isRejection(error)) {
    return { kind: 'rejected', reason: `PostgreSQL would not take the rows: ${errorFacts(error).message}` };
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
  { run, hashes, lockTimeoutMs }: CommitContext,
  page: ReadPage,
): Promise<Committed['next']> {
  const sliceId = page.slice.id;
  const timeout = tx.unsafe(`set local lock_timeout = ${lockTimeoutMs}`).execute();
  const locked = lockSlice(tx, run, sliceId);
  const inserted = insertPage(tx, run, page);
  const copy =
    page.count === 0 ? undefined : startCopy(tx, `copy longtail.fact (${FACT_COLUMNS}) from stdin`);

  const [, , entries] = await Promise.all([timeout, locked, inserted]);
  const entry = one(entries);
  if (!entry.isOurs || !entry.isOpen || !entry.isNew) {
    await copy?.cancel();
    throw entry.isOurs ? new NothingToWrite() : new Refusal(FENCED_OFF);
  }

  const finish = async (): Promise<Committed['next']> => {
    if (page.text.replacedCharacters > 0) await noteReplaced(tx, page, page.text.replacedCharacters);
    if (entry.hasLast && entry.contiguousRows === entry.rows) return await seal(tx, page, entry, hashes);
    // COMMIT would not say that the rows were refused: it rolls back as if asked to.
    await tx.unsafe('select 1');
    return { kind: 'page', startRow: entry.contiguousRows };
  };
  return copy === undefined ? await finish() : await copy.send(copyChunks(page.text.bytes), finish);
}

async function seal(
  tx: TransactionSql,
  page: ReadPage,
  entry: LedgerEntry,
  hashes: KeyHashes,
): Promise<Committed['next']> {
  const { previousId, previousRows, previousDuplicates } = entry;
  const duplicateRows = hasNoDuplicates(page, entry, hashes) ? 0 : await readDuplicates(tx, page.slice.id);
  const verdict = judge({
    rows: entry.rows,
    duplicateRows,
    isSecondLook: entry.isSecondLook,
    mayBeEmpty: page.day.mayBeEmpty,
    force: entry.force,
    previous: previousId === null ? null : { rows: previousRows, duplicateRows: previousDuplicates },
  });
  if (verdict.kind === 'complete') {
    const { capped, lookAgain } = verdict;
    await completeSlice(tx, page.slice.id, { previousId, capped, duplicateRows, final: page.day.final });
    return lookAgain
      ? { kind: 'again', sliceId: await openSecondLook(tx, page.slice.id) }
      : { kind: 'sealed' };
  }
  await endSlice(tx, page.slice.id, verdict);
  if (verdict.kind === 'failed') return { kind: 'failed', reason: verdict.reason };
  return verdict.reason === NOT_PUBLISHED ? { kind: 'notPublished' } : { kind: 'sealed' };
}

/** Whether no key of the slice can have come twice. False also where not all of its pages are known here. */
function hasNoDuplicates(
  { slice, startRow, count, keys }: ReadPage,
  entry: LedgerEntry,
  hashes: KeyHashes,
): boolean {
  if (keys === undefined) return true;
  const isAtTheEnd = startRow + count === entry.rows;
  return isAtTheEnd && hashes.suspects(slice.id, startRow, keys) === 0;
}
