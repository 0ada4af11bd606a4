import { CommanderError } from 'commander';
import { LongtailError } from '../../domain/errors.ts';
import { EXIT, type ExitCode, exitCodeOfError } from './exit-code.ts';

/** Wrong use of the command line; `nextStep` is a whole sentence. */
export function usageError(message: string, nextStep: string): LongtailError {
  return new LongtailError('BAD_OPTION', message, nextStep);
}

/** The exit code of an error, and one or two lines that explain it. No lines if commander has already printed it. */
export function explain(error: unknown): { readonly code: ExitCode; readonly lines: readonly string[] } {
  if (error instanceof LongtailError) {
    return { code: exitCodeOfError(error.code), lines: [error.message, error.nextStep] };
  }
  // Commander also throws this after printing help or the version, with code 0.
  if (error instanceof CommanderError)
    return { code: error.exitCode === 0 ? EXIT.complete : EXIT.usage, lines: [] };
  const message = error instanceof Error ? error.message || error.name : String(error);
  return {
    code: EXIT.failed,
    lines: [
      `Something went wrong inside longtail: ${firstLine(message)}`,
      'The data in the database is intact: run it again. If it happens again, report it with the output of --log-level debug.',
    ],
  };
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}
