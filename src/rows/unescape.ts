import type { Buffer } from 'node:buffer';

const BACKSLASH = 0x5c;
const UNICODE = 0x75;
/** Bytes copied in one step. */
const WORD = 4;
/** Length of `\uXXXX`. */
const UNICODE_BYTES = 6;
const SPACE = 0x20;
const REPLACEMENT = 0xfffd;

/**
 * Resolves the escapes of JSON strings: `\u0026` becomes `&`. Works on bytes, without creating a string: Google escapes
 * `&`, `=` and `'`, so on many sites nearly every page has an escape.
 */
export class Unescaper {
  readonly #source: Buffer;
  readonly #target: Buffer;
  readonly #sourceWords: DataView;
  readonly #targetWords: DataView;
  /** Lone surrogates in the last text. Each has become U+FFFD. */
  loneSurrogates = 0;
  /** Whether the last text contains a backslash or a control character. Both can only come from an escape. */
  hasSpecial = false;

  constructor(source: Buffer, target: Buffer) {
    this.#source = source;
    this.#target = target;
    this.#sourceWords = new DataView(source.buffer, source.byteOffset, source.byteLength);
    this.#targetWords = new DataView(target.buffer, target.byteOffset, target.byteLength);
  }

  /**
   * Writes the source's text from `from` to `to` into the target at `at` and returns where it ends. The source holds
   * what is between the quotes: valid JSON in UTF-8. The result is never longer than the source.
   */
  write(from: number, to: number, at: number): number {
    const source = this.#source;
    const target = this.#target;
    const sourceWords = this.#sourceWords;
    const targetWords = this.#targetWords;
    this.loneSurrogates = 0;
    this.hasSpecial = false;
    let end = at;
    for (let index = from; index < to; ) {
      while (index + WORD <= to) {
        const word = sourceWords.getInt32(index, true);
        if (hasBackslash(word)) break;
        targetWords.setInt32(end, word, true);
        index += WORD;
        end += WORD;
      }
      if (index === to) break;
      const byte = source[index] ?? 0;
      if (byte !== BACKSLASH) {
        target[end] = byte;
        end += 1;
        index += 1;
        continue;
      }
      const letter = source[index + 1] ?? 0;
      const isUnicode = letter === UNICODE;
      const point = isUnicode ? this.#pointAt(source, index, to) : characterOf(letter);
      index += isUnicode ? (point > 0xffff ? 2 * UNICODE_BYTES : UNICODE_BYTES) : 2;
      if (point < 0x80) {
        if (point < SPACE || point === BACKSLASH) this.hasSpecial = true;
        target[end] = point;
        end += 1;
      } else end = put(point, target, end);
    }
    return end;
  }

  /** The code point of one `\uXXXX`, or of a surrogate pair. */
  #pointAt(source: Buffer, at: number, to: number): number {
    const unit = unitAt(source, at);
    if (unit < 0xd800 || unit > 0xdfff) return unit;
    const next = at + UNICODE_BYTES;
    if (unit <= 0xdbff && next < to && source[next] === BACKSLASH && source[next + 1] === UNICODE) {
      const other = unitAt(source, next);
      if (other >= 0xdc00 && other <= 0xdfff) return 0x10000 + ((unit - 0xd800) << 10) + (other - 0xdc00);
    }
    this.loneSurrogates += 1;
    return REPLACEMENT;
  }
}

/**
 * Whether one of four bytes is a backslash. After the XOR such a byte is zero, and subtracting one from all four
 * borrows from its upper bit.
 */
function hasBackslash(word: number): boolean {
  const zeroed = word ^ 0x5c5c5c5c;
  return ((zeroed - 0x01010101) & ~zeroed & 0x80808080) !== 0;
}

/** Writes a code point from U+0080 on as UTF-8 and returns where it ends. */
function put(point: number, target: Buffer, at: number): number {
  let end = at;
  if (point < 0x800) target[end] = 0xc0 | (point >>> 6);
  else {
    if (point < 0x10000) target[end] = 0xe0 | (point >>> 12);
    else {
      target[end] = 0xf0 | (point >>> 18);
      end += 1;
      target[end] = 0x80 | ((point >>> 12) & 0x3f);
    }
    end += 1;
    target[end] = 0x80 | ((point >>> 6) & 0x3f);
  }
  end += 1;
  target[end] = 0x80 | (point & 0x3f);
  return end + 1;
}

/** The character of a short escape. */
function characterOf(letter: number): number {
  switch (letter) {
    case 0x62: // b
      return 0x08;
    case 0x66: // f
      return 0x0c;
    case 0x6e: // n
      return 0x0a;
    case 0x72: // r
      return 0x0d;
    case 0x74: // t
      return 0x09;
    default: // " \ /
      return letter;
  }
}

/** The UTF-16 code unit of the `\uXXXX` at `at`. */
function unitAt(source: Buffer, at: number): number {
  let unit = 0;
  for (let digit = 2; digit < UNICODE_BYTES; digit += 1)
    unit = (unit << 4) | hexValue(source[at + digit] ?? 0);
  return unit;
}

/** The value of a hexadecimal digit in either case. */
const hexValue = (byte: number): number => (byte & 0x0f) + (byte >= 0x41 ? 9 : 0);
