/**
 * Packs the hashes of a page's keys into three bytes each, without their order (Elias–Fano coding). A hash's upper bits
 * select its bucket. The number of hashes per bucket is stored in unary, the remaining bits one after another.
 */

/** Maximum number of rows that Google returns per page. */
export const ROWS_PER_PAGE = 25_000;
/** On average less than one key per bucket: that gives the shortest code. */
const BUCKET_BITS = 15;
const BUCKETS = 2 ** BUCKET_BITS;
/** Bits of a hash's lower word that the bucket does not give. */
const WORD_BITS = 32 - BUCKET_BITS;
/** Bits of a hash beyond its lower word. */
export const HIGH_BITS = 4;
const REST_BITS = WORD_BITS + HIGH_BITS;
const REST_WORDS = Math.ceil((ROWS_PER_PAGE * REST_BITS) / 32) + 1;
const PLACE_WORDS = REST_WORDS + Math.ceil((ROWS_PER_PAGE + BUCKETS) / 32);
/** One megabyte per allocation: allocating and freeing pages one by one would leave holes that nothing else fits into. */
const PLACES_PER_SLAB = 16;

/**
 * A 36-bit hash for each of a page's keys: a word and four more bits. The arrays may be longer than the page. The words
 * are signed, because V8 would store half of the unsigned ones as heap objects.
 */
export interface PageKeys {
  readonly low: Int32Array;
  readonly high: Uint8Array;
  readonly rows: number;
}

export type KeyArrays = Pick<PageKeys, 'low' | 'high'>;

/** Space for one page's keys: first the bits that the buckets do not give, then the buckets. */
export type Place = Int32Array;

/** Reusable places. The one returned last is taken next, so places that were never needed take no memory. */
export class PlacePool {
  readonly #free: Place[] = [];

  take(): Place {
    return this.#free.pop() ?? this.#addSlab();
  }

  give(place: Place): void {
    this.#free.push(place);
  }

  /** Returns the slab's first place and adds the others to the free list. */
  #addSlab(): Place {
    const slab = new Int32Array(PLACE_WORDS * PLACES_PER_SLAB);
    const placeAt = (index: number): Place => slab.subarray(index * PLACE_WORDS, (index + 1) * PLACE_WORDS);
    for (let index = PLACES_PER_SLAB - 1; index > 0; index -= 1) this.#free.push(placeAt(index));
    return placeAt(0);
  }
}

/** Packs keys into places and unpacks them. */
export class KeyPacker {
  /** For each bucket: first the number of its keys, then the position of its next key. */
  readonly #buckets = new Int32Array(BUCKETS);

  /** Writes at most {@link ROWS_PER_PAGE} keys and overwrites what the place holds. */
  pack({ low, high, rows }: PageKeys, place: Place): void {
    const buckets = this.#buckets;
    place.fill(0);
    buckets.fill(0);
    for (let row = 0; row < rows; row += 1) {
      const bucket = (low[row] ?? 0) >>> WORD_BITS;
      buckets[bucket] = (buckets[bucket] ?? 0) + 1;
    }
    let next = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket += 1) {
      const end = next + (buckets[bucket] ?? 0);
      buckets[bucket] = next;
      // One bit per key. A bit left out marks the bucket's end.
      for (; next < end; next += 1) putBits(place, REST_WORDS * 32 + next + bucket, 1);
    }
    for (let row = 0; row < rows; row += 1) {
      const word = low[row] ?? 0;
      const bucket = word >>> WORD_BITS;
      const at = buckets[bucket] ?? 0;
      buckets[bucket] = at + 1;
      const rest = ((word << BUCKET_BITS) >>> (BUCKET_BITS - HIGH_BITS)) | (high[row] ?? 0);
      putBits(place, at * REST_BITS, rest);
    }
  }

  /** Reads `rows` keys, in any order, into the arrays. */
  unpack(place: Place, rows: number, { low, high }: KeyArrays): PageKeys {
    let at = REST_WORDS * 32;
    let bucket = 0;
    for (let row = 0; row < rows; at += 1) {
      if (((place[at >>> 5] ?? 0) & (1 << (at & 31))) === 0) {
        bucket += 1;
        continue;
      }
      const rest = takeBits(place, row * REST_BITS);
      low[row] = (bucket << WORD_BITS) | (rest >>> HIGH_BITS);
      high[row] = rest & (2 ** HIGH_BITS - 1);
      row += 1;
    }
    return { low, high, rows };
  }
}

/** Sets bits in an area that is still zero. */
function putBits(words: Int32Array, at: number, bits: number): void {
  const index = at >>> 5;
  const shift = at & 31;
  words[index] = (words[index] ?? 0) | (bits << shift);
  // JavaScript treats a shift by 32 as a shift by 0.
  if (shift > 0) words[index + 1] = (words[index + 1] ?? 0) | (bits >>> (32 - shift));
}

function takeBits(words: Int32Array, at: number): number {
  const index = at >>> 5;
  const shift = at & 31;
  const first = (words[index] ?? 0) >>> shift;
  const both = shift > 0 ? first | ((words[index + 1] ?? 0) << (32 - shift)) : first;
  return both & (2 ** REST_BITS - 1);
}
