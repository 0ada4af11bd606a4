/** COPY's text format: what of a text must be written otherwise, and in what pieces it is sent. */

/** Larger messages make the driver fail now and then: it has not sent the data when the next query comes. */
const MAX_CHUNK_BYTES = 65_536;

/** Anything that may need a second look: COPY's own characters, U+0000, surrogates (paired ones are fine). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for
const SUSPICIOUS = /[\\\t\n\r\u0000\ud800-\udfff]/;
const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };
const REPLACEMENT = '\ufffd';

/** A text as COPY takes it. What PostgreSQL cannot store (U+0000, half a surrogate pair) becomes U+FFFD, and is counted. */
export function cleanText(text: string): { readonly text: string; readonly replacedCharacters: number } {
  if (!SUSPICIOUS.test(text)) return { text, replacedCharacters: 0 };
  let replacedCharacters = 0;
  let whole = text;
  if (!whole.isWellFormed()) {
    replacedCharacters += countLoneSurrogates(whole);
    whole = whole.toWellFormed();
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for
  const clean = whole.replace(/[\\\t\n\r\u0000]/g, (character) => {
    const escaped = ESCAPES[character];
    if (escaped !== undefined) return escaped;
    replacedCharacters += 1;
    return REPLACEMENT;
  });
  return { text: clean, replacedCharacters };
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

/** Pieces small enough for the driver, cut anywhere. Views, not copies. */
export function* copyChunks(bytes: Buffer): Generator<Buffer, void, undefined> {
  for (let start = 0; start < bytes.length; start += MAX_CHUNK_BYTES) {
    yield bytes.subarray(start, start + MAX_CHUNK_BYTES);
  }
}
