/** The shapes of the picture. Colours are classes, so that it fits a light and a dark page. */

/** Where the contents of a panel begin, and their maximum width. */
export interface Frame {
  readonly x: number;
  readonly y: number;
  readonly width: number;
}

export type Ink = 'ours' | 'limit' | 'theirs';

export const STYLE = `
  text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #1f2937; }
  .title { font-size: 15px; font-weight: 650; }
  .note { font-size: 12px; fill: #6b7280; }
  .ours { fill: #2563eb; } .limit { fill: #9ca3af; } .theirs { fill: #d97706; }
  .line { fill: none; stroke: #2563eb; stroke-width: 2; }
  .tick { stroke: #111827; stroke-width: 2; } .rule { stroke: #d1d5db; stroke-width: 1; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e5e7eb; } .note { fill: #9ca3af; }
    .ours { fill: #60a5fa; } .limit { fill: #6b7280; } .theirs { fill: #fbbf24; }
    .line { stroke: #60a5fa; } .tick { stroke: #f9fafb; } .rule { stroke: #374151; }
  }`;

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

const fixed = (value: number): string => String(Math.round(value * 10) / 10);

export function text(
  x: number,
  y: number,
  content: string,
  options: { readonly kind?: 'title' | 'note'; readonly anchor?: 'start' | 'middle' | 'end' } = {},
): string {
  const kind = options.kind === undefined ? '' : ` class="${options.kind}"`;
  const anchor = options.anchor === undefined ? '' : ` text-anchor="${options.anchor}"`;
  return `<text x="${fixed(x)}" y="${fixed(y)}"${kind}${anchor}>${escaped(content)}</text>`;
}

export const rectangle = (x: number, y: number, width: number, height: number, ink: Ink): string =>
  `<rect class="${ink}" x="${fixed(x)}" y="${fixed(y)}" width="${fixed(Math.max(1, width))}" height="${fixed(height)}" rx="2"/>`;

export const dot = (x: number, y: number, ink: Ink): string =>
  `<circle class="${ink}" cx="${fixed(x)}" cy="${fixed(y)}" r="5"/>`;

export const line = (x1: number, y1: number, x2: number, y2: number, kind: 'tick' | 'rule'): string =>
  `<line class="${kind}" x1="${fixed(x1)}" y1="${fixed(y1)}" x2="${fixed(x2)}" y2="${fixed(y2)}"/>`;

export const path = (points: readonly (readonly [number, number])[]): string =>
  `<path class="line" d="${points.map(([x, y], index) => `${index === 0 ? 'M' : 'L'}${fixed(x)} ${fixed(y)}`).join(' ')}"/>`;

export interface Bar {
  readonly name: string;
  readonly value: number;
  readonly label: string;
  readonly ink: Ink;
  /** A mark on the bar's scale. */
  readonly mark?: number;
}

const ROW = 26;
const LABEL_ROOM = 96;

/** Horizontal bars from zero, with names on the left and values behind them. */
export function bars(frame: Frame, nameWidth: number, items: readonly Bar[]): string[] {
  const most = Math.max(...items.flatMap(({ value, mark }) => [value, mark ?? 0]));
  const room = frame.width - nameWidth - LABEL_ROOM;
  return items.flatMap(({ name, value, label, ink, mark }, index) => {
    const y = frame.y + index * ROW;
    const x = frame.x + nameWidth;
    const length = (value / most) * room;
    const markAt = mark === undefined ? undefined : x + (mark / most) * room;
    return [
      text(x - 8, y + 14, name, { anchor: 'end' }),
      rectangle(x, y + 2, length, 16, ink),
      ...(markAt === undefined ? [] : [line(markAt, y, markAt, y + 20, 'tick')]),
      text(x + Math.max(length, ((mark ?? 0) / most) * room) + 8, y + 14, label),
    ];
  });
}

/** Dots on a logarithmic scale, for values that differ by factors. */
export function dots(frame: Frame, nameWidth: number, items: readonly Omit<Bar, 'mark'>[]): string[] {
  const logs = items.map(({ value }) => Math.log10(value));
  const [least, most] = [Math.floor(Math.min(...logs)), Math.max(...logs)];
  const room = frame.width - nameWidth - LABEL_ROOM;
  const start = frame.x + nameWidth;
  return items.flatMap(({ name, value, label, ink }, index) => {
    const y = frame.y + index * ROW + 10;
    const x = start + ((Math.log10(value) - least) / Math.max(0.1, most - least)) * room;
    return [
      text(start - 8, y + 4, name, { anchor: 'end' }),
      // Only as far as the dot. Behind it, the line would cross the label.
      line(start, y, x, y, 'rule'),
      dot(x, y, ink),
      text(x + 12, y + 4, label),
    ];
  });
}

export function picture(width: number, height: number, title: string, shapes: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(title)}">`,
    `<style>${STYLE}\n</style>`,
    ...shapes,
    '</svg>',
    '',
  ].join('\n');
}
