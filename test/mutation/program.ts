/** Faults made by a program in every machine, and who notices them: `node test/model/check-mutants.ts --program`. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { MachineName } from '../machines/tables/sheets.ts';
import { KINDS } from './chart-mutants.ts';
import { EQUIVALENT } from './equivalent.ts';
import type { Mutant } from './mutant.ts';
import { Judge, WalkSizesOnDemand } from './processes.ts';
import { findByTests, testsOf, writeConfig } from './tests.ts';
import type { Finding, ModelName } from './walks.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Far more than a mutant's tables and walks take: their worlds are bounded. */
const TIME_LIMIT_MS = 120_000;

/** Whose states are walked to notice what is wrong with a machine. */
const MODEL_OF: Readonly<Record<MachineName, ModelName | undefined>> = {
  'batch worker': 'system',
  'rate limiter': 'system',
  'concurrency controller': undefined,
  'lease keeper': 'leases',
  coordinator: 'system',
  'run life': undefined,
  verification: undefined,
};

interface Outcome {
  readonly mutant: Mutant;
  readonly finding: Finding | undefined;
}

export interface ProgramOptions {
  readonly machines: readonly MachineName[];
  /** Only mutants whose names have this. */
  readonly words: string;
  /** An empty folder. */
  readonly workplace: string;
}

/** @returns whether every mutant is noticed, or is one that cannot be. */
export async function checkProgram({ machines, words, workplace }: ProgramOptions): Promise<boolean> {
  const startedAtMs = Date.now();
  const judges = [0, 1].map(() => new Judge(ROOT, TIME_LIMIT_MS));
  try {
    const [first] = judges;
    if (first === undefined) throw new Error('nobody judges');
    const mutants = await listMutants(first, machines);
    const chosen = mutants.filter(({ name }) => name.includes(words));
    await checkUnharmed(first);
    const sizes = new WalkSizesOnDemand(ROOT);
    const config = await writeConfig(workplace, ROOT, join(ROOT, 'test/mutation/plant.ts'));
    const outcomes = await judgeAll(judges, chosen, sizes, config);
    report(outcomes, Date.now() - startedAtMs);
    return checkSurvivors(outcomes, mutants);
  } finally {
    for (const judge of judges) judge.stop();
  }
}

async function listMutants(judge: Judge, machines: readonly MachineName[]): Promise<readonly Mutant[]> {
  const lists: Mutant[][] = [];
  for (const machine of machines) {
    const report = await judge.ask({ type: 'list', machine });
    if (report.type !== 'listed') throw new Error(`no mutants of the ${machine} can be made`);
    const names = new Set(report.mutants.map(({ name }) => name));
    if (names.size < report.mutants.length) throw new Error(`two mutants of the ${machine} have one name`);
    lists.push([...report.mutants]);
  }
  return lists.flat();
}

/** Without a fault the tables must find none, or what they find says nothing. */
async function checkUnharmed(judge: Judge): Promise<void> {
  const report = await judge.ask({ type: 'judge', mutant: undefined, model: undefined, sizes: {} });
  if (report.type !== 'judged') throw new Error('the tables cannot be asked');
  if (report.finding !== undefined)
    throw new Error(`the machines as they are fail: ${report.finding.detail}`);
}

async function judgeAll(
  judges: readonly Judge[],
  chosen: readonly Mutant[],
  sizes: WalkSizesOnDemand,
  config: string,
): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = [];
  const queue = [...chosen];
  const work = async (judge: Judge): Promise<void> => {
    for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
      const finding = await judgeOne(judge, mutant, sizes, config);
      outcomes.push({ mutant, finding });
      // Those that the tables find are too many to be read.
      if (finding?.by !== 'table') console.log(lineOf({ mutant, finding }));
    }
  };
  await Promise.all(judges.map(work));
  return outcomes;
}

async function judgeOne(
  judge: Judge,
  mutant: Mutant,
  sizes: WalkSizesOnDemand,
  config: string,
): Promise<Finding | undefined> {
  const byTable = await judge.ask({ type: 'judge', mutant, model: undefined, sizes: {} });
  if (byTable.type === 'judged' && byTable.finding !== undefined) return byTable.finding;
  const model = MODEL_OF[mutant.machine];
  if (model !== undefined) {
    const byWalk = await judge.ask({ type: 'judge', mutant, model, sizes: await sizes.of(model) });
    if (byWalk.type === 'judged' && byWalk.finding !== undefined) return byWalk.finding;
  }
  const env = { LONGTAIL_MUTANT: JSON.stringify(mutant) };
  return findByTests(ROOT, config, testsOf(mutant.machine), env);
}

function lineOf({ mutant: { machine, name }, finding }: Outcome): string {
  const mark = finding === undefined ? '✗' : '✓';
  return `${mark}  ${machine}: ${name.padEnd(60)}  ${finding?.by ?? ''}  ${finding?.detail ?? 'NOBODY NOTICES'}`.slice(
    0,
    220,
  );
}

function report(outcomes: readonly Outcome[], tookMs: number): void {
  const machines = [...new Set(outcomes.map(({ mutant }) => mutant.machine))];
  const countOf = (is: (outcome: Outcome) => boolean): string => `${outcomes.filter(is).length}`.padStart(6);
  console.log(`\n${'mutants'.padEnd(24)}${KINDS.map((kind) => kind.padStart(13)).join('')}`);
  for (const machine of machines) {
    const counts = KINDS.map((kind) =>
      countOf(({ mutant }) => mutant.machine === machine && mutant.kind === kind).padStart(13),
    );
    console.log(`${machine.padEnd(24)}${counts.join('')}`);
  }
  console.log(`\n${outcomes.length} mutants in ${Math.round(tookMs / 1_000)} s, noticed by:`);
  const checks = [...new Set(outcomes.map(({ finding }) => finding?.by ?? 'nobody'))].sort();
  console.log(`${''.padEnd(28)}${machines.map((machine) => machine.padStart(24)).join('')}`);
  for (const by of checks) {
    const counts = machines.map((machine) =>
      countOf(
        ({ mutant, finding }) => mutant.machine === machine && (finding?.by ?? 'nobody') === by,
      ).padStart(24),
    );
    console.log(`  ${by.padEnd(26)}${counts.join('')}`);
  }
}

/** What nobody notices must be what nobody can notice, and the other way round. */
function checkSurvivors(outcomes: readonly Outcome[], all: readonly Mutant[]): boolean {
  let isAsItShouldBe = true;
  const complain = (text: string): void => {
    isAsItShouldBe = false;
    console.log(text);
  };
  for (const { mutant, finding } of outcomes) {
    const isEquivalent = Object.hasOwn(EQUIVALENT[mutant.machine], mutant.name);
    if (finding === undefined && !isEquivalent) complain(`unnoticed: ${mutant.machine}: ${mutant.name}`);
    if (finding !== undefined && isEquivalent) {
      complain(`not equivalent: ${mutant.machine}: ${mutant.name}: noticed by ${finding.by}`);
    }
  }
  for (const machine of new Set(all.map((mutant) => mutant.machine))) {
    for (const name of Object.keys(EQUIVALENT[machine])) {
      const isThere = all.some((mutant) => mutant.machine === machine && mutant.name === name);
      if (!isThere) complain(`listed as equivalent, and no mutant: ${machine}: ${name}`);
    }
  }
  return isAsItShouldBe;
}
