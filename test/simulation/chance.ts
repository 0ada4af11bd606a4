/**
 * Seeded chance. Each part of the simulation draws from a stream of its own, so that turning one fault off does not
 * change what the others draw.
 */
export class Chance {
  #a: number;
  #b: number;
  #c: number;
  #count = 1;

  constructor(seed: number, stream: string) {
    this.#a = seed >>> 0;
    this.#b = hashText(stream, 0x9e3779b9);
    this.#c = hashText(stream, seed ^ 0x85ebca6b);
    for (let warm = 0; warm < 12; warm += 1) this.#draw();
  }

  /** In [0, 1). */
  next(): number {
    return this.#draw() / 0x1_0000_0000;
  }

  is(probability: number): boolean {
    return probability > 0 && this.next() < probability;
  }

  /** A whole number in [0, count). */
  below(count: number): number {
    return Math.floor(this.next() * count);
  }

  /** A whole number in [least, most]. */
  whole(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  between(least: number, most: number): number {
    return least + this.next() * (most - least);
  }

  /** Spread evenly over orders of magnitude: as often from 1 to 10 as from 10 to 100. */
  scale(least: number, most: number): number {
    return least * (most / least) ** this.next();
  }

  pick<T>(list: readonly T[]): T {
    const found = list[this.below(list.length)];
    if (found === undefined) throw new Error('nothing to pick from');
    return found;
  }

  shuffled<T>(list: readonly T[]): T[] {
    return list
      .map((item) => ({ item, place: this.next() }))
      .sort((one, other) => one.place - other.place)
      .map(({ item }) => item);
  }

  /** sfc32. */
  #draw(): number {
    const sum = (this.#a + this.#b + this.#count) | 0;
    this.#count = (this.#count + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (this.#c << 21) | (this.#c >>> 11);
    this.#c = (this.#c + sum) | 0;
    return sum >>> 0;
  }
}

/** 32 bits over a text, well mixed. */
export function hashText(text: string, seed: number): number {
  let hash = seed | 0;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** In [0, 1), the same for the same words. */
export function share(seed: number, ...words: readonly (string | number)[]): number {
  return hashText(words.join('|'), seed) / 0x1_0000_0000;
}
