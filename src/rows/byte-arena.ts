import { Buffer } from 'node:buffer';
import { free } from './release.ts';

/** Enough for a line of a head. */
const FIRST_CAPACITY_BYTES = 16 * 1024;

/**
 * One growing buffer, reused for every part of an answer. A part's bytes are copied once, in chunks of any size, and no
 * memory is allocated after the largest part has been seen.
 */
export class ByteArena {
  readonly #fullCapacity: number;
  #buffer: Buffer = Buffer.allocUnsafeSlow(0);
  size = 0;

  /** If the first capacity is too small and `fullCapacityBytes` is given, the buffer grows straight to that. */
  constructor(fullCapacityBytes = FIRST_CAPACITY_BYTES) {
    this.#fullCapacity = fullCapacityBytes;
  }

  /** Appends `chunk[from, to)`. */
  append(chunk: Buffer, from: number, to: number): void {
    const needed = this.size + (to - from);
    if (needed > this.#buffer.length) this.#grow(needed);
    chunk.copy(this.#buffer, this.size, from, to);
    this.size = needed;
  }

  /**
   * The bytes from `from` to `to`, as a view. It becomes invalid with the next `append`, and is overwritten after
   * `clear`.
   */
  view(from: number, to: number): Buffer {
    return this.#buffer.subarray(from, Math.min(to, this.size));
  }

  clear(): void {
    this.size = 0;
  }

  /** Frees the memory immediately. The arena can be used again, and then starts to grow from zero. */
  free(): void {
    this.clear();
    free(this.#buffer);
    this.#buffer = Buffer.allocUnsafeSlow(0);
  }

  /** How many bytes it can hold without growing. */
  get capacity(): number {
    return this.#buffer.length;
  }

  #grow(needed: number): void {
    const capacity =
      needed <= FIRST_CAPACITY_BYTES
        ? FIRST_CAPACITY_BYTES
        : Math.max(needed, this.#buffer.length * 2, this.#fullCapacity);
    const larger = Buffer.allocUnsafeSlow(capacity);
    this.#buffer.copy(larger, 0, 0, this.size);
    free(this.#buffer);
    this.#buffer = larger;
  }
}

/** The same memory as a Buffer, without a copy. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
