import { type Dataset, DIMENSIONS, dimensionsOf } from '../domain/slice.ts';
import type { SourceRow } from './types.ts';

/** The columns of `longtail.fact` that {@link CopyText} writes, in its order. */
export const FACT_COLUMNS =
  'slice_id, page, query, country, device, search_appearance, clicks, impressions, position';

/** Larger messages make the driver fail now and then: it has not sent the data when the next query comes. */
export const MAX_CHUNK_BYTES = 65_536;
/** UTF-16 units after which a chunk is cut. Most text is one byte a unit; what is more is cut by bytes. */
const CHUNK_UNITS = 60_000;

/** Anything that may need a second look: COPY's own characters, U+0000, surrogates (paired ones are fine). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for
const SUSPICIOUS = /[\\\t\n\r\u0000\ud800-\udfff]/;
const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };
const REPLACEMENT = '\ufffd';

/** Writes a page's rows in COPY's text format. One use: it counts what it had to replace. */
export class CopyText {
  /** Characters that PostgreSQL cannot store (U+0000, half a surrogate pair), so far. Each became U+FFFD. */
  replacedCharacters = 0;
  readonly #sliceId: string;
  /** For each of the fact's dimensions: where in a row's keys it is, or -1. */
  readonly #places: readonly number[];

  constructor(sliceId: string, dataset: Dataset) {
    this.#sliceId = sliceId;
    const dimensions = dimensionsOf(dataset);
    this.#places = DIMENSIONS.map((dimension) => dimensions.indexOf(dimension));
  }

  /** Chunks of at most {@link MAX_CHUNK_BYTES}, cut anywhere. */
  *chunks(rows: readonly SourceRow[]): Generator<Buffer, void, undefined> {
    let text = '';
    for (const row of rows) {
      text += this.#line(row);
      if (text.length >= CHUNK_UNITS) {
        yield* cut(text);
        text = '';
      }
    }
    if (text !== '') yield* cut(text);
  }

  #line(row: SourceRow): string {
    let line = this.#sliceId;
    for (const place of this.#places) {
      const key = place === -1 ? undefined : row.keys[place];
      line += key === undefined ? '\t\\N' : `\t${SUSPICIOUS.test(key) ? this.#clean(key) : key}`;
    }
    return `${line}\t${row.clicks}\t${row.impressions}\t${row.position ?? '\\N'}\n`;
  }

  #clean(key: string): string {
    let whole = key;
    if (!whole.isWellFormed()) {
      this.replacedCharacters += countLoneSurrogates(whole);
      whole = whole.toWellFormed();
    }
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for
    return whole.replace(/[\\\t\n\r\u0000]/g, (character) => {
      const escaped = ESCAPES[character];
      if (escaped !== undefined) return escaped;
      this.replacedCharacters += 1;
      return REPLACEMENT;
    });
  }
}

function countLoneSurrogates(text: string): number {
  let count = 0;
  // By code points: a pair is one of them, a lone half is one in the surrogates' range.
  for (const character of text) {
    const point = character.codePointAt(0) ?? 0;
    if (point >= 0xd800 && point <= 0xdfff) count += 1;
  }
  return count;
}

function* cut(text: string): Generator<Buffer, void, undefined> {
  const bytes = Buffer.from(text, 'utf8');
  for (let start = 0; start < bytes.length; start += MAX_CHUNK_BYTES) {
    yield bytes.subarray(start, start + MAX_CHUNK_BYTES);
  }
}
