/**
 * Draws a layout as an SVG that follows the reader's colour scheme. Boxes have the id of their state as `data-state`, so that
 * a page can highlight the active ones. Pure.
 */
import type { Area, Layout, Point } from './layout.ts';
import { type Box, FONT, INSET, LINE_HEIGHT, type Line, TITLE_HEIGHT } from './scene.ts';

const CORNER = 7;
const HEAD = { length: 8, width: 7 } as const;
/** From the upper edge of a line of text to the baseline. */
const ASCENT = 12.5;

export const COLOURS = `
  svg{--canvas:#fff;--leaf:#f6f8fa;--border:#8c959f;--frame:#d0d7de;--text:#1f2328;--muted:#59636e;--guard:#0550ae;--line:#57606a}
  @media (prefers-color-scheme:dark){svg{--canvas:#0d1117;--leaf:#161b22;--border:#6e7681;--frame:#3d444d;--text:#e6edf3;--muted:#9198a1;--guard:#79c0ff;--line:#9198a1}}`;

const STYLE = `${COLOURS}
  text{font:${FONT.text}px Helvetica,Arial,"Liberation Sans",sans-serif;fill:var(--text);white-space:pre}
  .title{font-size:${FONT.title}px;font-weight:bold}
  .target{font-weight:bold}
  .guard{fill:var(--guard)}.muted{fill:var(--muted)}
  .over{paint-order:stroke;stroke:var(--canvas);stroke-width:5px;stroke-linejoin:round}
  .canvas,.label{fill:var(--canvas)}
  .compound{fill:none;stroke:var(--frame);stroke-width:1.5}
  .atomic,.final{fill:var(--leaf);stroke:var(--border)}
  .ring{fill:none;stroke:var(--border)}
  .anywhere{fill:none;stroke:var(--border);stroke-dasharray:3 3}
  .start,.head{fill:var(--line)}
  .route{fill:none;stroke:var(--line);stroke-width:1.2}`;

export interface Caption {
  readonly title: string;
  readonly description: string;
}

export function svgOf({ width, height, boxes, arrows }: Layout, { title, description }: Caption): string {
  const [w, h] = [Math.ceil(width), Math.ceil(height)];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" viewBox="0 0 ${w} ${h}" role="img" aria-labelledby="title desc">`,
    `<title id="title">${escaped(title)}</title>`,
    `<desc id="desc">${escaped(description)}</desc>`,
    `<style>${STYLE}\n</style>`,
    `<rect class="canvas" width="${w}" height="${h}" rx="8"/>`,
    ...boxes.map(({ box, area }) => boxSvg(box, area)),
    ...arrows.map(({ route }) => routeSvg(route)),
    // Above the arrows that lead into the box, so that they do not strike through the text.
    ...boxes.filter(({ box }) => box.kind === 'compound').map(({ box, area }) => headerSvg(box, area)),
    ...arrows.map(({ arrow, label }) => labelSvg(arrow.lines, label, arrow.tooltip)),
    '</svg>',
    '',
  ].join('\n');
}

function boxSvg({ id, kind, title, lines, width: textWidth }: Box, area: Area): string {
  const { x, y, width, height } = area;
  if (kind === 'start') {
    const radius = width / 2 - 1;
    return `<circle class="start" cx="${fixed(x + width / 2)}" cy="${fixed(y + height / 2)}" r="${fixed(radius)}"/>`;
  }
  const rect = (inset: number, rx: number, className: string): string =>
    `<rect class="${className}" x="${fixed(x + inset)}" y="${fixed(y + inset)}" width="${fixed(width - 2 * inset)}" height="${fixed(height - 2 * inset)}" rx="${rx}"/>`;
  if (kind === 'anywhere') {
    return `${rect(0, 12, kind)}${textSvg([{ text: title, style: 'muted' }], x + INSET.x, y + 16)}`;
  }
  if (kind === 'compound') return rect(0, 10, kind).replace('<rect', `<rect data-state="${escaped(id)}"`);
  // Titles of leaves are centred, so that a box that is wider than its text looks even.
  const left = Math.max(INSET.x, (width - textWidth) / 2 + INSET.x);
  const ring = kind === 'final' ? rect(3, 4, 'ring') : '';
  return `<g data-state="${escaped(id)}">${rect(0, 7, kind)}${ring}${boxText(title, lines, x + left, y)}</g>`;
}

function boxText(title: string, lines: readonly Line[], x: number, y: number): string {
  return [
    textSvg([{ text: title, style: 'title' }], x, y + INSET.y + ASCENT + 1),
    ...lines.map((line, index) =>
      textSvg(line, x, y + INSET.y + TITLE_HEIGHT + ASCENT + index * LINE_HEIGHT),
    ),
  ].join('');
}

function headerSvg({ title, lines }: Box, { x, y }: Area): string {
  return `<g class="over">${boxText(title, lines, x + INSET.x, y)}</g>`;
}

/** A line with round corners, and its arrowhead. */
function routeSvg(route: readonly Point[]): string {
  const last = route.at(-1);
  const before = route.at(-2);
  if (last === undefined || before === undefined) return '';
  const length = Math.hypot(last.x - before.x, last.y - before.y) || 1;
  const along = { x: (last.x - before.x) / length, y: (last.y - before.y) / length };
  const neck = { x: last.x - along.x * HEAD.length, y: last.y - along.y * HEAD.length };
  const side = { x: (-along.y * HEAD.width) / 2, y: (along.x * HEAD.width) / 2 };
  const corners = route.slice(1, -1).map((corner, index) => {
    const [from, to] = [route[index] ?? corner, route[index + 2] ?? corner];
    return `L${point(towards(corner, from))}Q${point(corner)} ${point(towards(corner, to))}`;
  });
  const [first = last] = route;
  return [
    `<path class="route" d="M${point(first)}${corners.join('')}L${point(neck)}"/>`,
    `<path class="head" d="M${point(last)}L${point({ x: neck.x + side.x, y: neck.y + side.y })}L${point({ x: neck.x - side.x, y: neck.y - side.y })}Z"/>`,
  ].join('');
}

/** Where the rounding of a corner begins: at most halfway to the next corner. */
function towards(corner: Point, other: Point): Point {
  const length = Math.hypot(other.x - corner.x, other.y - corner.y) || 1;
  const share = Math.min(CORNER, length / 2) / length;
  return { x: corner.x + (other.x - corner.x) * share, y: corner.y + (other.y - corner.y) * share };
}

function labelSvg(lines: readonly Line[], { x, y, width, height }: Area, tooltip: string): string {
  if (lines.length === 0) return '';
  const ground = `<rect class="label" x="${fixed(x)}" y="${fixed(y)}" width="${fixed(width)}" height="${fixed(height)}"/>`;
  const texts = lines.map((line, index) => textSvg(line, x + 4, y + ASCENT + index * LINE_HEIGHT));
  return `<g><title>${escaped(tooltip)}</title>${ground}${texts.join('')}</g>`;
}

function textSvg(line: Line, x: number, y: number): string {
  const runs = line
    .filter(({ text }) => text !== '')
    .map(({ text, style }) =>
      style === 'trigger' ? escaped(text) : `<tspan class="${style}">${escaped(text)}</tspan>`,
    );
  return `<text x="${fixed(x)}" y="${fixed(y)}">${runs.join('')}</text>`;
}

const point = ({ x, y }: Point): string => `${fixed(x)} ${fixed(y)}`;

/** Rounded to a tenth of a pixel, which is precise enough and the same on every machine. */
const fixed = (value: number): string => String(Math.round(value * 10) / 10);

export const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
