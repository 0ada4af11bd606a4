import pc from 'picocolors';
import { runCommand } from '../../../src/cli/process/run-command.ts';
import type { Output } from '../../../src/cli/terminal/output.ts';
import { createRedactor } from '../../../src/cli/terminal/redact.ts';
import { systemClock } from '../../../src/domain/clock.ts';

/** Runs a command line within the test's own process, for what starts nothing: help, wrong use. */
export async function runHere(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  const out: string[] = [];
  const err: string[] = [];
  const redactor = createRedactor();
  const colours = pc.createColors(false);
  const output: Output = {
    print: (text) => out.push(redactor.redact(`${text}\n`)),
    note: (text) => err.push(redactor.redact(`${text}\n`)),
    error: (message, ...more) => err.push(redactor.redact(`longtail: ${[message, ...more].join('\n')}\n`)),
    line: (text) => err.push(redactor.redact(`${text}\n`)),
    speakJson: () => undefined,
    hush: () => undefined,
    live: () => undefined,
    isTerminal: false,
    columns: () => 80,
    colours,
    noteColours: colours,
    flush: () => Promise.resolve(),
  };
  const code = await runCommand(['node', 'longtail', ...args], {
    env,
    self: 'longtail',
    clock: systemClock,
    output,
    redactor,
    catchSignals: () => {
      throw new Error('wrong use was to be found before anything is started');
    },
    beforeExit: () => {
      throw new Error('wrong use was to be found before anything is started');
    },
  });
  return { code, stdout: out.join(''), stderr: err.join('') };
}
