import type { Clock } from '../domain/clock.ts';
import { plain } from './render.ts';

/** From the most important to the most detailed. */
export const LOG_LEVELS = ['error', 'warn', 'info', 'debug', 'trace'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** One event: the log shows `name` and `fields`; without a log, a person sees `text`, if any. */
export interface LogEntry {
  readonly level: LogLevel;
  /** At most two words, joined by a dot: `slice.failed`. */
  readonly name: string;
  readonly fields: LogFields;
  readonly text?: string;
}

export type Log = (entry: LogEntry) => void;

interface LogOptions {
  /** Undefined: no log. */
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
  const max = LOG_LEVELS.indexOf(level);
  return (entry) => {
    if (LOG_LEVELS.indexOf(entry.level) > max) return;
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
