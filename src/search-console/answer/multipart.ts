import { Buffer } from 'node:buffer';
import { asBuffer, ByteArena } from '../../rows/byte-arena.ts';
import { contentIdOf, parseStatus } from './multipart-head.ts';

/**
 * A streaming reader for the multipart/mixed answer of a batch call. It emits each part when it ends, and holds at most
 * one.
 *
 *   delimiter ──► outerHead ──(empty line)──► innerHead ──(empty line)──► body ──► delimiter …
 *       │             └── a delimiter line in a head ends the part ──┘                │
 *       └──(`--boundary--`)──► epilogue                  skipping: an unwanted part, or too large
 *
 * The preamble is read like an unwanted part.
 */
export interface MultipartOptions {
  readonly boundary: string;
  /** Maximum size of a part's body in bytes. A larger one is skipped. */
  readonly maxPartBytes: number;
  /** Maximum size of an outer or inner head in bytes. @default 65536 */
  readonly maxHeadBytes?: number;
  /** Maximum number of parts. Reading stops at the next one. */
  readonly maxParts: number;
  /** Called when a part's head is read. The body of an unwanted part is skipped, not collected. */
  readonly wants?: (contentId: string | null) => boolean;
  /** Where parts are collected. @default a new arena */
  readonly arena?: ByteArena;
}

export type MultipartEvent =
  /** The inner head was read. `status` is 0 if its first line is invalid. Header names are in lower case. */
  | {
      readonly kind: 'head';
      readonly contentId: string | null;
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
    }
  /**
   * The part ended. `bytes` is a view into memory that the next part overwrites: use it before requesting the next event.
   * `closed` is false if the stream ended before the part's final delimiter: the part counts only if its content is complete.
   */
  | {
      readonly kind: 'body';
      readonly contentId: string | null;
      readonly bytes: Buffer;
      readonly closed: boolean;
    }
  /** A head or body exceeds its limit. Emitted once; the rest of the part is skipped. */
  | { readonly kind: 'tooLarge'; readonly contentId: string | null; readonly what: 'head' | 'body' }
  /** A part that `wants` rejected. */
  | { readonly kind: 'unwanted'; readonly contentId: string | null }
  /** More than `maxParts`: nothing further is read. */
  | { readonly kind: 'tooManyParts' };

type State = 'outerHead' | 'innerHead' | 'body' | 'skipping' | 'delimiter' | 'epilogue' | 'stopped';

const LF = 0x0a;
const CR = 0x0d;
const DEFAULT_MAX_HEAD_BYTES = 64 * 1024;
const MAX_EPILOGUE_BYTES = 64 * 1024;
/** Maximum padding after a boundary. */
const MAX_PADDING_BYTES = 256;
const LINE_START = Buffer.from('\n');

/** Without a prototype: a header may be called `constructor`. */
const noHeaders = (): Record<string, string> => Object.create(null) as Record<string, string>;

/** Feed it chunks as they arrive. It parses them as its events are requested. */
export class MultipartReader {
  readonly #options: MultipartOptions;
  readonly #maxHeadBytes: number;
  /** `\n--boundary`: a delimiter must be at the start of a line. */
  readonly #needle: Buffer;
  readonly #delimiterLine: string;
  /** The body so far, after an added `\n` that marks the start of its first line. While skipping: the last bytes. */
  readonly #arena: ByteArena;
  #state: State = 'skipping';
  /** The state to return to if a delimiter is rejected. */
  #scanned: 'body' | 'skipping' = 'skipping';
  /** Where the body ends in the arena if the delimiter being read is valid. */
  #bodyEnd = 0;
  #afterBoundary = '';
  #parts = 0;
  #contentId: string | null = null;
  #status: number | null = null;
  #headers = noHeaders();
  #headBytes = 0;
  readonly #line = new ByteArena();
  #epilogueBytes = 0;

  constructor(options: MultipartOptions) {
    this.#options = options;
    this.#arena = options.arena ?? new ByteArena();
    this.#maxHeadBytes = options.maxHeadBytes ?? DEFAULT_MAX_HEAD_BYTES;
    this.#delimiterLine = `--${options.boundary}`;
    this.#needle = Buffer.from(`\n${this.#delimiterLine}`, 'latin1');
    this.#startScan('skipping');
  }

  /** Whether the final delimiter was read. */
  get closed(): boolean {
    return this.#state === 'epilogue';
  }

  /** Whether reading can stop because nothing that follows matters. */
  get stopped(): boolean {
    return this.#state === 'stopped' || this.#epilogueBytes > MAX_EPILOGUE_BYTES;
  }

  *feed(bytes: Uint8Array): Generator<MultipartEvent, void, void> {
    const chunk = asBuffer(bytes);
    let at = 0;
    while (at < chunk.length && this.#state !== 'stopped') {
      if (this.#state === 'epilogue') {
        this.#epilogueBytes += chunk.length - at;
        return;
      }
      if (this.#state === 'outerHead' || this.#state === 'innerHead')
        at = yield* this.#readHeadLine(chunk, at);
      else if (this.#state === 'delimiter') at = yield* this.#readDelimiter(chunk, at);
      else {
        at = this.#scan(chunk, at, this.#state);
        if (this.#isTooLarge()) yield this.#skipBody();
      }
    }
  }

  /** Call when the stream has ended or broken. Emits the current part if its head was read. */
  *end(): Generator<MultipartEvent, void, void> {
    if (this.#state === 'delimiter') yield* this.#confirmDelimiter(this.#afterBoundary.startsWith('--'));
    else if (this.#state === 'outerHead' || this.#state === 'innerHead') {
      if (this.#line.size > 0) yield* this.#headLine();
    }
    if (this.#state !== 'body') return;
    const bytes = this.#arena.view(1, this.#arena.size);
    // A truncated delimiter is not content.
    const lastLine = bytes.lastIndexOf(LF);
    const isCutDelimiter =
      lastLine >= 0 &&
      bytes.length - lastLine <= this.#delimiterLine.length &&
      this.#delimiterLine.startsWith(bytes.toString('latin1', lastLine + 1));
    const end = isCutDelimiter ? lastLine : bytes.length;
    this.#state = 'stopped';
    const contentId = this.#contentId;
    if (end > this.#options.maxPartBytes) yield { kind: 'tooLarge', contentId, what: 'body' };
    else yield { kind: 'body', contentId, bytes: bytes.subarray(0, end), closed: false };
  }

  #startScan(state: 'body' | 'skipping'): void {
    this.#state = state;
    this.#arena.clear();
    this.#arena.append(LINE_START, 0, 1);
  }

  /** Reads up to the next delimiter, and collects the body unless skipping. Returns where it stopped in the chunk. */
  #scan(chunk: Buffer, at: number, state: 'body' | 'skipping'): number {
    const arena = this.#arena;
    const reach = this.#needle.length - 1;
    // First look for a delimiter that spans two chunks: in the last bytes of the one before and the first bytes of this one.
    const before = arena.size;
    const seamFrom = Math.max(0, before - reach);
    const seamTo = Math.min(chunk.length, at + reach);
    arena.append(chunk, at, seamTo);
    const inSeam = arena.view(seamFrom, arena.size).indexOf(this.#needle);
    if (inSeam >= 0) {
      const end = seamFrom + inSeam;
      arena.size = end + this.#needle.length;
      this.#foundDelimiter(state, end);
      return at + (arena.size - before);
    }
    arena.size = before;
    const found = chunk.indexOf(this.#needle, at);
    if (found >= 0) {
      if (state === 'skipping') arena.clear();
      const end = arena.size + (found - at);
      const to = found + this.#needle.length;
      arena.append(chunk, state === 'skipping' ? found : at, to);
      this.#foundDelimiter(state, state === 'skipping' ? 0 : end);
      return to;
    }
    if (state === 'body') {
      arena.append(chunk, at, chunk.length);
    } else {
      arena.append(chunk, Math.max(at, chunk.length - reach), chunk.length);
      this.#keepReach();
    }
    return chunk.length;
  }

  /** Whether the body exceeds its limit. The last bytes do not count, because they may be part of a delimiter. */
  #isTooLarge(): boolean {
    return this.#state === 'body' && this.#arena.size - 1 - this.#needle.length > this.#options.maxPartBytes;
  }

  #skipBody(): MultipartEvent {
    this.#state = 'skipping';
    this.#keepReach();
    return { kind: 'tooLarge', contentId: this.#contentId, what: 'body' };
  }

  /** While skipping, only the bytes that may begin a delimiter are kept. */
  #keepReach(): void {
    const arena = this.#arena;
    const reach = this.#needle.length - 1;
    if (arena.size <= reach) return;
    const kept = Buffer.from(arena.view(arena.size - reach, arena.size));
    arena.clear();
    arena.append(kept, 0, kept.length);
  }

  #foundDelimiter(state: 'body' | 'skipping', bodyEnd: number): void {
    this.#scanned = state;
    this.#bodyEnd = bodyEnd;
    this.#afterBoundary = '';
    this.#state = 'delimiter';
  }

  /** Reads what follows `\n--boundary`. Padding and a line end, perhaps after `--`, make it a delimiter, anything else content. */
  *#readDelimiter(chunk: Buffer, from: number): Generator<MultipartEvent, number, void> {
    for (let at = from; at < chunk.length; at++) {
      const rest = this.#afterBoundary + String.fromCharCode(chunk[at] ?? 0);
      if (/^(?:--)?[ \t]*\r?\n$/.test(rest)) {
        yield* this.#confirmDelimiter(rest.startsWith('--'));
        return at + 1;
      }
      if (rest.length > MAX_PADDING_BYTES || !/^(?:-|(?:--)?[ \t]*\r?)$/.test(rest)) {
        const seen = Buffer.from(this.#afterBoundary, 'latin1');
        this.#arena.append(seen, 0, seen.length);
        this.#state = this.#scanned;
        return at;
      }
      this.#afterBoundary = rest;
    }
    return chunk.length;
  }

  *#confirmDelimiter(isLast: boolean): Generator<MultipartEvent, void, void> {
    const hadBody = this.#scanned === 'body';
    const contentId = this.#contentId;
    this.#startPart(isLast);
    if (hadBody) {
      // The part that just ended is still in the arena: nothing is written there before the next body begins.
      let bytes = this.#arena.view(1, Math.max(1, this.#bodyEnd));
      if (bytes.at(-1) === CR) bytes = bytes.subarray(0, -1);
      if (bytes.length > this.#options.maxPartBytes) yield { kind: 'tooLarge', contentId, what: 'body' };
      else yield { kind: 'body', contentId, bytes, closed: true };
    }
    if (this.#state === 'stopped') yield { kind: 'tooManyParts' };
  }

  #startPart(isLast: boolean): void {
    this.#contentId = null;
    this.#status = null;
    this.#headers = noHeaders();
    this.#headBytes = 0;
    this.#line.clear();
    this.#scanned = 'skipping';
    if (isLast) {
      this.#state = 'epilogue';
      return;
    }
    this.#parts++;
    this.#state = this.#parts > this.#options.maxParts ? 'stopped' : 'outerHead';
  }

  *#readHeadLine(chunk: Buffer, at: number): Generator<MultipartEvent, number, void> {
    const newline = chunk.indexOf(LF, at);
    const to = newline < 0 ? chunk.length : newline + 1;
    this.#headBytes += to - at;
    if (this.#headBytes > this.#maxHeadBytes) {
      this.#startScan('skipping');
      // A delimiter cannot begin in the middle of a line.
      if (newline < 0) this.#arena.clear();
      yield { kind: 'tooLarge', contentId: this.#contentId, what: 'head' };
      return to;
    }
    this.#line.append(chunk, at, newline < 0 ? to : newline);
    if (newline >= 0) yield* this.#headLine();
    return to;
  }

  *#headLine(): Generator<MultipartEvent, void, void> {
    const raw = this.#line.view(0, this.#line.size).toString('latin1');
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
    this.#line.clear();
    if (line.startsWith(this.#delimiterLine)) {
      const rest = line.slice(this.#delimiterLine.length);
      if (/^(?:--)?[ \t]*$/.test(rest)) {
        yield* this.#partWithoutBody(rest.startsWith('--'));
        return;
      }
    }
    if (this.#state === 'outerHead' && /^HTTP\/\d/i.test(line)) {
      // The outer head is missing, or has no empty line after it.
      this.#state = 'innerHead';
      this.#status = parseStatus(line);
    } else if (this.#state === 'outerHead') {
      // Empty lines before the first header are skipped.
      if (line !== '') this.#header(line);
      else if (Object.keys(this.#headers).length > 0) this.#enterInner();
    } else if (this.#status === null) {
      if (line !== '') this.#status = parseStatus(line);
    } else if (line === '') yield* this.#headDone();
    else this.#header(line);
  }

  #header(line: string): void {
    const colon = line.indexOf(':');
    if (colon <= 0) return;
    const name = line.slice(0, colon).trim().toLowerCase();
    if (this.#state === 'outerHead' && name === 'content-id') {
      this.#contentId ??= contentIdOf(line.slice(colon + 1));
    }
    this.#headers[name] ??= line.slice(colon + 1).trim();
  }

  #enterInner(): void {
    this.#state = 'innerHead';
    this.#headers = noHeaders();
    this.#headBytes = 0;
  }

  *#headDone(): Generator<MultipartEvent, void, void> {
    const contentId = this.#contentId;
    if (this.#options.wants?.(contentId) === false) {
      this.#startScan('skipping');
      yield { kind: 'unwanted', contentId };
      return;
    }
    this.#startScan('body');
    this.#scanned = 'body';
    yield { kind: 'head', contentId, status: this.#status ?? 0, headers: this.#headers };
  }

  /** Handles a delimiter in a head: the part has no body. */
  *#partWithoutBody(isLast: boolean): Generator<MultipartEvent, void, void> {
    this.#scanned = 'skipping';
    this.#bodyEnd = 1;
    if (this.#state === 'innerHead' && this.#status !== null) yield* this.#headDone();
    yield* this.#confirmDelimiter(isLast);
  }
}

/** Reads a whole answer, one part after another. */
export async function* readMultipart(
  source: AsyncIterable<Uint8Array>,
  options: MultipartOptions,
): AsyncGenerator<MultipartEvent, void, void> {
  const reader = new MultipartReader(options);
  for await (const chunk of source) {
    yield* reader.feed(chunk);
    if (reader.stopped) return;
  }
  yield* reader.end();
}
