import { sharedWhileUsed } from '../../domain/shared.ts';
import { ByteArena } from '../../rows/byte-arena.ts';
import { ScanMemory } from './scan-rows.ts';

/** Calls under way at once, as a rule; what more have is given back at their end. */
const MAX_KEPT = 16;
/**
 * No full page is larger, so that an arena for large parts never grows. What is not written to takes no memory, but growing does: the
 * pieces it leaves behind are holes that nothing else fits into. One that a monstrous answer has blown up all the same is
 * not kept.
 */
const ARENA_BYTES = 16 * 1024 * 1024;

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
    return this.#free.pop() ?? { arena: new ByteArena(ARENA_BYTES), scan: new ScanMemory() };
  }

  /** Nothing that was read with it may be in use any more. */
  give(memory: ReadingMemory): void {
    memory.arena.clear();
    if (this.#free.length < MAX_KEPT && memory.arena.capacity <= ARENA_BYTES) this.#free.push(memory);
    else memory.arena.free();
  }
}

/** One for all runs of a process: forty of them, begun again and again, would have the collector run all the time. */
export const sharedReadingMemory = sharedWhileUsed(() => new ReadingMemoryPool());
