import { Buffer } from 'node:buffer';
import { free } from './release.ts';

/** A line of a head fits. */
const FIRST_CAPACITY_BYTES = 16 * 1024;

/**
 * One growing buffer, used again for every part of an answer: a part's bytes are copied once, in chunks of whatever
 * size they come in, and no memory is allocated once the largest part has been seen.
 */
export class ByteArena {
  readonly #fullCapacity: number;
  #buffer: Buffer = Buffer.allocUnsafeSlow(0);
  size = 0;

  /** With a full capacity it grows once, to that: when the first does not do. */
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

  /** The bytes from `from` to `to`: a view, gone with the next `append`, overwritten by what comes after a `clear`. */
  view(from: number, to: number): Buffer {
    return this.#buffer.subarray(from, Math.min(to, this.size));
  }

  clear(): void {
    this.size = 0;
  }

  /** Gives its memory back at once. It may be used again, and grows again. */
  free(): void {
    this.clear();
    free(this.#buffer);
    this.#buffer = Buffer.allocUnsafeSlow(0);
  }

  /** Bytes it holds without growing. */
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

/** The same memory as a Buffer: nothing is copied. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
