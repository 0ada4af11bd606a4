import { Buffer } from 'node:buffer';
import { COLUMN_OF, DIMENSIONS, dimensionsOf } from '../../domain/dataset.ts';
import { fixedBy, groupedBy } from '../../domain/part.ts';
import type { Slice } from '../../domain/slice.ts';
import { type RowBlock, strideOf } from '../../rows/row-block.ts';
import { Unescaper } from '../../rows/unescape.ts';
import type { CopyArena } from './copy-memory.ts';

/** The columns of `longtail.fact` that {@link encodeRows} writes, in order. */
export const FACT_COLUMNS = [
  'slice_id',
  ...DIMENSIONS.map((dimension) => COLUMN_OF[dimension]),
  'clicks, impressions, position',
].join(', ');

/** Longer keys are copied by the runtime. For shorter ones a loop over a few words is cheaper than the call. */
const LOOP_BYTES = 160;
/** Bytes copied per step. */
const WORD = 4;
const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const BACKSLASH = 0x5c;
const FIRST_TEXT_BYTES = 1_024;
/** For each byte that COPY escapes: the character after the backslash. */
const ESCAPES = new Uint8Array(256);
ESCAPES[BACKSLASH] = BACKSLASH;
ESCAPES[TAB] = 0x74;
ESCAPES[LF] = 0x6e;
ESCAPES[CR] = 0x72;
/** `\N` and its tab, for a dimension that is not in the dataset. */
const NOTHING = Buffer.from('\\N\t', 'latin1');

/** Where a page's rows are in the arena: whole lines in COPY's text format. */
export interface EncodedRows {
  readonly from: number;
  readonly to: number;
  /** Characters that PostgreSQL cannot store and that were replaced by U+FFFD. */
  readonly replacedCharacters: number;
}

/**
 * Writes a page's rows in COPY's text format, straight from the bytes of the answer. JSON strings need no escaping for
 * COPY unless they contain a backslash, and JSON numbers are valid in PostgreSQL.
 */
export function encodeRows(
  slice: Pick<Slice, 'id' | 'dataset' | 'part'>,
  block: RowBlock,
  arena: CopyArena,
): EncodedRows {
  const { count, keyCount, bytes, offsets, escaped } = block;
  if (count === 0) return { from: arena.end, to: arena.end, replacedCharacters: 0 };
  const dimensions = groupedBy(slice);
  /** For each of the fact's dimensions: its index in a row's keys, or -1. */
  const places = DIMENSIONS.map((dimension) => dimensions.indexOf(dimension));
  const constants = constantsOf(slice);
  const head = Buffer.from(`${slice.id}\t`, 'latin1');
  const constantBytes = constants.reduce((sum, constant) => sum + constant.length, 0);
  arena.reserve(largestSize(block, head.length + constantBytes));
  const out = arena.buffer;
  const from = arena.end;
  const source = new WordCopier(bytes, out);
  const stride = strideOf(keyCount);
  const texts = new TextCopier(bytes, out);
  let end = from;

  for (let row = 0; row < count; row += 1) {
    const base = row * stride;
    for (let index = 0; index < head.length; index += 1) out[end + index] = head[index] ?? 0;
    end += head.length;
    // By index: an iterator per row is garbage that the collector has to scan.
    for (let dimension = 0; dimension < places.length; dimension += 1) {
      const place = places[dimension] ?? -1;
      if (place === -1) {
        const constant = constants[dimension] ?? NOTHING;
        for (let index = 0; index < constant.length; index += 1) out[end + index] = constant[index] ?? 0;
        end += constant.length;
        continue;
      }
      const at = base + 2 * place;
      const keyFrom = offsets[at] ?? 0;
      const keyTo = offsets[at + 1] ?? 0;
      if (escaped[row * keyCount + place] === 1) {
        end = texts.copy(keyFrom, keyTo, end);
      } else {
        end = source.copy(keyFrom, keyTo, end);
      }
      out[end] = TAB;
      end += 1;
    }
    const numbers = base + 2 * keyCount;
    end = source.copy(offsets[numbers] ?? 0, offsets[numbers + 1] ?? 0, end);
    out[end] = TAB;
    end = source.copy(offsets[numbers + 2] ?? 0, offsets[numbers + 3] ?? 0, end + 1);
    out[end] = TAB;
    end += 1;
    const position = offsets[numbers + 4] ?? 0;
    const positionEnd = offsets[numbers + 5] ?? 0;
    if (position === positionEnd) {
      out[end] = BACKSLASH;
      out[end + 1] = 0x4e;
      end += 2;
    } else end = source.copy(position, positionEnd, end);
    out[end] = LF;
    end += 1;
  }
  arena.end = end;
  return { from, to: end, replacedCharacters: texts.replacedCharacters };
}

/** For each of the fact's dimensions: what stands in all rows of the slice, unless the rows have it as a key. */
function constantsOf(slice: Pick<Slice, 'dataset' | 'part'>): readonly Buffer[] {
  const fixed = fixedBy(slice);
  const ofDataset = dimensionsOf(slice.dataset);
  return DIMENSIONS.map((dimension) => {
    const value = fixed.find((one) => one.dimension === dimension)?.value;
    if (value === undefined || !ofDataset.includes(dimension)) return NOTHING;
    const text = value.replaceAll(/[\\\t\n\r]/g, (character) => `\\${ESCAPED[character]}`);
    return Buffer.from(`${text.replaceAll('\0', '\ufffd')}\t`, 'utf8');
  });
}

const ESCAPED: Readonly<Record<string, string>> = { '\\': '\\', '\t': 't', '\n': 'n', '\r': 'r' };

/** An upper bound: no text is longer in COPY's format than in JSON. `aRow` bytes are added per row. */
function largestSize({ count, keyCount, offsets }: RowBlock, aRow: number): number {
  const used = count * strideOf(keyCount);
  let copied = 0;
  for (let at = 0; at < used; at += 2) copied += (offsets[at + 1] ?? 0) - (offsets[at] ?? 0);
  // A tab or line feed after each key, the missing position, and space for the last word.
  return copied + count * (aRow + keyCount + 8) + WORD;
}

/** Copies short pieces word by word. A word may extend beyond the piece: the next piece overwrites the excess. */
class WordCopier {
  readonly #from: Buffer;
  readonly #to: Buffer;
  readonly #source: DataView;
  readonly #target: DataView;
  /** Pieces that end after this are too close to the end of the source. */
  readonly #safeEnd: number;

  constructor(from: Buffer, to: Buffer) {
    this.#from = from;
    this.#to = to;
    this.#source = new DataView(from.buffer, from.byteOffset, from.byteLength);
    this.#target = new DataView(to.buffer, to.byteOffset, to.byteLength);
    this.#safeEnd = from.byteLength - WORD;
  }

  /** Copies the source's bytes `from`–`to` into the target at `at`. Returns where they end there. */
  copy(from: number, to: number, at: number): number {
    const size = to - from;
    if (size > LOOP_BYTES || to > this.#safeEnd) {
      this.#from.copy(this.#to, at, from, to);
      return at + size;
    }
    const source = this.#source;
    const target = this.#target;
    for (let done = 0; done < size; done += WORD) {
      target.setInt32(at + done, source.getInt32(from + done, true), true);
    }
    return at + size;
  }
}

/** Copies texts that JSON had to escape: decodes JSON's escapes and applies COPY's. */
class TextCopier {
  readonly #to: Buffer;
  readonly #unescaper: Unescaper;
  #text: Buffer = Buffer.allocUnsafeSlow(FIRST_TEXT_BYTES);
  /** Counts characters that PostgreSQL cannot store (U+0000 and lone surrogates). Each is replaced by U+FFFD. */
  replacedCharacters = 0;

  constructor(from: Buffer, to: Buffer) {
    this.#to = to;
    this.#unescaper = new Unescaper(from, to);
  }

  /** Like {@link WordCopier.copy}. */
  copy(from: number, to: number, at: number): number {
    const end = this.#unescaper.write(from, to, at);
    this.replacedCharacters += this.#unescaper.loneSurrogates;
    return this.#unescaper.hasSpecial ? this.#escape(at, end) : end;
  }

  /** Escapes a text in the target for COPY, in place. */
  #escape(from: number, to: number): number {
    const out = this.#to;
    const size = to - from;
    if (size > this.#text.length) this.#text = Buffer.allocUnsafeSlow(2 * size);
    const text = this.#text;
    out.copy(text, 0, from, to);
    let end = from;
    for (let index = 0; index < size; index += 1) {
      const byte = text[index] ?? 0;
      const escaped = ESCAPES[byte] ?? 0;
      if (byte === 0) {
        this.replacedCharacters += 1;
        end += out.write('\ufffd', end);
      } else if (escaped === 0) {
        out[end] = byte;
        end += 1;
      } else {
        out[end] = BACKSLASH;
        out[end + 1] = escaped;
        end += 2;
      }
    }
    return end;
  }
}
