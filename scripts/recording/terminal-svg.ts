/** A recording as an SVG that plays by itself, in the reader's colour scheme. Pure. */
import { isBlock, type Recording, type Showing, type Stretch } from './replay.ts';

const CELL = { width: 7.83, height: 18 } as const;
const SIZE = 13;
const MARGIN = 16;
/** From the upper edge of a row to the baseline. */
const ASCENT = 13.5;
/** How long the last picture stays before the recording repeats. */
const REST_MS = 12_000;
/** A picture is looked at before it is watched: it begins with its end, and plays after this time. */
const FIRST_REST_MS = 4_000;

const STYLE = `
  svg{--ground:#f6f8fa;--text:#1f2328;--dim:#59636e;--c1:#cf222e;--c2:#116329;--c3:#7d4e00;--c4:#0550ae;--c5:#8250df;--c6:#1b7c83}
  @media (prefers-color-scheme:dark){svg{--ground:#161b22;--text:#e6edf3;--dim:#9198a1;--c1:#ff7b72;--c2:#56d364;--c3:#e3b341;--c4:#79c0ff;--c5:#d2a8ff;--c6:#56d4dd}}
  text{font:${SIZE}px ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono","DejaVu Sans Mono",monospace;fill:var(--text);white-space:pre}
  .ground{fill:var(--ground)}.b{font-weight:bold}.d{fill:var(--dim)}
  .c1{fill:var(--c1)}.c2{fill:var(--c2)}.c3{fill:var(--c3)}.c4{fill:var(--c4)}.c5{fill:var(--c5)}.c6{fill:var(--c6)}
  .empty{opacity:.25}.past{visibility:hidden}`;

export interface TerminalCaption {
  readonly title: string;
  readonly description: string;
}

export function terminalSvg(
  { size: { columns, rows }, endMs, showings }: Recording,
  { title, description }: TerminalCaption,
): string {
  const width = Math.ceil(columns * CELL.width + 2 * MARGIN);
  const height = rows * CELL.height + 2 * MARGIN;
  const totalMs = endMs + REST_MS;
  const seconds = (ms: number): string => `${(ms / 1_000).toFixed(2)}s`;
  const timing = `${seconds(totalMs)} step-end ${seconds(FIRST_REST_MS - totalMs)} infinite`;
  const share = (ms: number): string => `${((ms / totalMs) * 100).toFixed(2)}%`;

  // Text that appears and disappears at the same times is one group with one animation.
  const groups = Map.groupBy(showings, ({ fromMs, toMs }) => `${fromMs} ${toMs ?? ''}`);
  const rules: string[] = [];
  const drawn = [...groups.values()].map((group, index) => {
    const [{ fromMs, toMs } = { fromMs: 0 }] = group;
    const rowsOfGroup = group.map(rowSvg).join('');
    const end = toMs === undefined ? '' : `${share(toMs)}{visibility:hidden}`;
    const begin = fromMs === 0 ? '' : `0%{visibility:hidden}`;
    rules.push(
      `@keyframes k${index}{${begin}${share(fromMs)}{visibility:visible}${end}}#g${index}{animation:k${index} ${timing}}`,
    );
    return `<g id="g${index}"${toMs === undefined ? '' : ' class="past"'}>${rowsOfGroup}</g>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="title desc">`,
    `<title id="title">${escaped(title)}</title>`,
    `<desc id="desc">${escaped(description)}</desc>`,
    // Readers who prefer no motion see the end.
    `<style>${STYLE}\n@media (prefers-reduced-motion:no-preference){${rules.join('')}}</style>`,
    `<rect class="ground" width="${width}" height="${height}" rx="8"/>`,
    ...drawn,
    '</svg>',
    '',
  ].join('\n');
}

function rowSvg({ row, stretches }: Showing): string {
  const top = MARGIN + row * CELL.height;
  return stretches.map((stretch) => stretchSvg(stretch, top)).join('');
}

function stretchSvg({ column, columns, text, colour, isBold, isDim }: Stretch, top: number): string {
  const x = fixed(MARGIN + column * CELL.width);
  const length = fixed(columns * CELL.width);
  const classes = [
    ...(isBold ? ['b'] : []),
    ...(isDim ? ['d'] : []),
    ...(colour !== null && colour % 8 >= 1 && colour % 8 <= 6 ? [`c${colour % 8}`] : []),
    ...(text.startsWith('░') ? ['empty'] : []),
  ].join(' ');
  const style = classes === '' ? '' : ` class="${classes}"`;
  if (isBlock(text)) {
    return `<rect${style} x="${x}" y="${top + 3}" width="${length}" height="${CELL.height - 6}"/>`;
  }
  return `<text${style} x="${x}" y="${fixed(top + ASCENT)}" textLength="${length}" lengthAdjust="spacingAndGlyphs">${escaped(text)}</text>`;
}

const fixed = (value: number): string => String(Math.round(value * 10) / 10);

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
