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

/** How the lines of a log look: words for people, or one JSON object each. */
export const LOG_FORMATS = ['text', 'json'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** What a log is about, on every line of JSON. */
export interface LogSubject {
  readonly site: string;
  /** The run's id in the database, once there is one. */
  run?: string;
}

interface LogOptions {
  /** Undefined: no log. */
  readonly level: LogLevel | undefined;
  /** @default 'text' */
  readonly format?: LogFormat | undefined;
  /** For JSON. */
  readonly subject?: LogSubject | undefined;
  readonly clock: Clock;
  readonly write: (line: string) => void;
}

/**
 * With a level: one line an event, `2026-01-31T12:00:00.000Z warn slice.failed date=2026-01-30 reason="…"`, each name and
 * value once; as JSON, see {@link jsonLine}. Without: the sentences of what matters alone.
 */
export function createLog({ level, format, subject, clock, write }: LogOptions): Log {
  if (level === undefined) {
    return ({ text }) => {
      if (text !== undefined) write(plain(text));
    };
  }
  const max = LOG_LEVELS.indexOf(level);
  return (entry) => {
    if (LOG_LEVELS.indexOf(entry.level) > max) return;
    if (format === 'json') {
      write(jsonLine(clock.now(), entry, subject));
      return;
    }
    write(`${new Date(clock.now()).toISOString()} ${entry.level} ${entry.name}${formatFields(entry.fields)}`);
  };
}

/** One event as JSON: `time`, `level`, `event`, `message` if there is one, the subject, then the event's own fields. */
export function jsonLine(
  timeMs: number,
  { level, name, text, fields }: LogEntry,
  subject: LogSubject | undefined,
): string {
  const time = new Date(timeMs).toISOString();
  const own = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
  return JSON.stringify({ time, level, event: name, ...subject, message: text, ...own });
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
