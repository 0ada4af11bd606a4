/**
 * The hashes of a page's keys in three bytes each, without their order: Elias–Fano. They fall into as many buckets as there
 * are values of a hash's upper bits; how many fall into each is written in unary, the other bits one behind another.
 */

/** As many rows as Google gives on a page. */
export const ROWS_A_PAGE = 25_000;
/** Buckets of less than one key each: then the code is at its shortest. */
const BUCKET_BITS = 15;
const BUCKETS = 2 ** BUCKET_BITS;
/** Of a hash's lower word, what its bucket does not tell. */
const WORD_BITS = 32 - BUCKET_BITS;
/** Of a hash, beyond its lower word. */
export const HIGH_BITS = 4;
const REST_BITS = WORD_BITS + HIGH_BITS;
const REST_WORDS = Math.ceil((ROWS_A_PAGE * REST_BITS) / 32) + 1;
const PLACE_WORDS = REST_WORDS + Math.ceil((ROWS_A_PAGE + BUCKETS) / 32);
/** A megabyte in one piece: pages that come and go one by one would leave holes that nothing else fits into. */
const PLACES_A_SLAB = 16;

/**
 * A hash of each of a page's keys, of 36 bits: a word and four more. The arrays may be longer than the page. Words have a
 * sign: half of those without one are more than V8 holds outside its heap.
 */
export interface PageKeys {
  readonly low: Int32Array;
  readonly high: Uint8Array;
  readonly rows: number;
}

export type KeyArrays = Pick<PageKeys, 'low' | 'high'>;

/** Room for the keys of one page: first what the buckets do not tell, then the buckets. */
export type Place = Int32Array;

/** Places, used again. The one given back last is taken next: what was never needed takes no memory. */
export class PlacePool {
  readonly #free: Place[] = [];

  take(): Place {
    return this.#free.pop() ?? this.#addSlab();
  }

  give(place: Place): void {
    this.#free.push(place);
  }

  /** The first place of it; the others are free. */
  #addSlab(): Place {
    const slab = new Int32Array(PLACE_WORDS * PLACES_A_SLAB);
    const placeAt = (index: number): Place => slab.subarray(index * PLACE_WORDS, (index + 1) * PLACE_WORDS);
    for (let index = PLACES_A_SLAB - 1; index > 0; index -= 1) this.#free.push(placeAt(index));
    return placeAt(0);
  }
}

/** Writes keys into places and reads them back. */
export class KeyPacker {
  /** Of each bucket: how many keys it has, then where its next one goes. */
  readonly #buckets = new Int32Array(BUCKETS);

  /** Writes at most {@link ROWS_A_PAGE} keys over what the place holds. */
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
      // A bit a key, and one left out where the bucket ends.
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

  /** Reads so many keys back, in any order, over what the arrays hold. */
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

/** Adds bits where there are none yet. */
function putBits(words: Int32Array, at: number, bits: number): void {
  const index = at >>> 5;
  const shift = at & 31;
  words[index] = (words[index] ?? 0) | (bits << shift);
  // A shift by 32 is one by 0.
  if (shift > 0) words[index + 1] = (words[index + 1] ?? 0) | (bits >>> (32 - shift));
}

function takeBits(words: Int32Array, at: number): number {
  const index = at >>> 5;
  const shift = at & 31;
  const first = (words[index] ?? 0) >>> shift;
  const both = shift > 0 ? first | ((words[index + 1] ?? 0) << (32 - shift)) : first;
  return both & (2 ** REST_BITS - 1);
}
