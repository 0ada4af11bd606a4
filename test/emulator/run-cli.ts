import { Command } from 'commander';
import { registerEmulator } from '../../src/cli/commands/emulator/command.ts';
import { LongtailError } from '../../src/domain/errors.ts';

/** The one command on its own, as the program runs it: errors in one line, wrong use ends with 2. */
const program = new Command('longtail');
registerEmulator(program);
try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof LongtailError)) throw error;
  process.stderr.write(`${error.message} ${error.nextStep}\n`);
  process.exitCode = 2;
}
