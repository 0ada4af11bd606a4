import type { WriteStream } from 'node:tty';
import pc from 'picocolors';
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

  const note = (text: string): void => write(stderr, `${withoutLive()}${inLines(text)}\n${withLive()}`);
  const noteColours = pc.createColors(hasColours(stderr, env));

  return {
    print(text) {
      if (shown.length === 0 || stdout.isTTY !== true) return write(stdout, `${text}\n`);
      write(stderr, withoutLive());
      write(stdout, `${text}\n`);
      write(stderr, withLive());
    },
    note,
    error: (message, ...more) =>
      note([`${noteColours.red('longtail:')} ${plain(message)}`, ...more.map(plain)].join('\n')),
    live(lines) {
      if (!isTerminal) return;
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
