import { Buffer } from 'node:buffer';
import { getHeapStatistics } from 'node:v8';
import { sharedWhileUsed } from '../../domain/shared.ts';

/** COPY text between two nudges: four full pages, which leave about two megabytes of garbage. */
const BYTES_PER_NUDGE = 12 * 1024 * 1024;
const RESERVED_BYTES = 64 * 1024 * 1024;
/** One gigabyte of address space between two collections. */
const MAX_NUDGES = 16;
/** The time to mark grows with the heap. The library alone uses 20 MB. */
const LARGE_HEAP_BYTES = 128 * 1024 * 1024;

/**
 * Makes V8 mark its heap once every few pages.
 *
 * A page leaves little garbage, but some of it is promoted because older garbage points to it (XState and the driver
 * produce such garbage with every event and query). Only marking frees that garbage and the sockets' buffers. Left alone,
 * V8 marks either every half second or not for half a minute; in the second case the process grows by 30 MB and does not
 * shrink again.
 *
 * V8 takes external memory into account. So this class reserves blocks, never touches them and drops them immediately:
 * they take only address space until the next collection. One block is often not enough while all processors are busy:
 * V8 marks in the background and hurries only when its limit is far exceeded. Hosts with a large heap are left alone.
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

  /** Counts COPY text that was written. Small pages do not count: V8 keeps up with them. */
  passed(bytes: number): void {
    if (this.#sinceCollection.deref() === undefined) {
      this.#sinceCollection = new WeakRef({});
      this.#bytes = 0;
      this.#nudges = 0;
    }
    this.#bytes += bytes;
    if (this.#bytes < BYTES_PER_NUDGE || this.#nudges === MAX_NUDGES) return;
    this.#bytes = 0;
    this.#nudges += 1;
    if (this.#heapBytes() < LARGE_HEAP_BYTES) this.#reserve();
  }
}

function reserveBlock(): void {
  try {
    Buffer.allocUnsafeSlow(RESERVED_BYTES);
  } catch {
    // No address space to spare: skip the nudge.
  }
}

/** The process has one heap, however many runs share it. */
export const sharedHeapNudge = sharedWhileUsed(() => new HeapNudge());
