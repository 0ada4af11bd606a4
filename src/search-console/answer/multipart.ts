import { Buffer } from 'node:buffer';
import { asBuffer, ByteArena } from '../../rows/byte-arena.ts';
import { contentIdOf, parseStatus } from './multipart-head.ts';

/**
 * A streaming reader for the multipart/mixed answer of a batch call. It hands over each part as it ends and holds one
 * part at most.
 *
 *   delimiter ──► outerHead ──(empty line)──► innerHead ──(empty line)──► body ──► delimiter …
 *       │             └── a delimiter line in a head ends the part ──┘                │
 *       └──(`--boundary--`)──► epilogue                  skipping: a part nobody wants, or too large
 *
 * The preamble is read as a part that nobody wants.
 */
export interface MultipartOptions {
  readonly boundary: string;
  /** Largest body of one part; a larger one is skipped. */
  readonly maxPartBytes: number;
  /** Largest outer or inner head. */
  readonly maxHeadBytes?: number;
  /** Parts after which reading stops. */
  readonly maxParts: number;
  /** Asked when a part's head is read; the body of a part that is not wanted is passed over, not collected. */
  readonly wants?: (contentId: string | null) => boolean;
  /** Where parts are collected; one of its own when none is given. */
  readonly arena?: ByteArena;
}

export type MultipartEvent =
  /** The inner head is read. `status` is 0 when its first line cannot be read. `headers` in lower case. */
  | {
      readonly kind: 'head';
      readonly contentId: string | null;
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
    }
  /**
   * The part ended. `bytes` is a view into memory that the next part overwrites: use it before pulling on. `closed` is
   * false when the stream ended before the part's final delimiter: the part counts only if its content is whole.
   */
  | {
      readonly kind: 'body';
      readonly contentId: string | null;
      readonly bytes: Buffer;
      readonly closed: boolean;
    }
  /** A head or body over its limit, said once; the rest of that part is skipped. */
  | { readonly kind: 'tooLarge'; readonly contentId: string | null; readonly what: 'head' | 'body' }
  /** A part that `wants` turned down. */
  | { readonly kind: 'unwanted'; readonly contentId: string | null }
  /** More than `maxParts`: nothing further is read. */
  | { readonly kind: 'tooManyParts' };

type State = 'outerHead' | 'innerHead' | 'body' | 'skipping' | 'delimiter' | 'epilogue' | 'stopped';

const LF = 0x0a;
const CR = 0x0d;
const DEFAULT_MAX_HEAD_BYTES = 64 * 1024;
const MAX_EPILOGUE_BYTES = 64 * 1024;
/** Spaces after a boundary that are still taken for padding. */
const MAX_PADDING_BYTES = 256;
const LINE_START = Buffer.from('\n');

/** Without a prototype: a header may be called `constructor`. */
const noHeaders = (): Record<string, string> => Object.create(null) as Record<string, string>;

/** Feed it chunks as they come; what it yields is made as it is pulled. */
export class MultipartReader {
  readonly #options: MultipartOptions;
  readonly #maxHeadBytes: number;
  /** `\n--boundary`: a delimiter is one only at the start of a line. */
  readonly #needle: Buffer;
  readonly #delimiterLine: string;
  /** The body so far, after one `\n` that stands for the start of its first line. While skipping: the last bytes. */
  readonly #arena: ByteArena;
  #state: State = 'skipping';
  /** Where a rejected delimiter takes us back to. */
  #scanned: 'body' | 'skipping' = 'skipping';
  /** Arena size at which the body ends if the delimiter being read is one. */
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

  /** Whether nothing that follows can matter: stop reading. */
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

  /** The stream ended, or broke: the part under way, if its head was read. */
  *end(): Generator<MultipartEvent, void, void> {
    if (this.#state === 'delimiter') yield* this.#confirmDelimiter(this.#afterBoundary.startsWith('--'));
    else if (this.#state === 'outerHead' || this.#state === 'innerHead') {
      if (this.#line.size > 0) yield* this.#headLine();
    }
    if (this.#state !== 'body') return;
    const bytes = this.#arena.view(1, this.#arena.size);
    // A delimiter that was cut in the middle is not content.
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

  /** Reads on to the next delimiter, collecting the body or not. Returns where it stopped in the chunk. */
  #scan(chunk: Buffer, at: number, state: 'body' | 'skipping'): number {
    const arena = this.#arena;
    const reach = this.#needle.length - 1;
    // First what may straddle the chunks: the last bytes before, the first ones now.
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

  /** The last bytes may turn out to be a delimiter: a body is over the limit only when they are too many even so. */
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

  /** Reads what follows `\n--boundary`: `--`, padding and a line's end make it a delimiter, all else makes it content. */
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
      // In the middle of a line no delimiter can begin.
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
      // No outer head at all, or no empty line after it.
      this.#state = 'innerHead';
      this.#status = parseStatus(line);
    } else if (this.#state === 'outerHead') {
      // Empty lines before the first header are passed over.
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

  /** A delimiter where a head was expected: the answer before it is all there is. */
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
