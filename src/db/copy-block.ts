import { Buffer } from 'node:buffer';
import { keyText, type RowBlock, strideOf } from '../domain/row-block.ts';
import { type Dataset, DIMENSIONS, dimensionsOf } from '../domain/slice.ts';
import type { CopyArena } from './copy-memory.ts';
import { cleanText } from './copy-text.ts';

/** The columns of `longtail.fact` that {@link encodeRows} writes, in its order. */
export const FACT_COLUMNS =
  'slice_id, page, query, country, device, search_appearance, clicks, impressions, position';

/** Keys longer than this are copied by the runtime; a call costs more than a loop over a few bytes. */
const LOOP_BYTES = 48;
const TAB = 0x09;
const LF = 0x0a;
/** `\N` and its tab, for a dimension that the dataset does not have. */
const NULL_BYTES = 3;

/** Where in its arena a page's rows are: COPY's text format, whole lines. */
export interface EncodedRows {
  readonly from: number;
  readonly to: number;
  /** Characters that PostgreSQL cannot store, replaced by U+FFFD. */
  readonly replacedCharacters: number;
}

/**
 * Writes a page's rows in COPY's text format, from the bytes of the answer: JSON's strings need no escape for COPY
 * unless they hold a backslash, and its numbers are PostgreSQL's. What is escaped goes the slow way, through a string.
 */
export function encodeRows(
  sliceId: string,
  dataset: Dataset,
  block: RowBlock,
  arena: CopyArena,
): EncodedRows {
  const { count, keyCount, bytes, offsets, escaped } = block;
  const dimensions = dimensionsOf(dataset);
  /** For each of the fact's dimensions: where in a row's keys it is, or -1. */
  const places = DIMENSIONS.map((dimension) => dimensions.indexOf(dimension));
  const head = Buffer.from(`${sliceId}\t`, 'latin1');
  arena.reserve(largestSize(block, head.length + places.length * NULL_BYTES));
  const out = arena.buffer;
  const from = arena.end;
  const stride = strideOf(keyCount);
  let replacedCharacters = 0;
  let end = from;

  for (let row = 0; row < count; row += 1) {
    const base = row * stride;
    for (let index = 0; index < head.length; index += 1) out[end + index] = head[index] ?? 0;
    end += head.length;
    for (const place of places) {
      if (place === -1) {
        out[end] = 0x5c;
        out[end + 1] = 0x4e;
        out[end + 2] = TAB;
        end += NULL_BYTES;
        continue;
      }
      if (escaped[row * keyCount + place] === 1) {
        const clean = cleanText(keyText(block, row, place));
        replacedCharacters += clean.replacedCharacters;
        end += out.write(clean.text, end);
      } else {
        const at = base + 2 * place;
        end = copyBytes(bytes, offsets[at] ?? 0, offsets[at + 1] ?? 0, out, end);
      }
      out[end] = TAB;
      end += 1;
    }
    const numbers = base + 2 * keyCount;
    end = copyBytes(bytes, offsets[numbers] ?? 0, offsets[numbers + 1] ?? 0, out, end);
    out[end] = TAB;
    end = copyBytes(bytes, offsets[numbers + 2] ?? 0, offsets[numbers + 3] ?? 0, out, end + 1);
    out[end] = TAB;
    end += 1;
    const position = offsets[numbers + 4] ?? 0;
    const positionEnd = offsets[numbers + 5] ?? 0;
    if (position === positionEnd) {
      out[end] = 0x5c;
      out[end + 1] = 0x4e;
      end += 2;
    } else end = copyBytes(bytes, position, positionEnd, out, end);
    out[end] = LF;
    end += 1;
  }
  arena.end = end;
  return { from, to: end, replacedCharacters };
}

/** No text is longer in COPY's format than in JSON's, so this is enough: what a row adds, and all that it copies. */
function largestSize({ count, keyCount, offsets }: RowBlock, aRow: number): number {
  const used = count * strideOf(keyCount);
  let copied = 0;
  for (let at = 0; at < used; at += 2) copied += (offsets[at + 1] ?? 0) - (offsets[at] ?? 0);
  // A tab or line feed behind each, and a position that is not there.
  return copied + count * (aRow + keyCount + 8);
}

function copyBytes(source: Buffer, from: number, to: number, target: Buffer, at: number): number {
  if (to - from > LOOP_BYTES) {
    source.copy(target, at, from, to);
    return at + (to - from);
  }
  let end = at;
  for (let index = from; index < to; index += 1) {
    target[end] = source[index] ?? 0;
    end += 1;
  }
  return end;
}
