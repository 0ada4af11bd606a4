/** What was written to a terminal, as a picture of what was to be seen. */
import { expect, test } from 'vitest';
import { type Piece, replay } from '../../scripts/recording/replay.ts';
import { terminalSvg } from '../../scripts/recording/terminal-svg.ts';

const SIZE = { columns: 40, rows: 4 } as const;
const ESC = '\u001b';
const piece = (afterMs: number, text: string): Piece => ({ afterMs, bytes: new TextEncoder().encode(text) });
const caption = { title: 'a < b', description: 'c' };

test('lines that are replaced were there until then; what stays has no end', async () => {
  const { showings, endMs } = await replay(
    [piece(0, 'title\r\none\r\n'), piece(500, `${ESC}[1A\r${ESC}[Jtwo\r\n`), piece(500, 'end\r\n')],
    SIZE,
    10_000,
  );
  expect(endMs).toBe(1_000);
  const told = showings.map(({ row, fromMs, toMs, stretches }) => [row, stretches[0]?.text, fromMs, toMs]);
  expect(told.sort()).toEqual([
    [0, 'title', 0, undefined],
    [1, 'one', 0, 500],
    [1, 'two', 500, undefined],
    [2, 'end', 1_000, undefined],
  ]);
});

test('waits are cut, and bytes of one character may come apart', async () => {
  const bytes = new TextEncoder().encode('é');
  const recording = await replay(
    [
      { afterMs: 90_000, bytes: bytes.subarray(0, 1) },
      { afterMs: 0, bytes: bytes.subarray(1) },
    ],
    SIZE,
    1_000,
  );
  expect(recording.endMs).toBe(1_000);
  expect(recording.showings).toMatchObject([{ row: 0, stretches: [{ text: 'é' }] }]);
});

test('what does not fit scrolls away', async () => {
  const { showings } = await replay([piece(0, 'a\r\nb\r\nc\r\nd\r\ne\r\n')], SIZE, 1_000);
  expect(showings.map(({ row, stretches }) => [row, stretches[0]?.text])).toEqual([
    [0, 'c'],
    [1, 'd'],
    [2, 'e'],
  ]);
});

test('columns of a table, styles and wide characters keep their places', async () => {
  const text = `a b  c ${ESC}[1mbold${ESC}[22m ${ESC}[32mgreen${ESC}[39m ${ESC}[2mdim${ESC}[22m 日本 ██░`;
  const { showings } = await replay([piece(0, text)], SIZE, 1_000);
  const stretches = showings[0]?.stretches.map((s) => [
    s.column,
    s.columns,
    s.text,
    s.colour,
    s.isBold,
    s.isDim,
  ]);
  expect(stretches).toEqual([
    [0, 3, 'a b', null, false, false],
    [5, 1, 'c', null, false, false],
    [7, 4, 'bold', null, true, false],
    [12, 5, 'green', 2, false, false],
    [18, 3, 'dim', null, false, true],
    [22, 4, '日本', null, false, false],
    [27, 2, '██', null, false, false],
    [29, 1, '░', null, false, false],
  ]);
});

test('the picture shows the end to whoever wants no motion, and hides what was over by then', async () => {
  const recording = await replay([piece(0, 'old <&\r'), piece(500, `${ESC}[Knew`)], SIZE, 1_000);
  const svg = terminalSvg(recording, caption);
  expect(svg).toContain(
    'class="past"><text x="16" y="29.5" textLength="47" lengthAdjust="spacingAndGlyphs">old &lt;&amp;',
  );
  expect(svg).toMatch(/<g id="g1"><text [^>]*>new<\/text>/);
  expect(svg).toContain('@media (prefers-reduced-motion:no-preference){@keyframes');
  // It begins with its end.
  const [, totalS, delayS] = /animation:k0 ([\d.]+)s step-end (-[\d.]+)s infinite/.exec(svg) ?? [];
  expect(Number(totalS) + Number(delayS)).toBe(4);
  expect(svg).toContain('<title id="title">a &lt; b</title>');
});
