import { basename } from 'node:path';
import type { Clock } from '../../domain/clock.ts';
import type { ExitCode } from '../process/exit-code.ts';
import type { Interrupt } from '../process/signals.ts';
import type { Output } from '../terminal/output.ts';
import type { Redactor } from '../terminal/redact.ts';

/** What every command gets: its surroundings, and where to say how it ended. */
export interface Session {
  readonly env: NodeJS.ProcessEnv;
  /** How this program was called, for examples that work as they stand: `longtail`, or `npx longtail`. */
  readonly self: string;
  readonly clock: Clock;
  readonly output: Output;
  readonly redactor: Redactor;
  /** From now on a signal asks for a halt instead of ending the process; a second one ends it. */
  readonly catchSignals: (words?: string) => Interrupt;
  /** Work for every way out, a forced one included. It gets as long as it may take, in milliseconds. */
  readonly beforeExit: (work: (deadlineMs: number) => Promise<void>) => void;
  /** The code that the process ends with, once the command is over. */
  readonly endWith: (code: ExitCode) => void;
}

/** In a checkout, or a project that has it as a dependency, only npx finds it. */
export function nameOfSelf(argv: readonly string[], env: NodeJS.ProcessEnv): string {
  const isInstalled =
    argv[1] !== undefined && basename(argv[1]) === 'longtail' && env.npm_execpath === undefined;
  return isInstalled ? 'longtail' : 'npx longtail';
}
