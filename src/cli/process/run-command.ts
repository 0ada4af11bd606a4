import { createProgram } from '../commands/program.ts';
import type { Session } from '../commands/session.ts';
import type { Output } from '../terminal/output.ts';
import { explain } from './errors.ts';
import { EXIT, type ExitCode } from './exit-code.ts';

/** Runs one command line and resolves to its exit code. Prints errors; never rejects. */
export async function runCommand(
  argv: readonly string[],
  surroundings: Omit<Session, 'endWith'>,
): Promise<ExitCode> {
  let code: ExitCode = EXIT.complete;
  const session: Session = {
    ...surroundings,
    endWith: (ended) => {
      code = ended;
    },
  };
  try {
    // Without a command, print the help.
    await createProgram(session).parseAsync(argv.length <= 2 ? [...argv, '--help'] : argv);
    return code;
  } catch (error) {
    return tellError(error, session.output);
  }
}

/** Prints an error in one or two lines. Returns the exit code. */
export function tellError(error: unknown, output: Output): ExitCode {
  const { code, lines } = explain(error);
  const [message, ...more] = lines;
  if (message !== undefined) output.error(message, ...more);
  return code;
}
