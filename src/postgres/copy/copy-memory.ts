import { Buffer } from 'node:buffer';
import { sharedWhileUsed } from '../../domain/shared.ts';
import { free } from '../../rows/release.ts';

/** Kept for the pages to come: enough for as many writers as there are as a rule, and not more than this. */
const MAX_KEPT = 8;
/** What one monstrous page has blown up is not kept. */
const MAX_KEPT_BYTES = 8 * 1024 * 1024;
/** A page of a few hundred rows. Of these more are kept: many runs in one process have one each. */
const SMALL_BYTES = 64 * 1024;
const MAX_KEPT_SMALL = 64;
/**
 * A full page fits as a rule. What is not written to takes no memory; what is outgrown and freed leaves a hole that nothing
 * else fits into.
 */
const LEAST_BYTES = 4 * 1024 * 1024;
const NOTHING = Buffer.alloc(0);

/** COPY's text of one transaction: its pages one behind another. It takes memory when it has something to hold. */
export class CopyArena {
  readonly #memory: CopyMemory;
  buffer: Buffer = NOTHING;
  end = 0;

  constructor(memory: CopyMemory) {
    this.#memory = memory;
  }

  /** Makes room for so many bytes behind what is there. */
  reserve(bytes: number): void {
    const needed = this.end + bytes;
    if (needed <= this.buffer.length) return;
    const larger = this.#memory.take(needed);
    this.buffer.copy(larger, 0, 0, this.end);
    this.#memory.give(this.buffer);
    this.buffer = larger;
  }

  /** Gives its memory back. Only when nobody reads it any more. */
  release(): void {
    this.#memory.give(this.buffer);
    this.buffer = NOTHING;
    this.end = 0;
  }
}

/** Buffers, used again: a page is megabytes, and garbage of that size is collected late. */
export class CopyMemory {
  readonly #free: Buffer[] = [];
  readonly #small: Buffer[] = [];

  /** The one given back last that is large enough: those that are seldom needed stay as small as they were. */
  take(bytes: number): Buffer {
    if (bytes <= SMALL_BYTES) return this.#small.pop() ?? Buffer.allocUnsafeSlow(SMALL_BYTES);
    const index = this.#free.findLastIndex(({ length }) => length >= bytes);
    const [found] = index === -1 ? [] : this.#free.splice(index, 1);
    if (found !== undefined) return found;
    let capacity = LEAST_BYTES;
    while (capacity < bytes) capacity *= 2;
    return Buffer.allocUnsafeSlow(capacity);
  }

  give(buffer: Buffer): void {
    if (buffer.length === 0) return;
    if (buffer.length === SMALL_BYTES && this.#small.length < MAX_KEPT_SMALL) this.#small.push(buffer);
    else if (isKeptLarge(buffer) && this.#free.length < MAX_KEPT) this.#free.push(buffer);
    else free(buffer);
  }
}

const isKeptLarge = ({ length }: Buffer): boolean => length > SMALL_BYTES && length <= MAX_KEPT_BYTES;

/** One for all runs of a process that are under way. */
export const sharedCopyMemory = sharedWhileUsed(() => new CopyMemory());
