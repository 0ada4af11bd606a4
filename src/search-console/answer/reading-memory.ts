import { sharedWhileUsed } from '../../domain/shared.ts';
import { ByteArena } from '../../rows/byte-arena.ts';
import { ScanMemory } from './scan-rows.ts';

/** Usual number of concurrent calls. The memory of further calls is freed when they end. */
const MAX_KEPT = 16;
/**
 * Larger than any full page, so an arena need not grow. Growing would leave holes in memory that nothing else fits into,
 * whereas the part that is never written to costs nothing. An arena that a huge answer has made larger is not kept.
 */
const ARENA_BYTES = 16 * 1024 * 1024;

/** The memory that one call reads into: the bytes of the current part, and the index of its rows. */
export interface ReadingMemory {
  readonly arena: ByteArena;
  readonly scan: ScanMemory;
}

/**
 * Reuses the memory of finished calls. A full page takes megabytes. As garbage, they would take the collector half of the
 * time that is spent on a page.
 */
export class ReadingMemoryPool {
  readonly #free: ReadingMemory[] = [];

  take(): ReadingMemory {
    return this.#free.pop() ?? { arena: new ByteArena(ARENA_BYTES), scan: new ScanMemory() };
  }

  /** Takes memory back. Nothing that was read into it may still be in use. */
  give(memory: ReadingMemory): void {
    memory.arena.clear();
    if (this.#free.length < MAX_KEPT && memory.arena.capacity <= ARENA_BYTES) this.#free.push(memory);
    else memory.arena.free();
  }
}

/** Shared by all runs of a process: separate pools would keep the garbage collector busy. */
export const sharedReadingMemory = sharedWhileUsed(() => new ReadingMemoryPool());
