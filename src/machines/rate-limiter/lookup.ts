/**
 * An immutable map with string keys. `with` and `without` return a new map and share all but a few short lists with the
 * old one. Updates are as fast with ten thousand entries as with ten; copying an object or a Map would get slower with
 * size. JSON output has sorted keys, so equal maps have equal text.
 */

/** Lists have this many places on both levels: 4,096 short lists of entries. */
const PLACES = 64;

type Entry<V> = readonly [key: string, value: V];
type Leaf<V> = readonly Entry<V>[];
type Branch<V> = readonly (Leaf<V> | undefined)[];

export class Lookup<V> implements Iterable<Entry<V>> {
  readonly #branches: readonly (Branch<V> | undefined)[];
  readonly size: number;

  private constructor(branches: readonly (Branch<V> | undefined)[], size: number) {
    this.#branches = branches;
    this.size = size;
  }

  static of<V>(entries: Iterable<Entry<V>> = []): Lookup<V> {
    let lookup = new Lookup<V>([], 0);
    for (const [key, value] of entries) lookup = lookup.with(key, value);
    return lookup;
  }

  get(key: string): V | undefined {
    const leaf = this.#leafAt(hashOf(key));
    return leaf?.find(([other]) => other === key)?.[1];
  }

  with(key: string, value: V): Lookup<V> {
    const hash = hashOf(key);
    const leaf = this.#leafAt(hash) ?? [];
    const at = leaf.findIndex(([other]) => other === key);
    if (at !== -1 && leaf[at]?.[1] === value) return this;
    const entry: Entry<V> = [key, value];
    const changed = at === -1 ? [...leaf, entry] : leaf.with(at, entry);
    return this.#withLeaf(hash, changed, at === -1 ? this.size + 1 : this.size);
  }

  without(key: string): Lookup<V> {
    const hash = hashOf(key);
    const leaf = this.#leafAt(hash);
    const left = leaf?.filter(([other]) => other !== key);
    if (left === undefined || left.length === leaf?.length) return this;
    return this.#withLeaf(hash, left, this.size - 1);
  }

  *[Symbol.iterator](): Iterator<Entry<V>> {
    for (const branch of this.#branches) {
      for (const leaf of branch ?? []) yield* leaf ?? [];
    }
  }

  *values(): IterableIterator<V> {
    for (const [, value] of this) yield value;
  }

  toJSON(): Record<string, V> {
    return Object.fromEntries([...this].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  #leafAt(hash: number): Leaf<V> | undefined {
    return this.#branches[hash % PLACES]?.[Math.floor(hash / PLACES) % PLACES];
  }

  #withLeaf(hash: number, leaf: Leaf<V>, size: number): Lookup<V> {
    if (size === 0) return new Lookup<V>([], 0);
    const branches = this.#branches.slice();
    const branch = (branches[hash % PLACES] ?? []).slice();
    branch[Math.floor(hash / PLACES) % PLACES] = leaf.length === 0 ? undefined : leaf;
    branches[hash % PLACES] = branch;
    return new Lookup(branches, size);
  }
}

/** FNV-1a spreads names that differ in one character. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < key.length; at += 1) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}
