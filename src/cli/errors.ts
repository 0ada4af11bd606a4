import { CommanderError } from 'commander';
import { LongtailError } from '../errors.ts';
import { EXIT, type ExitCode, exitCodeOfError } from './exit-code.ts';

const FRAMES_TOLD = 6;

/** Wrong use of the command line; `nextStep` is a whole sentence. */
export function usageError(message: string, nextStep: string): LongtailError {
  return new LongtailError('BAD_OPTION', message, nextStep);
}

/** What to tell of an error, in one or two lines, and what to exit with. Undefined lines: it was told already. */
export function explain(error: unknown): { readonly code: ExitCode; readonly lines: readonly string[] } {
  if (error instanceof LongtailError) {
    return { code: exitCodeOfError(error.code), lines: [error.message, error.nextStep] };
  }
  // Help and version end by one of these, too, with 0.
  if (error instanceof CommanderError)
    return { code: error.exitCode === 0 ? EXIT.complete : EXIT.usage, lines: [] };
  const message = error instanceof Error ? error.message || error.name : String(error);
  return {
    code: EXIT.failed,
    lines: [
      `Something went wrong inside longtail: ${firstLine(message)}`,
      'What was written is whole: run it again. If it stays, report it with the output of --log-level debug.',
    ],
  };
}

/** For a bug hunt: where it was thrown, as `sync.js:12:3 < main.js:40:1`. No message, no folders. */
export function framesOf(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  const places = [...stack.matchAll(/([^\s/\\(]+:\d+:\d+)\)?$/gm)].map(([, place = '']) => place);
  return places.slice(0, FRAMES_TOLD).join(' < ');
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}
