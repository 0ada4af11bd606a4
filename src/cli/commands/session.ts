import { basename } from 'node:path';
import type { Clock } from '../../domain/clock.ts';
import type { ExitCode } from '../process/exit-code.ts';
import type { Interrupt } from '../process/signals.ts';
import type { Output } from '../terminal/output.ts';
import type { Redactor } from '../terminal/redact.ts';

/** What every command receives: its environment, its output, and how to set the exit code. */
export interface Session {
  readonly env: NodeJS.ProcessEnv;
  /** How to call this program, so that printed examples work: `longtail` or `npx longtail`. */
  readonly self: string;
  readonly clock: Clock;
  readonly output: Output;
  readonly redactor: Redactor;
  /** From now on the first signal requests a halt instead of ending the process, and the second one ends it. Prints `words`. */
  readonly catchSignals: (words?: string) => Interrupt;
  /** Registers work to do before the process exits, also by force. It receives its deadline in milliseconds. */
  readonly beforeExit: (work: (deadlineMs: number) => Promise<void>) => void;
  /** Sets the exit code for when the command has finished. @default 0 */
  readonly endWith: (code: ExitCode) => void;
}

/** `longtail` if the shell finds it. In a checkout, or in a project that depends on it, only npx does. */
export function nameOfSelf(argv: readonly string[], env: NodeJS.ProcessEnv): string {
  const isInstalled =
    argv[1] !== undefined && basename(argv[1]) === 'longtail' && env.npm_execpath === undefined;
  return isInstalled ? 'longtail' : 'npx longtail';
}
