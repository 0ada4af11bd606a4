import { Buffer } from 'node:buffer';
import { sharedWhileUsed } from '../../domain/shared.ts';
import { free } from '../../rows/release.ts';

/** Maximum number of large buffers kept for reuse: enough for the usual number of writers. */
const MAX_KEPT = 8;
/** A buffer that grew beyond this for an unusually large page is not kept. */
const MAX_KEPT_BYTES = 8 * 1024 * 1024;
/** A page of a few hundred rows. More buffers of this size are kept, because many runs in one process use one each. */
const SMALL_BYTES = 64 * 1024;
const MAX_KEPT_SMALL = 64;
/**
 * Usually fits a full page. Memory that is never written to costs nothing, but growing a buffer and freeing the old one
 * leaves a hole that nothing else fits into.
 */
const MIN_BYTES = 4 * 1024 * 1024;
const NOTHING = Buffer.alloc(0);

/** COPY text of one transaction: its pages one after another. Takes memory only once it holds data. */
export class CopyArena {
  readonly #memory: CopyMemory;
  buffer: Buffer = NOTHING;
  end = 0;

  constructor(memory: CopyMemory) {
    this.#memory = memory;
  }

  /** Makes room for this many bytes after the existing ones. */
  reserve(bytes: number): void {
    const needed = this.end + bytes;
    if (needed <= this.buffer.length) return;
    const larger = this.#memory.take(needed);
    this.buffer.copy(larger, 0, 0, this.end);
    this.#memory.give(this.buffer);
    this.buffer = larger;
  }

  /** Returns the memory. Call it only when it is no longer read. */
  release(): void {
    this.#memory.give(this.buffer);
    this.buffer = NOTHING;
    this.end = 0;
  }
}

/** Buffers for reuse: a page takes megabytes, and garbage of that size is collected late. */
export class CopyMemory {
  readonly #free: Buffer[] = [];
  readonly #small: Buffer[] = [];

  /** The most recently returned buffer that is large enough. Buffers that are rarely needed thus stay small. */
  take(bytes: number): Buffer {
    if (bytes <= SMALL_BYTES) return this.#small.pop() ?? Buffer.allocUnsafeSlow(SMALL_BYTES);
    const index = this.#free.findLastIndex(({ length }) => length >= bytes);
    const [found] = index === -1 ? [] : this.#free.splice(index, 1);
    if (found !== undefined) return found;
    let capacity = MIN_BYTES;
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

/** Shared by all runs in the process. */
export const sharedCopyMemory = sharedWhileUsed(() => new CopyMemory());
