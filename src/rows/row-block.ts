import { Buffer } from 'node:buffer';

/**
 * A page's rows as an index into the bytes of the answer, without an object per row or a string per key. A page of
 * 25,000 rows costs a megabyte of index instead of a hundred thousand objects, and readers copy bytes.
 *
 * A block is valid until its creator reads on: take what you need before you wait for anything.
 */
export interface RowBlock {
  readonly count: number;
  readonly keyCount: number;
  /** JSON, UTF-8. */
  readonly bytes: Buffer;
  /**
   * For each row, `2 × (keyCount + 3)` offsets into `bytes`: start and end of each key (between its quotes), of the
   * clicks, of the impressions, and of the position (two equal offsets if there is none).
   */
  readonly offsets: Uint32Array;
  /** For each key of each row: 1 if it contains a backslash, so its bytes differ from its text. */
  readonly escaped: Uint8Array;
  readonly clicks: number;
  readonly impressions: number;
}

/** A row as plain values, for code where speed does not matter. */
export interface PlainRow {
  readonly keys: readonly string[];
  readonly clicks: number;
  readonly impressions: number;
  /** Null for Discover and Google News. */
  readonly position: number | null;
}

/** The numbers that follow a row's keys, in the order of {@link RowBlock.offsets}. */
export const NUMBERS_A_ROW = 3;

/** Number of offsets per row. */
export const strideOf = (keyCount: number): number => 2 * (keyCount + NUMBERS_A_ROW);

/** The text of one key. */
function keyText({ keyCount, bytes, offsets, escaped }: RowBlock, row: number, key: number): string {
  const at = row * strideOf(keyCount) + 2 * key;
  const raw = bytes.toString('utf8', offsets[at], offsets[at + 1]);
  return escaped[row * keyCount + key] === 1 ? (JSON.parse(`"${raw}"`) as string) : raw;
}

/** Every row as plain values. */
export function plainRows(block: RowBlock): PlainRow[] {
  const { count, keyCount, bytes, offsets } = block;
  const stride = strideOf(keyCount);
  const number = (at: number): number => Number(bytes.toString('latin1', offsets[at], offsets[at + 1]));
  return Array.from({ length: count }, (_, row) => {
    const numbers = row * stride + 2 * keyCount;
    return {
      keys: Array.from({ length: keyCount }, (_unused, key) => keyText(block, row, key)),
      clicks: number(numbers),
      impressions: number(numbers + 2),
      position: offsets[numbers + 4] === offsets[numbers + 5] ? null : number(numbers + 4),
    };
  });
}

/** Builds a block from plain rows. All rows have as many keys as the first. */
export function rowBlock(rows: readonly PlainRow[], keyCount = rows[0]?.keys.length ?? 0): RowBlock {
  const offsets = new Uint32Array(rows.length * strideOf(keyCount));
  const escaped = new Uint8Array(rows.length * keyCount);
  const texts: string[] = [];
  let at = 0;
  let end = 0;
  let clicks = 0;
  let impressions = 0;
  const put = (text: string): void => {
    texts.push(text);
    offsets[at] = end;
    end += Buffer.byteLength(text);
    offsets[at + 1] = end;
    at += 2;
  };
  for (const [row, { keys, ...numbers }] of rows.entries()) {
    for (const [key, text] of keys.entries()) {
      // Well-formed JSON: lone surrogates are escaped, so the bytes are valid UTF-8.
      const json = JSON.stringify(text).slice(1, -1);
      if (json.includes('\\')) escaped[row * keyCount + key] = 1;
      put(json);
    }
    put(String(numbers.clicks));
    put(String(numbers.impressions));
    put(numbers.position === null ? '' : String(numbers.position));
    clicks += numbers.clicks;
    impressions += numbers.impressions;
  }
  return {
    count: rows.length,
    keyCount,
    bytes: Buffer.from(texts.join('')),
    offsets,
    escaped,
    clicks,
    impressions,
  };
}
