import { CommanderError } from 'commander';
import { LongtailError } from '../../domain/errors.ts';
import { EXIT, type ExitCode, exitCodeOfError } from './exit-code.ts';

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

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}
