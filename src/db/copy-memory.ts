import { Buffer } from 'node:buffer';
import { free } from '../domain/free.ts';

/** Kept for the pages to come: enough for as many writers as there are as a rule, and not more than this. */
const MAX_KEPT = 8;
/** What one monstrous page has blown up is not kept. */
const MAX_KEPT_BYTES = 8 * 1024 * 1024;
const LEAST_BYTES = 64 * 1024;

/** COPY's text of one transaction: its pages one behind another. */
export class CopyArena {
  buffer: Buffer = Buffer.alloc(0);
  end = 0;

  /** Makes room for so many bytes behind what is there. */
  reserve(bytes: number): void {
    const needed = this.end + bytes;
    if (needed <= this.buffer.length) return;
    // A page alone gets what it needs; small ones behind each other double their way up.
    const capacity = this.end === 0 ? needed : Math.max(needed, 2 * this.buffer.length);
    const larger = Buffer.allocUnsafeSlow(Math.max(capacity, LEAST_BYTES));
    this.buffer.copy(larger, 0, 0, this.end);
    free(this.buffer);
    this.buffer = larger;
  }
}

/** Arenas, used again: a page is megabytes, and garbage of that size is collected late. */
export class CopyMemory {
  readonly #free: CopyArena[] = [];

  take(): CopyArena {
    return this.#free.pop() ?? new CopyArena();
  }

  /** Only when nobody reads it any more. */
  give(arena: CopyArena): void {
    if (this.#free.length >= MAX_KEPT || arena.buffer.length > MAX_KEPT_BYTES) return;
    arena.end = 0;
    this.#free.push(arena);
  }
}
