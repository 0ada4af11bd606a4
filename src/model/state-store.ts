/**
 * The states seen so far, by fingerprint: millions of them at a few bytes each. Each state has its parent and the index
 * of the parent's event that led to it. Replaying these gives the shortest path.
 */
import { fingerprint } from './fingerprint.ts';

const GROWTH = 2;
const FIRST_CAPACITY = 1 << 16;

export class StateStore {
  #high = new Uint32Array(FIRST_CAPACITY);
  #low = new Uint32Array(FIRST_CAPACITY);
  #parent = new Int32Array(FIRST_CAPACITY);
  #event = new Uint16Array(FIRST_CAPACITY);
  /** Open addressing: a state's number plus one, 0 if free. At most half full. */
  #slots = new Uint32Array(FIRST_CAPACITY * 2);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** @returns the state's number, and whether it is new. */
  add(key: string, parent: number, event: number): { readonly state: number; readonly isNew: boolean } {
    const { high, low } = fingerprint(key);
    let slot = low & (this.#slots.length - 1);
    for (let found = this.#slots[slot] ?? 0; found !== 0; found = this.#slots[slot] ?? 0) {
      if (this.#high[found - 1] === high && this.#low[found - 1] === low) {
        return { state: found - 1, isNew: false };
      }
      slot = (slot + 1) & (this.#slots.length - 1);
    }
    const state = this.#size;
    if (state === this.#high.length) this.#grow();
    else this.#slots[slot] = state + 1;
    this.#high[state] = high;
    this.#low[state] = low;
    this.#parent[state] = parent;
    this.#event[state] = event;
    this.#size += 1;
    if (this.#slots[slot] !== state + 1) this.#place(state);
    return { state, isNew: true };
  }

  /** The event index of each state on the path from the first state to this one. */
  pathTo(state: number): readonly number[] {
    const path: number[] = [];
    for (let at = state; (this.#parent[at] ?? -1) >= 0; at = this.#parent[at] ?? -1) {
      path.push(this.#event[at] ?? 0);
    }
    return path.reverse();
  }

  #grow(): void {
    const capacity = this.#high.length * GROWTH;
    this.#high = copyTo(new Uint32Array(capacity), this.#high);
    this.#low = copyTo(new Uint32Array(capacity), this.#low);
    this.#parent = copyTo(new Int32Array(capacity), this.#parent);
    this.#event = copyTo(new Uint16Array(capacity), this.#event);
    this.#slots = new Uint32Array(capacity * 2);
    for (let state = 0; state < this.#size; state += 1) this.#place(state);
  }

  #place(state: number): void {
    const mask = this.#slots.length - 1;
    let slot = (this.#low[state] ?? 0) & mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
    this.#slots[slot] = state + 1;
  }
}

function copyTo<A extends Uint32Array | Int32Array | Uint16Array>(to: A, from: A): A {
  to.set(from);
  return to;
}
