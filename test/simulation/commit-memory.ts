import { KeyHashes } from '../../src/postgres/duplicates/key-hashes.ts';
import { plainRows } from '../../src/rows/row-block.ts';
import type { PageCommit } from '../../src/store/types.ts';
import type { Next, PlainPage } from './table-rows.ts';

/** What one process remembers of pages that it has committed: production's own, used as production does. */
export class CommitMemory {
  readonly #hashes = new KeyHashes();

  /** Reads the rows at once: the memory they lie in is overwritten by what comes next. */
  read({ rows, ...page }: PageCommit): PlainPage {
    const isAlone = page.startRow === 0 && rows.count < page.rowLimit && page.end !== 'empty';
    return { ...page, rows: plainRows(rows), keys: isAlone ? undefined : this.#hashes.read(rows) };
  }

  hasNoDuplicates({ slice, startRow, keys }: PlainPage): boolean {
    return keys === undefined || this.#hashes.suspects(slice.id, startRow, keys) === 0;
  }

  remember({ slice, startRow, keys }: PlainPage, next: Next): void {
    if (next.kind !== 'page') this.#hashes.forget(slice.id);
    else if (keys !== undefined) this.#hashes.keep(slice.id, startRow, keys);
  }

  forget(sliceId: string): void {
    this.#hashes.forget(sliceId);
  }
}
