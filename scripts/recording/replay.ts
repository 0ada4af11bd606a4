/** Replays a program's output in a terminal without a screen, and reports which text was where, and from when to when. */
import xterm from '@xterm/headless';

/** A piece of output, and how long after the previous piece it was written. */
export interface Piece {
  readonly afterMs: number;
  readonly bytes: Uint8Array;
}

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** Text of one style that begins in a column. */
export interface Stretch {
  readonly column: number;
  readonly columns: number;
  readonly text: string;
  /** A number in the palette of sixteen, or null for the default colour. */
  readonly colour: number | null;
  readonly isBold: boolean;
  readonly isDim: boolean;
}

/** The content of a row for some time. */
export interface Showing {
  readonly row: number;
  readonly stretches: readonly Stretch[];
  readonly fromMs: number;
  /** Absent if it stays to the end. */
  readonly toMs?: number;
}

export interface Recording {
  readonly size: TerminalSize;
  readonly endMs: number;
  readonly showings: readonly Showing[];
}

/** Changes in quicker succession are shown as one. */
const FRAME_MS = 120;
const BETWEEN_MS = 60;

/** @param longestWaitMs longer pauses are cut to this. */
export async function replay(
  pieces: readonly Piece[],
  { columns, rows }: TerminalSize,
  longestWaitMs: number,
): Promise<Recording> {
  const terminal = new xterm.Terminal({ cols: columns, rows, allowProposedApi: true });
  const now = new Map<number, { key: string; fromMs: number; stretches: readonly Stretch[] }>();
  const showings: Showing[] = [];
  let timeMs = 0;
  let frameMs = Number.NEGATIVE_INFINITY;

  const look = (): void => {
    frameMs = timeMs;
    for (let row = 0; row < rows; row += 1) {
      const stretches = stretchesIn(terminal, row);
      const key = JSON.stringify(stretches);
      const before = now.get(row);
      if (before?.key === key) continue;
      if (before !== undefined) showings.push({ row, ...shown(before), toMs: timeMs });
      now.set(row, { key, fromMs: timeMs, stretches });
    }
  };
  for (const [index, { afterMs, bytes }] of pieces.entries()) {
    timeMs += Math.min(afterMs, longestWaitMs);
    await new Promise<void>((resolve) => terminal.write(bytes, resolve));
    const next = pieces[index + 1];
    if (next === undefined || (next.afterMs > BETWEEN_MS && timeMs - frameMs >= FRAME_MS)) look();
  }
  terminal.dispose();
  for (const [row, before] of now) showings.push({ row, ...shown(before) });
  return {
    size: { columns, rows },
    endMs: timeMs,
    showings: showings.filter(({ stretches }) => stretches.length > 0),
  };
}

const shown = ({ fromMs, stretches }: { fromMs: number; stretches: readonly Stretch[] }) => ({
  fromMs,
  stretches,
});

/** Two spaces end a piece of text, so that the columns of a table keep their places with any font. */
function stretchesIn(terminal: InstanceType<typeof xterm.Terminal>, row: number): Stretch[] {
  const line = terminal.buffer.active.getLine(terminal.buffer.active.baseY + row);
  const found: Stretch[] = [];
  let blanks = 0;
  for (let column = 0; column < (line?.length ?? 0); column += 1) {
    const cell = line?.getCell(column);
    if (cell === undefined || cell.getWidth() === 0) continue;
    const text = cell.getChars() === '' ? ' ' : cell.getChars();
    if (text === ' ') {
      blanks += 1;
      continue;
    }
    const stretch: Stretch = {
      column,
      columns: cell.getWidth(),
      text,
      colour: cell.isFgPalette() ? cell.getFgColor() : null,
      isBold: cell.isBold() !== 0,
      isDim: cell.isDim() !== 0,
    };
    const last = found.at(-1);
    if (last !== undefined && blanks < 2 && isAlike(last, stretch)) {
      found[found.length - 1] = {
        ...last,
        columns: column + cell.getWidth() - last.column,
        text: `${last.text}${' '.repeat(blanks)}${text}`,
      };
    } else found.push(stretch);
    blanks = 0;
  }
  return found;
}

const isAlike = (a: Stretch, b: Stretch): boolean =>
  a.colour === b.colour &&
  a.isBold === b.isBold &&
  a.isDim === b.isDim &&
  (isBlock(a.text) || isBlock(b.text) ? a.text.startsWith(b.text) : true);

/** Parts of a progress bar. They are drawn as areas, because fonts leave gaps between them. */
export const isBlock = (text: string): boolean => /^(?:█+|░+)$/.test(text);
