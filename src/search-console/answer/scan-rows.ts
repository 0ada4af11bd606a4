import type { Buffer } from 'node:buffer';
import { free } from '../../rows/release.ts';
import { type RowBlock, strideOf } from '../../rows/row-block.ts';
import { MAX_ROW_LIMIT } from '../request/query.ts';

/**
 * Finds the rows in the bytes of an answer in one pass, without creating a string or an object for any of them.
 *
 * It accepts only the form that Google sends: compact or indented, fields in any order. At anything else it gives up, and
 * `JSON.parse` reads the answer (`decode-rows.ts`). What it accepts, it reads exactly as `JSON.parse` would; a test compares
 * the two on answers of every kind.
 */
export interface ScannedRows {
  readonly block: RowBlock;
  /** The byte range of the array. The rest of the answer is before and after it. */
  readonly from: number;
  readonly to: number;
}

/** First capacity, for four keys per row. The next one is a full page: memory that is never written to costs nothing. */
const FEW_ROWS = 500;
const FEW_OFFSETS = FEW_ROWS * strideOf(4);
const FEW_ESCAPED = FEW_ROWS * 4;
const FULL_OFFSETS = MAX_ROW_LIMIT * strideOf(4);
const FULL_ESCAPED = MAX_ROW_LIMIT * 4;

/** The index of an answer's rows. The next answer overwrites it. */
export class ScanMemory {
  offsets = new Uint32Array(FEW_OFFSETS);
  escaped = new Uint8Array(FEW_ESCAPED);

  /** Grows the arrays to at least these lengths, and keeps their contents. */
  provide(offsets: number, escaped: number): void {
    if (offsets > this.offsets.length) {
      const larger = new Uint32Array(Math.max(offsets, FULL_OFFSETS));
      larger.set(this.offsets);
      free(this.offsets);
      this.offsets = larger;
    }
    if (escaped > this.escaped.length) {
      const larger = new Uint8Array(Math.max(escaped, FULL_ESCAPED));
      larger.set(this.escaped);
      free(this.escaped);
      this.escaped = larger;
    }
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const POINT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const SPACE = 0x20;
/** Maximum digits with which a count is always exact. */
const SAFE_DIGITS = 15;
/** Estimated bytes per row. If there are more rows, the index grows. */
const BYTES_A_ROW = 96;

const KEYS = 1;
const CLICKS = 2;
const IMPRESSIONS = 4;
const CTR = 8;
const POSITION = 16;

/** Returns undefined if the answer is not in the expected form. */
export function scanRows(
  bytes: Buffer,
  keyCount: number,
  rowLimit: number,
  memory: ScanMemory = new ScanMemory(),
): ScannedRows | undefined {
  const name = bytes.indexOf('"rows"');
  if (name === -1) return undefined;
  const scanner = new RowScanner(bytes, name + '"rows"'.length, keyCount, rowLimit, memory);
  const block = scanner.scan();
  if (block === undefined) return undefined;
  // If there is a second "rows", `JSON.parse` would use that one.
  return bytes.indexOf('"rows"', scanner.at) === -1
    ? { block, from: scanner.from, to: scanner.at }
    : undefined;
}

class RowScanner {
  at: number;
  from = 0;
  readonly #bytes: Buffer;
  /** The same bytes, to be read four at a time at positions before `#wordsEnd`. */
  readonly #words: DataView;
  readonly #wordsEnd: number;
  readonly #keyCount: number;
  readonly #stride: number;
  readonly #rowLimit: number;
  readonly #memory: ScanMemory;
  #offsets: Uint32Array;
  #escaped: Uint8Array;
  #count = 0;
  #clicks = 0;
  #impressions = 0;

  constructor(bytes: Buffer, at: number, keyCount: number, rowLimit: number, memory: ScanMemory) {
    this.#bytes = bytes;
    this.#words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#wordsEnd = bytes.byteLength - 3;
    this.at = at;
    this.#keyCount = keyCount;
    this.#stride = strideOf(keyCount);
    this.#rowLimit = rowLimit;
    const rows = Math.min(rowLimit, 16 + Math.ceil(bytes.length / BYTES_A_ROW));
    memory.provide(rows * this.#stride, rows * keyCount);
    this.#memory = memory;
    this.#offsets = memory.offsets;
    this.#escaped = memory.escaped;
  }

  scan(): RowBlock | undefined {
    if (!this.#take(COLON) || this.#skipSpace() !== OPEN_BRACKET) return undefined;
    this.from = this.at;
    this.at += 1;
    if (this.#skipSpace() === CLOSE_BRACKET) {
      this.at += 1;
      return this.#block();
    }
    for (;;) {
      if (this.#count === this.#rowLimit || !this.#row()) return undefined;
      this.#count += 1;
      const next = this.#skipSpace();
      this.at += 1;
      if (next === CLOSE_BRACKET) return this.#block();
      if (next !== COMMA) return undefined;
    }
  }

  #block(): RowBlock | undefined {
    if (!Number.isSafeInteger(this.#clicks) || !Number.isSafeInteger(this.#impressions)) return undefined;
    return {
      count: this.#count,
      keyCount: this.#keyCount,
      bytes: this.#bytes,
      offsets: this.#offsets,
      escaped: this.#escaped,
      clicks: this.#clicks,
      impressions: this.#impressions,
    };
  }

  #row(): boolean {
    const base = this.#count * this.#stride;
    if (base + this.#stride > this.#offsets.length) this.#grow();
    if (!this.#take(OPEN_BRACE)) return false;
    const numbers = base + 2 * this.#keyCount;
    let seen = this.#keyCount === 0 ? KEYS : 0;
    for (;;) {
      const field = this.#fieldName();
      // A repeated or unknown field.
      if (field === 0 || (seen & field) !== 0 || !this.#take(COLON)) return false;
      seen |= field;
      switch (field) {
        case KEYS:
          if (!this.#keys(base)) return false;
          break;
        case CLICKS: {
          const value = this.#digits(numbers);
          if (value < 0) return false;
          this.#clicks += value;
          break;
        }
        case IMPRESSIONS: {
          const value = this.#digits(numbers + 2);
          if (value < 0) return false;
          this.#impressions += value;
          break;
        }
        case CTR:
          if (!this.#decimal(-1)) return false;
          break;
        default:
          if (!this.#decimal(numbers + 4)) return false;
      }
      const next = this.#skipSpace();
      this.at += 1;
      if (next === CLOSE_BRACE) break;
      if (next !== COMMA) return false;
    }
    if ((seen & POSITION) === 0) {
      this.#offsets[numbers + 4] = 0;
      this.#offsets[numbers + 5] = 0;
    }
    const needed = KEYS | CLICKS | IMPRESSIONS;
    return (seen & needed) === needed;
  }

  /** `"clicks"` → CLICKS; 0 for an unknown name. */
  #fieldName(): number {
    if (this.#skipSpace() !== QUOTE) return 0;
    const bytes = this.#bytes;
    const at = this.at + 1;
    let length: number;
    let field: number;
    switch (bytes[at]) {
      case 0x6b: // k
        length = matches(bytes, at, NAME_KEYS);
        field = KEYS;
        break;
      case 0x63: // c: clicks or ctr
        length = matches(bytes, at, bytes[at + 1] === 0x6c ? NAME_CLICKS : NAME_CTR);
        field = bytes[at + 1] === 0x6c ? CLICKS : CTR;
        break;
      case 0x69: // i
        length = matches(bytes, at, NAME_IMPRESSIONS);
        field = IMPRESSIONS;
        break;
      case 0x70: // p
        length = matches(bytes, at, NAME_POSITION);
        field = POSITION;
        break;
      default:
        return 0;
    }
    if (length === 0) return 0;
    this.at = at + length;
    return field;
  }

  #keys(base: number): boolean {
    if (!this.#take(OPEN_BRACKET)) return false;
    const bytes = this.#bytes;
    const words = this.#words;
    const offsets = this.#offsets;
    for (let key = 0; key < this.#keyCount; key += 1) {
      if (key > 0 && !this.#take(COMMA)) return false;
      if (!this.#take(QUOTE)) return false;
      let at = this.at;
      offsets[base + 2 * key] = at;
      let escaped = 0;
      while (at < this.#wordsEnd && isPlainText(words.getInt32(at, true))) at += 4;
      for (;;) {
        const byte = bytes[at] ?? 0;
        if (byte === QUOTE) break;
        // A raw control character is invalid in JSON. Past the end, `byte` is 0.
        if (byte < SPACE) return false;
        if (byte === BACKSLASH) {
          const length = escapeLength(bytes, at);
          if (length === 0) return false;
          escaped = 1;
          at += length;
        } else at += 1;
      }
      offsets[base + 2 * key + 1] = at;
      this.#escaped[this.#count * this.#keyCount + key] = escaped;
      this.at = at + 1;
    }
    return this.#take(CLOSE_BRACKET);
  }

  /** Reads a count that consists only of digits. Returns its value, or -1. */
  #digits(index: number): number {
    this.#skipSpace();
    const bytes = this.#bytes;
    const from = this.at;
    let at = from;
    let value = 0;
    for (;;) {
      const byte = bytes[at] ?? 0;
      if (byte < ZERO || byte > NINE) break;
      value = value * 10 + (byte - ZERO);
      at += 1;
    }
    const digits = at - from;
    if (digits === 0 || digits > SAFE_DIGITS || (digits > 1 && bytes[from] === ZERO)) return -1;
    this.#offsets[index] = from;
    this.#offsets[index + 1] = at;
    this.at = at;
    // `1.0` and `1e3` are counts, too, but rare: `JSON.parse` reads them.
    return endsNumber(bytes[at]) ? value : -1;
  }

  /** Reads a JSON number that is not negative. Its position is stored at `index`, unless that is -1. */
  #decimal(index: number): boolean {
    this.#skipSpace();
    const bytes = this.#bytes;
    const from = this.at;
    let at = from;
    while (isDigit(bytes[at])) at += 1;
    if (at === from || (at - from > 1 && bytes[from] === ZERO)) return false;
    if (bytes[at] === POINT) {
      const point = at;
      at += 1;
      while (isDigit(bytes[at])) at += 1;
      if (at === point + 1) return false;
    }
    if (bytes[at] === 0x65 || bytes[at] === 0x45) {
      at += bytes[at + 1] === 0x2b || bytes[at + 1] === 0x2d ? 2 : 1;
      const exponent = at;
      while (isDigit(bytes[at])) at += 1;
      // An exponent of three digits may exceed the range of a double.
      if (at === exponent || at - exponent > 2) return false;
    }
    if (index >= 0) {
      this.#offsets[index] = from;
      this.#offsets[index + 1] = at;
    }
    this.at = at;
    return at - from < 64 && endsNumber(bytes[at]);
  }

  /** Skips white space. Returns the next byte, or -1 at the end. */
  #skipSpace(): number {
    const bytes = this.#bytes;
    let at = this.at;
    let byte = bytes[at];
    while (byte === SPACE || byte === 0x0a || byte === 0x0d || byte === 0x09) {
      at += 1;
      byte = bytes[at];
    }
    this.at = at;
    return byte ?? -1;
  }

  #take(byte: number): boolean {
    if (this.#bytes[this.at] !== byte && this.#skipSpace() !== byte) return false;
    this.at += 1;
    return true;
  }

  #grow(): void {
    const rows = Math.min(this.#rowLimit, 2 * (this.#count + 1));
    this.#memory.provide(rows * this.#stride, rows * this.#keyCount);
    this.#offsets = this.#memory.offsets;
    this.#escaped = this.#memory.escaped;
  }
}

/** Names with their closing quote. */
const NAME_KEYS = ascii('keys"');
const NAME_CLICKS = ascii('clicks"');
const NAME_CTR = ascii('ctr"');
const NAME_IMPRESSIONS = ascii('impressions"');
const NAME_POSITION = ascii('position"');

/**
 * Whether none of four bytes is a quote, a backslash or a control character. Subtracting 1 from a zero byte, or 0x20 from a
 * control character, borrows and so sets the byte's upper bit.
 */
function isPlainText(word: number): boolean {
  const quote = word ^ 0x22222222;
  const backslash = word ^ 0x5c5c5c5c;
  const found =
    ((quote - 0x01010101) & ~quote) | ((backslash - 0x01010101) & ~backslash) | ((word - 0x20202020) & ~word);
  return (found & 0x80808080) === 0;
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** The length of `name` if it is at `at`, otherwise 0. */
function matches(bytes: Buffer, at: number, name: Uint8Array): number {
  for (let index = 0; index < name.length; index += 1) {
    if (bytes[at + index] !== name[index]) return 0;
  }
  return name.length;
}

/** The length in bytes of the escape at `at`, or 0 if JSON does not allow it. */
function escapeLength(bytes: Buffer, at: number): number {
  switch (bytes[at + 1]) {
    case 0x22: // "
    case 0x5c: // \
    case 0x2f: // /
    case 0x62: // b
    case 0x66: // f
    case 0x6e: // n
    case 0x72: // r
    case 0x74: // t
      return 2;
    case 0x75: // u
      for (let index = 2; index < 6; index += 1) if (!isHex(bytes[at + index])) return 0;
      return 6;
    default:
      return 0;
  }
}

const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= ZERO && byte <= NINE;

const isHex = (byte: number | undefined): boolean =>
  byte !== undefined &&
  ((byte >= ZERO && byte <= NINE) || (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66));

/** Whether this byte may follow a number. */
const endsNumber = (byte: number | undefined): boolean =>
  byte === COMMA || byte === CLOSE_BRACE || byte === SPACE || byte === 0x0a || byte === 0x0d || byte === 0x09;
