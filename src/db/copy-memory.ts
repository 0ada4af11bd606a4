import type { Buffer } from 'node:buffer';

/** Kept for the next page: enough for as many writers as there are, and not more than this. */
const MAX_KEPT = 8;

/** Buffers that pages are encoded into, used again: a page is megabytes, and garbage of that size is collected late. */
export class CopyMemory {
  readonly #free: Buffer[] = [];

  take(): Buffer | undefined {
    return this.#free.pop();
  }

  /** Only when nobody reads it any more. */
  give(memory: Buffer): void {
    if (this.#free.length < MAX_KEPT) this.#free.push(memory);
  }
}
