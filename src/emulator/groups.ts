import { mix } from './hash.ts';

/** Sums by key, as growing columns. A key is a number that combines the dimensions' values, each with its radix. */
export class Groups {
  readonly #indexOf = new Map<number, number>();
  #dense: Int32Array | undefined;
  #capacity: number;
  count = 0;
  keys: Float64Array;
  clicks: Float64Array;
  impressions: Float64Array;
  positionSum: Float64Array;

  /** `keySpace`: exclusive upper bound of the keys. `expected`: number of rows to allocate. */
  constructor(keySpace: number, expected: number) {
    this.#capacity = Math.max(16, Math.min(keySpace, expected));
    // For a small key space, an array over all keys is much faster than a map.
    if (keySpace <= 1 << 18) this.#dense = new Int32Array(keySpace).fill(-1);
    this.keys = new Float64Array(this.#capacity);
    this.clicks = new Float64Array(this.#capacity);
    this.impressions = new Float64Array(this.#capacity);
    this.positionSum = new Float64Array(this.#capacity);
  }

  /** Adds to the key's row. Creates the row if there is none. */
  add(key: number, clicks: number, impressions: number, positionSum: number): void {
    const found = this.#dense === undefined ? this.#indexOf.get(key) : this.#dense[key];
    if (found === undefined || found < 0) {
      if (this.#dense === undefined) this.#indexOf.set(key, this.count);
      else this.#dense[key] = this.count;
      this.append(key, clicks, impressions, positionSum);
      return;
    }
    this.clicks[found] = (this.clicks[found] ?? 0) + clicks;
    this.impressions[found] = (this.impressions[found] ?? 0) + impressions;
    this.positionSum[found] = (this.positionSum[found] ?? 0) + positionSum;
  }

  /** Creates a row for a key that the caller knows to be new and will not add to. */
  append(key: number, clicks: number, impressions: number, positionSum: number): void {
    if (this.count === this.#capacity) this.#grow();
    const at = this.count;
    this.keys[at] = key;
    this.clicks[at] = clicks;
    this.impressions[at] = impressions;
    this.positionSum[at] = positionSum;
    this.count += 1;
  }

  #grow(): void {
    this.#capacity *= 2;
    const grown = (old: Float64Array): Float64Array => {
      const next = new Float64Array(this.#capacity);
      next.set(old);
      return next;
    };
    this.keys = grown(this.keys);
    this.clicks = grown(this.clicks);
    this.impressions = grown(this.impressions);
    this.positionSum = grown(this.positionSum);
  }
}

/** Row numbers of the groups, most clicks first. `salt` decides the order of ties. */
export function byClicks(groups: Groups, salt: number): Uint32Array {
  const { count, clicks, keys } = groups;
  const order = new Uint32Array(count);
  if (count === 0) return order;
  let most = 0;
  for (let i = 0; i < count; i++) most = Math.max(most, clicks[i] ?? 0);
  // Clicks, tie order and row number are packed into the 53 bits of a number, so that the plain numeric sort suffices.
  // With a comparison function, sorting takes ten times as long.
  const rowSpace = 2 ** Math.ceil(Math.log2(count + 1));
  const tieSpace = Math.max(1, Math.min(2 ** 20, 2 ** (53 - Math.ceil(Math.log2(most + 2))) / rowSpace));
  const packed = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const key = keys[i] ?? 0;
    const tie = mix(mix(key % 4_294_967_296, Math.floor(key / 4_294_967_296)), salt) % tieSpace;
    packed[i] = ((most - (clicks[i] ?? 0)) * tieSpace + tie) * rowSpace + i;
  }
  packed.sort();
  for (let i = 0; i < count; i++) order[i] = (packed[i] ?? 0) % rowSpace;
  return order;
}

/** The `cap` groups with the most clicks. Deterministic. */
export function keepTop(groups: Groups, cap: number): Groups {
  const kept = new Groups(Number.MAX_SAFE_INTEGER, cap);
  for (const i of byClicks(groups, 0).subarray(0, cap)) {
    kept.append(
      groups.keys[i] ?? 0,
      groups.clicks[i] ?? 0,
      groups.impressions[i] ?? 0,
      groups.positionSum[i] ?? 0,
    );
  }
  return kept;
}
