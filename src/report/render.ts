/** Numbers, times and tables as people read them. Pure: text in, text out. */

const NUMBER = new Intl.NumberFormat('en-US');
const SEGMENTS = new Intl.Segmenter('en', { granularity: 'grapheme' });
// Characters that take two columns of a terminal: East Asian scripts, full-width forms, emoji.
const WIDE =
  /^[\u1100-\u115F\u2E80-\u303E\u3041-\uA4CF\uA960-\uA97C\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF00-\uFF60\uFFE0-\uFFE6\u{1F300}-\u{1F64F}\u{1F680}-\u{1F6FF}\u{1F900}-\u{1F9FF}\u{20000}-\u{3FFFD}]|^\p{Emoji_Presentation}|\uFE0F/u;
const COLOUR = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'g');

/** `1234567` → `1,234,567`. */
export function count(value: number): string {
  return NUMBER.format(value);
}

/** `counted(1, 'day')` → `1 day`, `counted(1200, 'retry', 'retries')` → `1,200 retries`. */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** `850 ms`, `12.3 s`, `4 min 5 s`, `2 h 5 min`, `3 days 4 h`. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1_000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 3_600) return two(Math.floor(seconds / 60), 'min', seconds % 60, 's');
  const minutes = Math.round(seconds / 60);
  if (minutes < 1_440) return two(Math.floor(minutes / 60), 'h', minutes % 60, 'min');
  const hours = Math.round(minutes / 60);
  const days = Math.floor(hours / 24);
  return two(days, days === 1 ? 'day' : 'days', hours % 24, 'h');
}

/** For a time that is an estimate: `12 s`, never `12.3 s`. */
export function roughDuration(ms: number): string {
  return duration(Math.max(1, Math.round(ms / 1_000)) * 1_000).replace('.0 s', ' s');
}

function two(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}

export function megabytes(bytes: number): string {
  return `${count(Math.round(bytes / 1_000_000))} MB`;
}

/** Rows per second over a time; 0 where there was none. */
export function rate(rows: number, ms: number): number {
  return ms <= 0 ? 0 : Math.round((rows * 1_000) / ms);
}

/** Text that came from outside, safe to show: control characters could move the cursor or recolour the screen. */
export function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is to be removed
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, ' ');
}

/** Columns that a text takes in a terminal. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const { segment } of SEGMENTS.segment(text.replace(COLOUR, ''))) width += WIDE.test(segment) ? 2 : 1;
  return width;
}

/** Cuts a text without colours to a number of columns; what was cut is told by `…`. */
export function cut(text: string, columns: number): string {
  if (displayWidth(text) <= columns) return text;
  let kept = '';
  let width = 0;
  for (const { segment } of SEGMENTS.segment(text)) {
    const next = WIDE.test(segment) ? 2 : 1;
    if (width + next > columns - 1) break;
    kept += segment;
    width += next;
  }
  return `${kept.trimEnd()}…`;
}

/** A line that a terminal would break somewhere in a word, broken between words. One that holds a command to copy stays whole. */
export function wrapped(line: string, columns: number): string {
  if (displayWidth(line) <= columns || /\bgcloud /.test(line)) return line;
  const lines: string[] = [];
  let current = '';
  for (const word of line.split(' ')) {
    const longer = current === '' ? word : `${current} ${word}`;
    if (current.trim() === '' || displayWidth(longer) <= columns) current = longer;
    else {
      lines.push(current);
      current = word;
    }
  }
  return [...lines, current].join('\n');
}

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

/** A table without lines, two spaces in front and between. `dim` colours the head. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  dim: (text: string) => string = (text) => text,
): string {
  const widths = columns.map(({ title }, index) =>
    Math.max(displayWidth(title), ...rows.map((row) => displayWidth(row[index] ?? ''))),
  );
  const line = (cells: readonly string[]): string => {
    const padded = columns.map(({ align }, index) => {
      const cell = cells[index] ?? '';
      const padding = ' '.repeat(Math.max(0, (widths[index] ?? 0) - displayWidth(cell)));
      return align === 'right' ? padding + cell : cell + padding;
    });
    return `  ${padded.join('  ')}`.trimEnd();
  };
  return [dim(line(columns.map(({ title }) => title))), ...rows.map(line)].join('\n');
}

/** Names and values in two columns, two spaces in front. */
export function pairs(entries: readonly (readonly [string, string])[]): string {
  const width = Math.max(...entries.map(([name]) => displayWidth(name)));
  return entries.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`).join('\n');
}
