import { Buffer } from 'node:buffer';
import { ROWS_GIVEN_AT_MOST } from '../../planning/seal.ts';
import { type RowBlock, strideOf } from '../../rows/row-block.ts';
import { Unescaper } from '../../rows/unescape.ts';
import {
  HIGH_BITS,
  type KeyArrays,
  KeyPacker,
  type PageKeys,
  type Place,
  PlacePool,
  ROWS_PER_PAGE,
} from './packed-keys.ts';

/** Maximum pages held, over all slices: 73 KB each. The keys of evicted pages are counted in SQL instead. */
const MAX_PAGES = 256;
/** The usual number of pages being written at the same time. */
const MAX_KEPT_ARRAYS = 8;
/** Room for all rows that Google returns for a slice, half full. Allocated in one step when the minimum is too small. */
const FULL_SLOTS = 131_072;
const SMALL_SLOTS = 1_024;
const MIN_SLOTS = 16;
const FIRST_TEXT_BYTES = 1_024;
const SEED = 0x9e3779b9 | 0;
const OTHER_SEED = SEED ^ 0x85ebca6b;

/** A large page is packed. A small one keeps the arrays that it was read into. */
type KeptPage =
  | { readonly kind: 'small'; readonly keys: PageKeys; readonly rows: number }
  | { readonly kind: 'packed'; readonly place: Place; readonly rows: number };

/**
 * Detects possible duplicate keys in a slice of several pages. Google orders ties arbitrarily, so a key that appears on
 * two pages suggests that another row was missed between them. Keeps a hash of each key, as Google sent it, for the
 * committed pages of slices that are not yet sealed.
 *
 * In two of a hundred slices of 50,000 rows, a hash collision looks like a duplicate. So a suspected duplicate is verified
 * by SQL; only the absence of one is taken as certain.
 */
export class KeyHashes {
  readonly #slices = new Map<string, Map<number, KeptPage>>();
  /** Slices for which Google has returned all the rows it gives: the number of rows, and of duplicates. */
  readonly #counted = new Map<string, { readonly rows: number; readonly twice: number }>();
  readonly #counter = new TwiceCounter();
  readonly #places = new PlacePool();
  readonly #packer = new KeyPacker();
  readonly #arrays: KeyArrays[] = [];
  #pages = 0;

  /** Hashes a page's keys without storing them: the page may never be committed. */
  read(block: RowBlock): PageKeys {
    const { count, keyCount, bytes, offsets, escaped } = block;
    const { low, high } = this.#takeArrays(count);
    const stride = strideOf(keyCount);
    const hasher = new KeyHasher(bytes);
    for (let row = 0; row < count; row += 1) {
      hasher.begin();
      for (let key = 0; key < keyCount; key += 1) {
        const at = row * stride + 2 * key;
        const from = offsets[at] ?? 0;
        const to = offsets[at + 1] ?? 0;
        if (escaped[row * keyCount + key] === 1) hasher.addEscaped(from, to);
        else hasher.add(from, to);
      }
      low[row] = hasher.low();
      high[row] = hasher.high();
    }
    return { low, high, rows: count };
  }

  /** Returns a page's arrays for reuse. They must no longer be read. */
  release({ low, high }: KeyArrays): void {
    if (low.length === ROWS_PER_PAGE && this.#arrays.length < MAX_KEPT_ARRAYS)
      this.#arrays.push({ low, high });
  }

  /**
   * The number of keys on the page that appeared earlier, on it or on the slice's previous pages, as far as hashes show.
   * Undefined when some of those pages are not known here because an earlier process wrote them.
   */
  suspects(sliceId: string, startRow: number, page: PageKeys): number | undefined {
    const counted = this.#counted.get(sliceId);
    if (counted !== undefined) {
      return counted.rows === startRow && page.rows === 0 ? counted.twice : undefined;
    }
    const earlier = [...(this.#slices.get(sliceId) ?? [])]
      .filter(([start]) => start < startRow)
      .sort(([one], [other]) => one - other);
    let reached = 0;
    for (const [start, { rows }] of earlier) {
      if (start !== reached) return undefined;
      reached += rows;
    }
    if (reached !== startRow) return undefined;
    this.#counter.begin(reached + page.rows);
    for (const [, kept] of earlier) {
      if (kept.kind === 'small') {
        this.#counter.add(kept.keys);
        continue;
      }
      const unpacked = this.#takeArrays(ROWS_PER_PAGE);
      this.#counter.add(this.#packer.unpack(kept.place, kept.rows, unpacked));
      this.release(unpacked);
    }
    this.#counter.add(page);
    return this.#counter.twice;
  }

  /** Stores the keys of a committed page that is not its slice's last. */
  keep(sliceId: string, startRow: number, page: PageKeys): void {
    const rows = startRow + page.rows;
    // Google returns no rows beyond these. The next page is empty and needs no keys.
    const twice = rows < ROWS_GIVEN_AT_MOST ? undefined : this.suspects(sliceId, startRow, page);
    if (twice !== undefined) {
      this.forget(sliceId);
      this.#counted.set(sliceId, { rows, twice });
      return;
    }
    if (page.rows > ROWS_PER_PAGE) {
      this.forget(sliceId);
      return;
    }
    const pages = this.#slices.get(sliceId) ?? new Map<number, KeptPage>();
    const before = pages.get(startRow);
    if (before?.kind === 'packed') this.#places.give(before.place);
    if (before === undefined) this.#pages += 1;
    pages.set(startRow, this.#kept(page));
    this.#slices.set(sliceId, pages);
    while (this.#pages > MAX_PAGES) {
      const oldest = this.#slices.keys().next().value;
      if (oldest === undefined) break;
      this.forget(oldest);
    }
  }

  /** Called when a slice has ended. */
  forget(sliceId: string): void {
    for (const kept of this.#slices.get(sliceId)?.values() ?? []) {
      if (kept.kind === 'packed') this.#places.give(kept.place);
      this.#pages -= 1;
    }
    this.#slices.delete(sliceId);
    this.#counted.delete(sliceId);
  }

  #kept(page: PageKeys): KeptPage {
    const { rows } = page;
    if (isSmall(rows)) return { kind: 'small', keys: page, rows };
    const place = this.#places.take();
    this.#packer.pack(page, place);
    return { kind: 'packed', place, rows };
  }

  /** The arrays of a full page, except for a small page: many of those may wait at the same time. */
  #takeArrays(rows: number): KeyArrays {
    const kept = isSmall(rows) || rows > ROWS_PER_PAGE ? undefined : this.#arrays.pop();
    if (kept !== undefined) return kept;
    const length = isSmall(rows) ? rows : Math.max(rows, ROWS_PER_PAGE);
    return { low: new Int32Array(length), high: new Uint8Array(length) };
  }
}

/** Whether a page's keys take less memory unpacked than packed. Such pages own their arrays. */
const isSmall = (rows: number): boolean => rows * 2 < ROWS_PER_PAGE;

/** Counts keys that were added before: a set with open addressing, at most half full, in memory that is reused. */
class TwiceCounter {
  #lows = new Int32Array(0);
  /** The hash's upper bits plus one: 0 marks an empty slot. */
  #highs = new Uint8Array(0);
  /** Slots in use: with few keys, only a part of the table is cleared and probed. */
  #slots = MIN_SLOTS;
  twice = 0;

  /** Removes all keys and makes room for this many. */
  begin(keys: number): void {
    this.twice = 0;
    this.#slots = MIN_SLOTS;
    while (this.#slots < keys * 2) this.#slots *= 2;
    if (this.#slots <= this.#lows.length) {
      this.#highs.fill(0, 0, this.#slots);
      return;
    }
    const slots = this.#slots > SMALL_SLOTS ? Math.max(this.#slots, FULL_SLOTS) : SMALL_SLOTS;
    this.#lows = new Int32Array(slots);
    this.#highs = new Uint8Array(slots);
  }

  add({ low, high, rows }: PageKeys): void {
    const lows = this.#lows;
    const highs = this.#highs;
    const mask = this.#slots - 1;
    let twice = 0;
    for (let row = 0; row < rows; row += 1) {
      const lowHere = low[row] ?? 0;
      const highHere = (high[row] ?? 0) + 1;
      let slot = lowHere & mask;
      while (highs[slot] !== 0 && (lows[slot] !== lowHere || highs[slot] !== highHere))
        slot = (slot + 1) & mask;
      if (highs[slot] !== 0) twice += 1;
      lows[slot] = lowHere;
      highs[slot] = highHere;
    }
    this.twice += twice;
  }
}

/** Holds one unescaped text of `source`. */
class UnescapedText {
  readonly bytes: Buffer;
  readonly words: DataView;
  readonly unescaper: Unescaper;

  constructor(source: Buffer, size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size);
    this.words = wordsOf(this.bytes);
    this.unescaper = new Unescaper(source, this.bytes);
  }
}

/** Two independent 32-bit hashes, computed four bytes at a time. */
class KeyHasher {
  readonly #bytes: Buffer;
  readonly #words: DataView;
  /** The last unescaped key. */
  #text: UnescapedText;
  #one = 0;
  #other = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#words = wordsOf(bytes);
    this.#text = new UnescapedText(bytes, FIRST_TEXT_BYTES);
  }

  begin(): void {
    this.#one = SEED;
    this.#other = OTHER_SEED;
  }

  add(from: number, to: number): void {
    this.#addBytes(this.#bytes, this.#words, from, to);
  }

  /** Adds a key with escapes. It hashes as its unescaped text would. */
  addEscaped(from: number, to: number): void {
    if (to - from > this.#text.bytes.length) this.#text = new UnescapedText(this.#bytes, 2 * (to - from));
    const { bytes, words, unescaper } = this.#text;
    this.#addBytes(bytes, words, 0, unescaper.write(from, to, 0));
  }

  low(): number {
    return mixed(this.#one ^ Math.imul(this.#other, 0xc2b2ae35));
  }

  high(): number {
    return mixed(this.#other) >>> (32 - HIGH_BITS);
  }

  #addBytes(bytes: Buffer, words: DataView, from: number, to: number): void {
    // The length first, so that ['ab', 'c'] and ['a', 'bc'] differ.
    let one = Math.imul(this.#one ^ (to - from), 0x9e3779b1);
    let other = Math.imul(this.#other ^ (to - from), 0x01000193);
    let at = from;
    for (; at + 4 <= to; at += 4) {
      const word = words.getUint32(at, true);
      one = Math.imul(one ^ word ^ (one >>> 15), 0x9e3779b1);
      other = Math.imul((other + word) ^ (other >>> 13), 0x5bd1e995);
    }
    for (; at < to; at += 1) {
      const byte = bytes[at] ?? 0;
      one = Math.imul(one ^ byte, 0x01000193);
      other = Math.imul((other + byte) ^ (other >>> 15), 0x5bd1e995);
    }
    this.#one = one;
    this.#other = other;
  }
}

function wordsOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

function mixed(hash: number): number {
  let out = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  out = Math.imul(out ^ (out >>> 13), 0xc2b2ae35);
  return out ^ (out >>> 16);
}
