import { ByteArena } from './byte-arena.ts';
import { ScanMemory } from './scan-rows.ts';

/** Calls under way at once, as a rule; what more have is left to the garbage collector. */
const MAX_KEPT = 4;
/** An arena that one monstrous answer has blown up is not kept. */
const MAX_KEPT_BYTES = 16 * 1024 * 1024;

/** What one call reads into: the bytes of the part under way, and the index of its rows. */
export interface ReadingMemory {
  readonly arena: ByteArena;
  readonly scan: ScanMemory;
}

/**
 * Memory of calls that have ended, for those to come. A full page is megabytes, and garbage of that size makes the
 * collector run again and again: it was half of all the time spent on a page.
 */
export class ReadingMemoryPool {
  readonly #free: ReadingMemory[] = [];

  take(): ReadingMemory {
    return this.#free.pop() ?? { arena: new ByteArena(), scan: new ScanMemory() };
  }

  /** Nothing that was read with it may be in use any more. */
  give(memory: ReadingMemory): void {
    if (this.#free.length >= MAX_KEPT || memory.arena.capacity > MAX_KEPT_BYTES) return;
    memory.arena.clear();
    this.#free.push(memory);
  }
}
