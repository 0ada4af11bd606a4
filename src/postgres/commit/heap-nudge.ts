import { Buffer } from 'node:buffer';
import { getHeapStatistics } from 'node:v8';
import { sharedWhileUsed } from '../../domain/shared.ts';

/** Of COPY's text: four full pages, with some two megabytes of garbage. */
const BYTES_A_NUDGE = 12 * 1024 * 1024;
const RESERVED_BYTES = 64 * 1024 * 1024;
/** A gigabyte of address space between two collections. */
const MAX_NUDGES = 16;
/** Marking takes as long as there is much to mark. The library alone has 20 MB. */
const LARGE_HEAP_BYTES = 128 * 1024 * 1024;

/**
 * Sees to it that V8 marks its heap once in so many pages.
 *
 * What a page leaves behind is small, and some of it is promoted though it is dead: objects that old garbage points to
 * (XState and the driver make such garbage with every event and query). Only marking frees those, and the buffers of the
 * sockets. V8 decides by itself either to mark every half second or to leave it for half a minute; then the process grows by
 * thirty megabytes, and keeps them.
 *
 * Memory outside its heap counts when V8 decides. So blocks are reserved, never touched and dropped at once: they take
 * address space alone, until the next collection. One is often not enough while all processors are busy: V8 marks in the
 * background, and hurries only when its limit is far behind. A host with a large heap is left alone.
 */
export class HeapNudge {
  readonly #reserve: () => void;
  readonly #heapBytes: () => number;
  /** Cleared by the next collection. */
  #sinceCollection = new WeakRef({});
  #bytes = 0;
  #nudges = 0;

  constructor(reserve = reserveBlock, heapBytes = () => getHeapStatistics().used_heap_size) {
    this.#reserve = reserve;
    this.#heapBytes = heapBytes;
  }

  /** So much COPY text has been written. Small pages do not count: for them V8 is quick enough by itself. */
  passed(bytes: number): void {
    if (this.#sinceCollection.deref() === undefined) {
      this.#sinceCollection = new WeakRef({});
      this.#bytes = 0;
      this.#nudges = 0;
    }
    this.#bytes += bytes;
    if (this.#bytes < BYTES_A_NUDGE || this.#nudges === MAX_NUDGES) return;
    this.#bytes = 0;
    this.#nudges += 1;
    if (this.#heapBytes() < LARGE_HEAP_BYTES) this.#reserve();
  }
}

function reserveBlock(): void {
  try {
    Buffer.allocUnsafeSlow(RESERVED_BYTES);
  } catch {
    // No address space to spare: it goes without.
  }
}

/** There is one heap, however many runs share it. */
export const sharedHeapNudge = sharedWhileUsed(() => new HeapNudge());
