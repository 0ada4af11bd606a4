import type { Sql, TransactionSql } from 'postgres';
import { FENCED_OFF, one, Refusal } from './answer.ts';
import { SourceError, startCopy } from './copy-in.ts';
import { CopyText, FACT_COLUMNS } from './copy-text.ts';
import { errorFacts, isConnectionLoss, isRejection, toFailure } from './failure.ts';
import type { HashTable, KeyHashes } from './key-hashes.ts';
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
export async function commitPage(context: CommitContext, page: PageCommit): Promise<CommitResult> {
  const { sql, hashes } = context;
  const keys = needsHashes(page) ? hashes.read(page.rows) : undefined;
  let next: Committed['next'] | undefined;
  try {
    next = await transaction(sql, async (tx) => {
      const after = await write(tx, context, page, keys);
      next = after;
      return after;
    });
  } catch (error) {
    const result = await afterFailure(sql, page, error, next !== undefined);
    if (result.kind !== 'alreadyCommitted') return result;
    remember(hashes, page, keys, result.next);
    return result;
  }
  remember(hashes, page, keys, next);
  return { kind: 'committed', rows: page.rows.length, next };
}

/** A page that is a whole slice has no other to share keys with. */
function needsHashes(page: PageCommit): boolean {
  return page.startRow > 0 || page.rows.length >= page.rowLimit;
}

function remember(
  hashes: KeyHashes,
  page: PageCommit,
  keys: HashTable | undefined,
  next: Committed['next'],
): void {
  if (next.kind !== 'page') hashes.forget(page.slice.id);
  else if (keys !== undefined) hashes.keep(page.slice.id, page.startRow, keys);
}

async function afterFailure(
  sql: Sql,
  page: PageCommit,
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
  page: PageCommit,
  keys: HashTable | undefined,
): Promise<Committed['next']> {
  const sliceId = page.slice.id;
  const timeout = tx.unsafe(`set local lock_timeout = ${lockTimeoutMs}`).execute();
  const locked = lockSlice(tx, run, sliceId);
  const inserted = insertPage(tx, run, page, sumsOf(page));
  const copy =
    page.rows.length === 0 ? undefined : startCopy(tx, `copy longtail.fact (${FACT_COLUMNS}) from stdin`);

  const [, , entries] = await Promise.all([timeout, locked, inserted]);
  const entry = one(entries);
  if (!entry.isOurs || !entry.isOpen || !entry.isNew) {
    await copy?.cancel();
    throw entry.isOurs ? new NothingToWrite() : new Refusal(FENCED_OFF);
  }

  const text = new CopyText(sliceId, page.slice.dataset);
  const finish = async (): Promise<Committed['next']> => {
    if (text.replacedCharacters > 0) await noteReplaced(tx, page, text.replacedCharacters);
    if (entry.hasLast && entry.contiguousRows === entry.rows)
      return await seal(tx, page, entry, hashes, keys);
    // COMMIT would not say that the rows were refused: it rolls back as if asked to.
    await tx.unsafe('select 1');
    return { kind: 'page', startRow: entry.contiguousRows };
  };
  return copy === undefined ? await finish() : await copy.send(text.chunks(page.rows), finish);
}

async function seal(
  tx: TransactionSql,
  page: PageCommit,
  entry: LedgerEntry,
  hashes: KeyHashes,
  keys: HashTable | undefined,
): Promise<Committed['next']> {
  const { previousId, previousRows, previousDuplicates } = entry;
  const duplicateRows =
    countDuplicates(page, entry, hashes, keys) ?? (await readDuplicates(tx, page.slice.id));
  const verdict = judge({
    rows: entry.rows,
    duplicateRows,
    isSecondLook: entry.isSecondLook,
    mayBeEmpty: page.mayBeEmpty,
    force: entry.force,
    previous: previousId === null ? null : { rows: previousRows, duplicateRows: previousDuplicates },
  });
  if (verdict.kind === 'complete') {
    const { capped, lookAgain } = verdict;
    await completeSlice(tx, page.slice.id, { previousId, capped, duplicateRows, final: page.final });
    return lookAgain
      ? { kind: 'again', sliceId: await openSecondLook(tx, page.slice.id) }
      : { kind: 'sealed' };
  }
  await endSlice(tx, page.slice.id, verdict);
  if (verdict.kind === 'failed') return { kind: 'failed', reason: verdict.reason };
  return verdict.reason === NOT_PUBLISHED ? { kind: 'notPublished' } : { kind: 'sealed' };
}

/** Undefined when not all of the slice's pages are known here. */
function countDuplicates(
  page: PageCommit,
  entry: LedgerEntry,
  hashes: KeyHashes,
  keys: HashTable | undefined,
): number | undefined {
  if (entry.rows === page.rows.length && page.rows.length < page.rowLimit) return 0;
  const isAtTheEnd = page.startRow + page.rows.length === entry.rows;
  return isAtTheEnd && keys !== undefined ? hashes.duplicates(page.slice.id, page.startRow, keys) : undefined;
}

function sumsOf(page: PageCommit): { clicks: number; impressions: number } {
  let clicks = 0;
  let impressions = 0;
  for (const row of page.rows) {
    clicks += row.clicks;
    impressions += row.impressions;
  }
  return { clicks, impressions };
}
