/**
 * The check is checked: makes faults in the machines, and sees what notices each first: the tables of states and events,
 * the walks through all states of the small worlds, the walks of single machines, or no more than some other test. Exit
 * code 1 where a fault goes unnoticed.
 *
 * The list (`mutants.ts`) is of edits that somebody thought of. The program (`test/mutation`) leaves out, one after the
 * other, each action, guard, transition, delay, target and child of each machine, and each part of what its actions do.
 *
 *   node test/model/check-mutants.ts [--list] [--program [--machine NAME]] [WORDS OF A NAME]
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { MACHINE_NAMES } from '../machines/tables/sheets.ts';
import { checkEdits } from '../mutation/edits.ts';
import { checkProgram } from '../mutation/program.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    list: { type: 'boolean', default: false },
    program: { type: 'boolean', default: false },
    machine: { type: 'string', multiple: true },
  },
});
const machines = MACHINE_NAMES.filter((name) => values.machine?.includes(name) ?? true);
if (machines.length < (values.machine?.length ?? 0)) {
  throw new Error(`--machine takes one of: ${MACHINE_NAMES.join(', ')}`);
}
const words = positionals.join(' ');
const both = values.list === values.program;
const workplace = join(fileURLToPath(new URL('../..', import.meta.url)), '.tmp', `mutants-${process.pid}`);

try {
  const verdicts: boolean[] = [];
  if (both || values.list) verdicts.push(await checkEdits(words, join(workplace, 'edits')));
  if (both || values.program) {
    verdicts.push(await checkProgram({ machines, words, workplace: join(workplace, 'program') }));
  }
  if (verdicts.includes(false)) process.exitCode = 1;
} finally {
  await rm(workplace, { recursive: true, force: true });
}
