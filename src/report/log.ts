import type { Clock } from '../domain/clock.ts';
import { plain } from './render.ts';

/** From what everyone must see to what only a bug hunt needs. */
export const LOG_LEVELS = ['error', 'warn', 'info', 'debug', 'trace'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** What happened: for the log its `name` and `fields`, for a person who asked for no log its `text`, if it matters. */
export interface LogEntry {
  readonly level: LogLevel;
  /** Two words at most, joined by a dot: `slice.failed`. */
  readonly name: string;
  readonly fields: LogFields;
  readonly text?: string;
}

export type Log = (entry: LogEntry) => void;

interface LogOptions {
  /** Undefined: no log was asked for. */
  readonly level: LogLevel | undefined;
  readonly clock: Clock;
  readonly write: (line: string) => void;
}

/**
 * With a level: one line an event, `2026-01-31T12:00:00.000Z warn slice.failed date=2026-01-30 reason="…"`, each name and
 * value once. Without: the sentences of what matters alone.
 */
export function createLog({ level, clock, write }: LogOptions): Log {
  if (level === undefined) {
    return ({ text }) => {
      if (text !== undefined) write(plain(text));
    };
  }
  const most = LOG_LEVELS.indexOf(level);
  return (entry) => {
    if (LOG_LEVELS.indexOf(entry.level) > most) return;
    write(`${new Date(clock.now()).toISOString()} ${entry.level} ${entry.name}${formatFields(entry.fields)}`);
  };
}

function formatFields(fields: LogFields): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${formatValue(value ?? null)}`)
    .join('');
}

function formatValue(value: string | number | boolean | null): string {
  if (typeof value !== 'string') return String(value);
  const text = plain(value);
  return /^[^\s"=]+$/.test(text) ? text : JSON.stringify(text);
}
