import type { SourceRow } from './types.ts';

/** Pages remembered at once, over all slices: 512 KB each when full. What falls out is counted by SQL instead. */
const MAX_PAGES = 128;

/**
 * Finds keys that come twice in a slice of several pages. Google breaks ties in any order, so that a key on two pages
 * suggests that another row fell between them. Keeps a 64-bit hash of each key, as Google sent it, of the pages that
 * are in the ledger of slices that are not sealed.
 */
export class KeyHashes {
  readonly #slices = new Map<string, Map<number, HashTable>>();
  #pages = 0;

  /** Hashes a page's keys without keeping them: it may never be committed. */
  read(rows: readonly SourceRow[]): HashTable {
    const table = new HashTable(rows.length);
    for (const row of rows) {
      const low = hashKeys(row.keys, 0x9e3779b9);
      table.add(low, hashKeys(row.keys, low ^ 0x85ebca6b));
    }
    return table;
  }

  /**
   * Keys of the page that came before, on it or on the slice's pages before it; undefined when not all of those are
   * known here (an earlier process wrote them).
   */
  duplicates(sliceId: string, startRow: number, page: HashTable): number | undefined {
    const earlier = [...(this.#slices.get(sliceId) ?? [])]
      .filter(([start]) => start < startRow)
      .sort(([one], [other]) => one - other)
      .map(([start, table]) => ({ start, table }));
    let reached = 0;
    let count = 0;
    const before: HashTable[] = [];
    for (const { start, table } of [...earlier, { start: startRow, table: page }]) {
      if (start !== reached) return undefined;
      reached += table.rows;
      count += table.duplicates + table.countIn(before);
      before.push(table);
    }
    return count;
  }

  /** Remembers a page that was committed and is not its slice's last. */
  keep(sliceId: string, startRow: number, page: HashTable): void {
    let pages = this.#slices.get(sliceId);
    if (pages === undefined) {
      pages = new Map();
      this.#slices.set(sliceId, pages);
    }
    if (!pages.has(startRow)) this.#pages += 1;
    pages.set(startRow, page);
    while (this.#pages > MAX_PAGES) {
      const oldest = this.#slices.keys().next().value;
      if (oldest === undefined) break;
      this.forget(oldest);
    }
  }

  /** For a slice that has ended. */
  forget(sliceId: string): void {
    this.#pages -= this.#slices.get(sliceId)?.size ?? 0;
    this.#slices.delete(sliceId);
  }
}

/** A set of 64-bit hashes in two typed arrays, with open addressing, at most half full. */
export class HashTable {
  /** Keys added, those that came twice included. */
  rows = 0;
  /** Keys added that were there already. */
  duplicates = 0;
  readonly #mask: number;
  readonly #low: Uint32Array;
  readonly #high: Uint32Array;

  constructor(capacity: number) {
    let slots = 16;
    while (slots < capacity * 2) slots *= 2;
    this.#mask = slots - 1;
    this.#low = new Uint32Array(slots);
    this.#high = new Uint32Array(slots);
  }

  add(low: number, high: number): void {
    this.rows += 1;
    const slot = this.#slot(low, high);
    if (this.#low[slot] === 0 && this.#high[slot] === 0) {
      // Zero twice means an empty slot; so does the one key in 2^64 that hashes to it, which is then never a duplicate.
      this.#low[slot] = low;
      this.#high[slot] = high;
    } else {
      this.duplicates += 1;
    }
  }

  /** How many of its different keys any of the others has, too: a key on three pages came twice too often, not thrice. */
  countIn(others: readonly HashTable[]): number {
    if (others.length === 0) return 0;
    let count = 0;
    for (let slot = 0; slot < this.#low.length; slot += 1) {
      const low = this.#low[slot] ?? 0;
      const high = this.#high[slot] ?? 0;
      if (low === 0 && high === 0) continue;
      if (others.some((other) => other.#has(low, high))) count += 1;
    }
    return count;
  }

  #has(low: number, high: number): boolean {
    const slot = this.#slot(low, high);
    return this.#low[slot] !== 0 || this.#high[slot] !== 0;
  }

  /** Where the hash is, or the empty slot where it would be. */
  #slot(low: number, high: number): number {
    let slot = low & this.#mask;
    for (;;) {
      const lowHere = this.#low[slot];
      const highHere = this.#high[slot];
      if ((lowHere === 0 && highHere === 0) || (lowHere === low >>> 0 && highHere === high >>> 0))
        return slot;
      slot = (slot + 1) & this.#mask;
    }
  }
}

/** 32 bits over the keys' UTF-16 units, lengths included, so that `['ab', 'c']` and `['a', 'bc']` differ. */
function hashKeys(keys: readonly string[], seed: number): number {
  let hash = seed | 0;
  for (const key of keys) {
    hash = Math.imul(hash ^ key.length, 0x9e3779b1);
    for (let index = 0; index < key.length; index += 1) {
      hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
    }
    hash ^= hash >>> 15;
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
