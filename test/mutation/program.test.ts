// @module-tag long
/**
 * A sample of the faults that a program makes, judged by the tables alone: that takes seconds. All of them, by all checks:
 * `npm run check:mutants`.
 */
import { expect, test } from 'vitest';
import { MACHINE_NAMES } from '../machines/tables/sheets.ts';
import { KINDS } from './chart-mutants.ts';
import { EQUIVALENT } from './equivalent.ts';
import { findInTables } from './in-tables.ts';
import { type Mutant, mutantsOf, plant } from './mutant.ts';

/** One in so many, and the first of each kind. */
const EVERY = 20;

function isFound(mutant: Mutant): boolean {
  const remove = plant(mutant);
  try {
    return findInTables([mutant.machine]) !== undefined;
  } finally {
    remove();
  }
}

test('without a fault the tables find none, also when one has been there', () => {
  expect(findInTables(MACHINE_NAMES)).toBeUndefined();
  for (const machine of MACHINE_NAMES) {
    const [first] = mutantsOf(machine);
    if (first !== undefined) plant(first)();
  }
  expect(findInTables(MACHINE_NAMES)).toBeUndefined();
});

test.each(MACHINE_NAMES)('%s: every fault of a sample is found', (machine) => {
  const mutants = mutantsOf(machine).filter(({ name }) => !Object.hasOwn(EQUIVALENT[machine], name));
  const firsts = KINDS.map((kind) => mutants.find((mutant) => mutant.kind === kind));
  const sample = mutants.filter((mutant, index) => index % EVERY === 0 || firsts.includes(mutant));
  const missed = sample.filter((mutant) => !isFound(mutant)).map(({ name }) => name);
  console.info(`${machine}: ${sample.length} of ${mutants.length} mutants, ${missed.length} missed`);
  expect(sample.length).toBeGreaterThan(8);
  expect(missed).toEqual([]);
});

/** They were there for months, and everything passed. */
test.each<Mutant>([
  {
    machine: 'batch worker',
    kind: 'key',
    name: 'an answer does not end a row of failures',
    lacks: { action: 'noteAnswer', part: 'key failures' },
  },
  { machine: 'coordinator', kind: 'action', name: 'halting, exit: without abandonTokens' },
])('$machine: $name', (mutant) => {
  expect(isFound(mutant)).toBe(true);
});
