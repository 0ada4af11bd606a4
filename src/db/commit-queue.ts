import { type CommitContext, commitPages, type ReadPage, readPage } from './commit-page.ts';
import { CopyArena, type CopyMemory } from './copy-memory.ts';
import type { CommitResult, DatabaseFailure, PageCommit } from './types.ts';

/** Of a transaction: more would hold its locks for long, and be lost together. */
const MAX_PAGES = 64;
const MAX_BYTES = 2 * 1024 * 1024;

/** Pages that go together, and who waits for them. */
interface Group {
  readonly arena: CopyArena;
  readonly pages: ReadPage[];
  readonly told: ((result: CommitResult) => void)[];
  readonly broke: ((error: unknown) => void)[];
}

/**
 * Writes the pages of one call, in their order. While one transaction is under way the pages that come meanwhile
 * gather, and go into the next together: fifty small pages take a handful of transactions, a page of 25,000 rows
 * one of its own. After a failure of the database nothing more is tried: what waits fails with it. After an abort what
 * is under way goes on, and what waits is dropped.
 */
export class CommitQueue {
  readonly #context: CommitContext;
  readonly #memory: CopyMemory;
  readonly #signal: AbortSignal;
  readonly #waiting: Group[] = [];
  #isBusy = false;
  #failure: DatabaseFailure | undefined;

  constructor(context: CommitContext, memory: CopyMemory, signal: AbortSignal) {
    this.#context = context;
    this.#memory = memory;
    this.#signal = signal;
  }

  commit(page: PageCommit): Promise<CommitResult> {
    const why = this.#whyNot();
    if (why !== undefined) return Promise.resolve(why);
    const group = this.#groupFor(page);
    group.pages.push(readPage(page, this.#context.hashes, group.arena));
    const result = new Promise<CommitResult>((resolve, reject) => {
      group.told.push(resolve);
      group.broke.push(reject);
    });
    if (!this.#isBusy) void this.#run();
    return result;
  }

  /** Why nothing is written any more. */
  #whyNot(): CommitResult | undefined {
    return this.#failure ?? (this.#signal.aborted ? { kind: 'dropped' } : undefined);
  }

  #groupFor(page: PageCommit): Group {
    const last = this.#waiting.at(-1);
    const hasRoom =
      last !== undefined &&
      last.pages.length < MAX_PAGES &&
      last.arena.end + page.rows.bytes.length <= MAX_BYTES &&
      // Of a slice one page after the other.
      last.pages.every(({ slice }) => slice.id !== page.slice.id);
    if (hasRoom) return last;
    const group: Group = { arena: new CopyArena(this.#memory), pages: [], told: [], broke: [] };
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

  async #write({ arena, pages, told, broke }: Group): Promise<void> {
    const { hashes, nudge } = this.#context;
    const bytes = arena.end;
    try {
      const why = this.#whyNot();
      const results =
        why === undefined ? await commitPages(this.#context, pages, arena) : pages.map(() => why);
      for (const [index, result] of results.entries()) {
        if (result.kind === 'databaseAway' || result.kind === 'fatal') this.#failure ??= result;
        told[index]?.(result);
      }
      // After a failure the driver may still hold pieces of it.
      if (results.every(({ kind }) => kind === 'committed')) arena.release();
    } catch (error) {
      for (const { slice } of pages) hashes.forget(slice.id);
      for (const reject of broke) reject(error);
    } finally {
      for (const { keys } of pages) if (keys !== undefined) hashes.release(keys);
      nudge.passed(bytes);
    }
  }
}
