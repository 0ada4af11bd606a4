import type { WriteStream } from 'node:tty';
import { stripVTControlCharacters } from 'node:util';
import pc from 'picocolors';
import { jsonLine, type LogLevel, type LogSubject } from '../../report/log.ts';
import { displayWidth, plain, wrapped } from '../../report/render.ts';
import type { Redactor } from './redact.ts';

const ESC = String.fromCharCode(27);

type Colours = ReturnType<typeof pc.createColors>;
type Stream = NodeJS.WritableStream & Partial<Pick<WriteStream, 'isTTY' | 'columns'>>;

/** Results go to standard output, everything else to standard error. Secrets are redacted. */
export interface Output {
  /** A result, on standard output. */
  print(text: string): void;
  /** Something to know, on standard error, above the live lines. */
  note(text: string): void;
  /** A line of a log, on standard error, as it stands. */
  line(text: string): void;
  /** From now on standard error carries JSON alone: notes and errors are lines of a log, too. */
  speakJson(subject: LogSubject, now: () => number): void;
  /** From now on nothing but errors and results is said. */
  hush(): void;
  /** An error and its next step, on standard error. */
  error(message: string, ...more: readonly string[]): void;
  /** Replaces the live lines at the foot of the terminal. Without a terminal, nothing. An empty list removes them. */
  live(lines: readonly string[]): void;
  /** Whether standard error is a terminal whose lines can be replaced. */
  readonly isTerminal: boolean;
  readonly columns: () => number;
  /** Colours of standard output. */
  readonly colours: Colours;
  /** Colours of standard error. */
  readonly noteColours: Colours;
  /** Resolves when all output has left the process, or can no longer do so. */
  flush(): Promise<void>;
}

interface OutputOptions {
  readonly stdout: Stream;
  readonly stderr: Stream;
  readonly env: NodeJS.ProcessEnv;
  readonly redactor: Redactor;
}

export function createOutput({ stdout, stderr, env, redactor }: OutputOptions): Output {
  const isTerminal = stderr.isTTY === true && env.TERM !== 'dumb';
  const gone = new Set<Stream>();
  for (const stream of [stdout, stderr]) {
    // The reader (`| head`) or the terminal has gone: print nothing more, and no error about it.
    stream.on('error', () => gone.add(stream));
  }
  let shown: readonly string[] = [];
  const write = (stream: Stream, text: string): void => {
    if (!gone.has(stream)) stream.write(redactor.redact(text));
  };
  /** Moves up to the first live line and clears from there. Written together with what follows, otherwise it flickers. */
  const withoutLive = (): string => (shown.length === 0 ? '' : `${ESC}[${shown.length}A\r${ESC}[J`);
  const withLive = (): string => shown.map((line) => `${line}\n`).join('');
  const columns = (): number => Math.max(20, stderr.columns ?? 80);

  /** Wraps at word boundaries. Redacts first: a line break inside a secret would hide it from the redactor. */
  const inLines = (text: string): string => {
    if (!isTerminal) return text;
    const lines = redactor.redact(text).split('\n');
    return lines.map((line) => wrapped(line, columns())).join('\n');
  };

  let manner: 'words' | 'errorsAlone' | ((level: LogLevel, name: string, text: string) => string) = 'words';
  const line = (text: string): void => write(stderr, `${withoutLive()}${text}\n${withLive()}`);
  const note = (text: string): void => {
    if (manner === 'errorsAlone') return;
    line(manner === 'words' ? inLines(text) : manner('info', 'note', text));
  };
  const noteColours = pc.createColors(hasColours(stderr, env));

  return {
    print(text) {
      if (shown.length === 0 || stdout.isTTY !== true) return write(stdout, `${text}\n`);
      write(stderr, withoutLive());
      write(stdout, `${text}\n`);
      write(stderr, withLive());
    },
    note,
    line,
    speakJson(subject, now) {
      manner = (level, name, text) =>
        jsonLine(now(), { level, name, text: stripVTControlCharacters(text), fields: {} }, subject);
    },
    hush() {
      manner = 'errorsAlone';
    },
    error(message, ...more) {
      if (typeof manner === 'function') return line(manner('error', 'error', [message, ...more].join(' ')));
      const lines = [`${noteColours.red('longtail:')} ${plain(message)}`, ...more.map(plain)];
      line(inLines(lines.join('\n')));
    },
    live(lines) {
      if (!isTerminal || manner !== 'words') return;
      const before = withoutLive();
      // A line that wraps would take two rows, and the next removal would leave one of them.
      shown = lines.filter((line) => displayWidth(line) < columns());
      write(stderr, before + withLive());
    },
    isTerminal,
    columns,
    colours: pc.createColors(hasColours(stdout, env)),
    noteColours,
    async flush() {
      await Promise.all([stdout, stderr].map((stream) => flushed(stream, gone)));
    },
  };
}

function hasColours(stream: Stream, env: NodeJS.ProcessEnv): boolean {
  if (env.NO_COLOR) return false;
  if (env.FORCE_COLOR) return env.FORCE_COLOR !== '0';
  return stream.isTTY === true && env.TERM !== 'dumb';
}

function flushed(stream: Stream, gone: ReadonlySet<Stream>): Promise<void> {
  if (gone.has(stream)) return Promise.resolve();
  return new Promise((resolve) => {
    stream.once('error', () => resolve());
    stream.write('', () => resolve());
  });
}
