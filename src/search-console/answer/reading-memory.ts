import { sharedWhileUsed } from '../../domain/shared.ts';
import { ByteArena } from '../../rows/byte-arena.ts';
import { ScanMemory } from './scan-rows.ts';

/** Usual number of concurrent calls; memory of further calls is freed at their end. */
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
 * Reuses the memory of finished calls. A full page takes megabytes; garbage of that size kept the collector busy for half
 * of the time spent on a page.
 */
export class ReadingMemoryPool {
  readonly #free: ReadingMemory[] = [];

  take(): ReadingMemory {
    return this.#free.pop() ?? { arena: new ByteArena(ARENA_BYTES), scan: new ScanMemory() };
  }

  /** Nothing that was read with it may still be in use. */
  give(memory: ReadingMemory): void {
    memory.arena.clear();
    if (this.#free.length < MAX_KEPT && memory.arena.capacity <= ARENA_BYTES) this.#free.push(memory);
    else memory.arena.free();
  }
}

/** Shared by all runs of a process: separate pools would keep the garbage collector busy. */
export const sharedReadingMemory = sharedWhileUsed(() => new ReadingMemoryPool());
