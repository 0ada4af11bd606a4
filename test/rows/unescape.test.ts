import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Unescaper } from '../../src/rows/unescape.ts';

const SHORT: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '/': '\\/',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
};

/** A text, and one of the ways in which JSON may write it. Halves of surrogate pairs only stand as escapes. */
const written = fc
  .array(
    fc.record({
      text: fc.oneof(
        fc.constantFrom(
          'a',
          '&',
          '/',
          '"',
          '\\',
          '\b',
          '\f',
          '\n',
          '\r',
          '\t',
          '\0',
          '\u001f',
          '\u007f',
          '\u0080',
        ),
        fc.constantFrom('é', '\u07ff', '\u0800', '漢', '\uffff', '\u{10000}', '😀', '\u{10ffff}', '\ufffd'),
        fc.constantFrom('\ud800', '\udbff', '\udc00', '\udfff'),
        fc.string({ maxLength: 9 }),
      ),
      how: fc.constantFrom('raw', 'short', 'lower', 'upper'),
    }),
    { maxLength: 12 },
  )
  .map((pieces) => ({
    text: pieces.map(({ text }) => text).join(''),
    json: pieces
      .map(({ text, how }) => [...text].map((character) => write(character, how)).join(''))
      .join(''),
  }));

function write(character: string, how: string): string {
  const short = SHORT[character];
  if (short !== undefined && (how === 'short' || (how === 'raw' && character !== '/'))) return short;
  const isRaw = how === 'raw' || how === 'short';
  if (isRaw && character >= ' ' && character.isWellFormed()) return character;
  const units = Array.from({ length: character.length }, (_, index) => character.charCodeAt(index));
  const digits = units.map((unit) => unit.toString(16).padStart(4, '0'));
  return digits.map((four) => `\\u${how === 'upper' ? four.toUpperCase() : four}`).join('');
}

test('a text comes out as JSON.parse reads it, wherever it stands and however it is written', () => {
  fc.assert(
    fc.property(written, fc.nat(9), fc.nat(9), ({ text, json }, before, at) => {
      expect(JSON.parse(`"${json}"`)).toBe(text);
      const size = Buffer.byteLength(json);
      const source = Buffer.from(`${'\\'.repeat(before)}${json}\\`);
      const target = Buffer.alloc(at + size + 1, '#');
      const unescaper = new Unescaper(source, target);
      const end = unescaper.write(before, before + size, at);
      expect(target.toString('utf8', at, end)).toBe(text.toWellFormed());
      // Neither what stands before it nor what lies beyond its longest form.
      expect(target.toString('latin1', 0, at)).toBe('#'.repeat(at));
      expect(target[at + size]).toBe(0x23);
      expect(unescaper.loneSurrogates).toBe(text.match(/\p{Surrogate}/gu)?.length ?? 0);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it asks for
      expect(unescaper.hasSpecial).toBe(/[\u0000-\u001f\\]/.test(text));
    }),
    { numRuns: 2_000 },
  );
});

test('what it found in one text it does not say of the next', () => {
  const source = Buffer.from('\\ud800\\nplain');
  const unescaper = new Unescaper(source, Buffer.alloc(source.length));
  unescaper.write(0, 8, 0);
  expect([unescaper.loneSurrogates, unescaper.hasSpecial]).toEqual([1, true]);
  unescaper.write(8, source.length, 0);
  expect([unescaper.loneSurrogates, unescaper.hasSpecial]).toEqual([0, false]);
});
