/**
 * Runs the built command line under faults from outside, with a real PostgreSQL and the emulator as processes:
 * `npm run chaos -- [--kills 50] [--seed 1] [--only TEXT]`. Prints a Markdown table: each fault, how often, what happened,
 * what was lost. Exits with 1 if anything was lost.
 */

import { parseArgs } from 'node:util';
import { FAULTS } from '../test/chaos/support/faults.ts';
import { chances } from '../test/support/chance.ts';
import { startTestServer } from '../test/support/postgres.ts';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '50' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
  },
});
const kills = Number(values.kills);
const seed = Number(values.seed);
if (!Number.isSafeInteger(kills) || kills < 1 || !Number.isSafeInteger(seed)) {
  console.error('--kills is a whole number from 1 on, --seed any whole number.');
  process.exit(2);
}

const startedAtMs = Date.now();
await using server = await startTestServer();
console.log(`| fault | times | what happened | what was lost |\n|---|--:|---|---|`);
let lost = 0;
for (const [index, { name, times, strike }] of FAULTS.entries()) {
  if (!name.includes(values.only)) continue;
  const count = index === 0 ? kills : times.many;
  const { what, problems, skipped } = await strike({ server, chance: chances(seed + index) }, count);
  const told = skipped === undefined ? what : `skipped: ${skipped}`;
  lost += problems.length;
  const verdict = skipped === undefined ? (problems.length === 0 ? 'nothing' : problems.join('<br>')) : '–';
  console.log(`| ${name} | ${skipped === undefined ? count : 0} | ${told} | ${verdict} |`);
}
const seconds = Math.round((Date.now() - startedAtMs) / 1_000);
console.log(
  `\nSeed ${seed}, ${seconds} s. After each fault: a plain run, the table compared with what the server has.`,
);
if (lost > 0) process.exitCode = 1;
