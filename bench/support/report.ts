/** The report with the results of each part, as JSON and as Markdown. */
import type { Machine } from './machine.ts';

export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** A target, and what was measured. */
export interface Goal {
  readonly what: string;
  readonly wanted: string;
  readonly found: string;
  readonly reached: boolean;
}

/** What a part's `run` returns. `figures` are the numbers behind the tables, for drawing and comparing. */
export interface PartResult<Figures = unknown> {
  readonly title: string;
  readonly figures: Figures;
  readonly tables: readonly Table[];
  readonly goals: readonly Goal[];
  /** How it was measured, and what to know about it. */
  readonly notes: readonly string[];
}

/** A part in the report. Parts may be from different runs, but the figures of one part never are. */
export interface PartReport extends PartResult {
  readonly startedAt: string;
  readonly durationMs: number;
  /** 1 is the full size. */
  readonly scale: number;
  readonly runs: number;
  readonly machine: Machine;
}

export interface Report {
  readonly parts: Readonly<Record<string, PartReport>>;
}

export const goal = (what: string, wanted: string, found: string, reached: boolean): Goal => ({
  what,
  wanted,
  found,
  reached,
});

export function markdown(report: Report): string {
  const parts = Object.values(report.parts);
  const lines = ['# The bench', ''];
  for (const line of new Set(parts.map(({ machine }) => machineLine(machine)))) lines.push(line, '');
  lines.push(...goalLines(parts));
  for (const part of parts) lines.push(...partLines(part));
  return `${lines.join('\n').trimEnd()}\n`;
}

function machineLine(machine: Machine): string {
  return (
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GB, ${machine.system}; Node ${machine.node}; ` +
    `${machine.postgres}.`
  );
}

function goalLines(parts: readonly PartReport[]): string[] {
  const rows = parts.flatMap(({ goals, scale }) =>
    goals.map(({ what, wanted, found, reached }) => {
      const verdict = scale < 1 ? 'a small run' : reached ? 'yes' : '**no**';
      return [what, wanted, found, verdict];
    }),
  );
  return ['## What had to be shown', '', ...tableLines(['', 'wanted', 'found', 'reached'], rows), ''];
}

function partLines(part: PartReport): string[] {
  const minutes = (part.durationMs / 60_000).toFixed(1);
  const size = part.scale === 1 ? '' : ` A small run: ${part.scale} of the size.`;
  const lines = [
    `## ${part.title}`,
    '',
    `${part.startedAt}, ${minutes} minutes, medians of ${part.runs} runs unless said otherwise.${size}`,
    '',
  ];
  for (const { title, columns, rows } of part.tables) {
    lines.push(`**${title}**`, '', ...tableLines(columns, rows), '');
  }
  for (const note of part.notes) lines.push(`- ${note}`);
  return [...lines, ''];
}

function tableLines(columns: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  const rule = columns.map((_, index) => (index === 0 ? '---' : '--:'));
  return [line(columns), line(rule), ...rows.map(line)];
}
