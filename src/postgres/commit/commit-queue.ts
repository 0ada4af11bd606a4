import type { CommitResult, DatabaseAway, DatabaseFailure, PageCommit } from '../../store/types.ts';
import { transaction } from '../connection/transaction.ts';
import { explain, writableTransaction } from '../connection/trouble.ts';
import { CopyArena, type CopyMemory } from '../copy/copy-memory.ts';
import { type CommitContext, commitPages, type ReadPage, readPage } from './commit-page.ts';

/** Maximum pages per transaction. A larger one would hold its locks for long, and one failure would lose more. */
const MAX_PAGES = 64;
const MAX_BYTES = 2 * 1024 * 1024;

/** A page and its pending promise. */
interface WaitingPage {
  readonly page: ReadPage;
  readonly tell: (result: CommitResult) => void;
  readonly breakOff: (error: unknown) => void;
}

/** Pages written in one transaction. */
interface Group {
  readonly arena: CopyArena;
  readonly pages: WaitingPage[];
}

/**
 * Writes the pages of one call, in order. Pages that arrive during a transaction are grouped into the next one: fifty
 * small pages take a handful of transactions, a page of 25,000 rows takes one alone. While the database is unavailable,
 * the pages stay here as COPY text and are retried when `wait` resolves; they are never fetched again. After a failure
 * that no retry can fix, all waiting pages fail with it. After an abort, the current transaction finishes and waiting
 * pages are dropped.
 */
export class CommitQueue {
  readonly #context: CommitContext;
  readonly #memory: CopyMemory;
  readonly #signal: AbortSignal;
  readonly #wait: ((away: DatabaseAway) => Promise<boolean>) | undefined;
  readonly #waiting: Group[] = [];
  #isBusy = false;
  #failure: DatabaseFailure | undefined;

  constructor(
    context: CommitContext,
    memory: CopyMemory,
    signal: AbortSignal,
    wait?: (away: DatabaseAway) => Promise<boolean>,
  ) {
    this.#context = context;
    this.#memory = memory;
    this.#signal = signal;
    this.#wait = wait;
  }

  commit(page: PageCommit): Promise<CommitResult> {
    const why = this.#whyNot();
    if (why !== undefined) return Promise.resolve(why);
    const group = this.#groupFor(page);
    const read = readPage(page, this.#context.hashes, group.arena);
    const result = new Promise<CommitResult>((resolve, reject) => {
      group.pages.push({ page: read, tell: resolve, breakOff: reject });
    });
    if (!this.#isBusy) void this.#run();
    return result;
  }

  /** Why the queue no longer writes. */
  #whyNot(): CommitResult | undefined {
    return this.#failure ?? (this.#signal.aborted ? { kind: 'dropped' } : undefined);
  }

  #groupFor(page: PageCommit): Group {
    const last = this.#waiting.at(-1);
    const hasRoom =
      last !== undefined &&
      last.pages.length < MAX_PAGES &&
      last.arena.end + page.rows.bytes.length <= MAX_BYTES &&
      // Pages of one slice are written one after another.
      last.pages.every(({ page: { slice } }) => slice.id !== page.slice.id);
    if (hasRoom) return last;
    const group: Group = { arena: new CopyArena(this.#memory), pages: [] };
    this.#waiting.push(group);
    return group;
  }

  async #run(): Promise<void> {
    this.#isBusy = true;
    for (;;) {
      const group = this.#waiting.shift();
      if (group === undefined) break;
      await this.#write(group);
    }
    this.#isBusy = false;
  }

  async #write({ arena, pages }: Group): Promise<void> {
    const { hashes, nudge } = this.#context;
    const bytes = arena.end;
    const left = [...pages];
    try {
      const isClean = await this.#writeAll(left, arena);
      // After a failure the driver may still hold parts of the arena.
      if (isClean) arena.release();
    } catch (error) {
      for (const { page } of left) hashes.forget(page.slice.id);
      for (const { breakOff } of left) breakOff(error);
    } finally {
      for (const { page } of pages) if (page.keys !== undefined) hashes.release(page.keys);
      nudge?.passed(bytes);
    }
  }

  /** Removes pages from `left` as they are settled. Resolves to whether all succeeded on the first attempt. */
  async #writeAll(left: WaitingPage[], arena: CopyArena): Promise<boolean> {
    let isClean = true;
    let maxTogether = left.length;
    let begin = transaction;
    while (left.length > 0) {
      const why = this.#whyNot();
      const tried = left.slice(0, maxTogether);
      const results =
        why === undefined
          ? await commitPages(
              this.#context,
              tried.map(({ page }) => page),
              arena,
              begin,
            )
          : tried.map(() => why);
      let away: DatabaseAway | undefined;
      for (const [index, waiting] of tried.entries()) {
        const result = results[index];
        if (result === undefined) throw new Error('a page without a result');
        if (result.kind !== 'committed') isClean = false;
        if (result.kind === 'databaseAway' && this.#wait !== undefined) away ??= result;
        else this.#settle(left, waiting, result);
      }
      if (away === undefined || this.#wait === undefined) continue;
      // COPY text is sent as one contiguous piece: once a page in the middle is settled, the rest cannot go together.
      if (results.some(({ kind }) => kind !== 'databaseAway')) maxTogether = 1;
      // One page may fit into a timeout that many pages exceed.
      if (away.cause === 'timeout' && tried.length > 1) {
        maxTogether = 1;
        continue;
      }
      begin = writableTransaction;
      if (await this.#wait(await explain(this.#context.sql, away))) continue;
      for (const waiting of [...left]) this.#settle(left, waiting, { kind: 'dropped' });
    }
    return isClean;
  }

  #settle(left: WaitingPage[], waiting: WaitingPage, result: CommitResult): void {
    if (result.kind === 'databaseAway' || result.kind === 'fatal') this.#failure ??= result;
    left.splice(left.indexOf(waiting), 1);
    waiting.tell(result);
  }
}
