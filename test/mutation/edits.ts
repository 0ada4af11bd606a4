/** Faults that somebody thought of, as edits of the sources: `node test/model/check-mutants.ts --list`. */
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MUTANTS, type Mutant } from '../model/mutants.ts';
import { Judge, WalkSizesOnDemand } from './processes.ts';
import { ALL_TESTS, findByTests, writeConfig } from './tests.ts';
import type { Finding, ModelName } from './walks.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Far more than the tables and walks take: their worlds are bounded. */
const TIME_LIMIT_MS = 120_000;

interface Outcome {
  readonly mutant: Mutant;
  readonly finding: Finding | undefined;
}

/** A copy of the sources, and who judges it. */
interface Place {
  readonly path: string;
  readonly config: string;
  readonly judge: Judge;
}

/** @returns whether every fault is noticed. */
export async function checkEdits(words: string, workplace: string): Promise<boolean> {
  const startedAtMs = Date.now();
  await checkThatTheyFit();
  const chosen = MUTANTS.filter(({ name }) => name.includes(words));
  const places: Place[] = [];
  try {
    for (const index of [0, 1]) places.push(await makePlace(join(workplace, `${index}`)));
    const [first] = places;
    if (first === undefined) throw new Error('nobody judges');
    const sizes = new WalkSizesOnDemand(ROOT);
    await checkUnharmed(first);
    const sound = new SoundTests(await writeConfig(join(workplace, 'sound'), ROOT));
    const outcomes = await judgeAll(places, chosen, sizes, sound);
    return report(outcomes, Date.now() - startedAtMs);
  } finally {
    for (const { judge } of places) judge.stop();
  }
}

/** An edit that no longer fits its source would be a fault that is never made. */
async function checkThatTheyFit(): Promise<void> {
  for (const { name, file, from } of MUTANTS) {
    const source = await readFile(join(ROOT, 'src/machines', file), 'utf8');
    const count = source.split(from).length - 1;
    if (count !== 1) throw new Error(`"${name}": what it replaces occurs ${count} times in ${file}`);
  }
}

/** A copy of all that a fault can reach. */
async function makePlace(path: string): Promise<Place> {
  await mkdir(path, { recursive: true });
  for (const part of ['src', 'test', 'package.json', 'tsconfig.json', 'biome.json']) {
    await cp(join(ROOT, part), join(path, part), { recursive: true });
  }
  await symlink(join(ROOT, 'node_modules'), join(path, 'node_modules'));
  const config = await writeConfig(path, path);
  return { path, config, judge: new Judge(path, TIME_LIMIT_MS) };
}

/** Without a fault the tables must find none, or what they find says nothing. The worlds are judged as they are measured. */
async function checkUnharmed({ judge }: Place): Promise<void> {
  const report = await judge.ask({ type: 'judge', mutant: undefined, model: undefined, sizes: {} });
  if (report.type !== 'judged') throw new Error('the tables cannot be asked');
  if (report.finding !== undefined)
    throw new Error(`the machines as they are fail: ${report.finding.detail}`);
}

/** Tests that find a fault must pass without one. Each is tried when it has found its first, for most never do. */
class SoundTests {
  readonly #config: string;
  readonly #tried = new Map<string, Promise<void>>();

  /** `config`: of the sources as they are. */
  constructor(config: string) {
    this.#config = config;
  }

  check(by: string): Promise<void> {
    const tried = this.#tried.get(by) ?? this.#try(by);
    this.#tried.set(by, tried);
    return tried;
  }

  async #try(by: string): Promise<void> {
    const tests = ALL_TESTS.filter(([name]) => name === by);
    const finding = await findByTests(ROOT, this.#config, tests);
    if (finding !== undefined) throw new Error(`the machines as they are fail: ${by}: ${finding.detail}`);
  }
}

async function judgeAll(
  places: readonly Place[],
  chosen: readonly Mutant[],
  sizes: WalkSizesOnDemand,
  sound: SoundTests,
): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = [];
  const queue = [...chosen];
  const work = async (place: Place): Promise<void> => {
    for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
      const outcome = { mutant, finding: await judgeOne(place, mutant, sizes, sound) };
      outcomes.push(outcome);
      console.log(lineOf(outcome));
    }
  };
  await Promise.all(places.map(work));
  return outcomes;
}

async function judgeOne(
  place: Place,
  mutant: Mutant,
  sizes: WalkSizesOnDemand,
  sound: SoundTests,
): Promise<Finding | undefined> {
  const file = join(place.path, 'src/machines', mutant.file);
  const source = await readFile(file, 'utf8');
  await writeFile(
    file,
    source.replace(mutant.from, () => mutant.to),
  );
  place.judge.stop();
  try {
    return await notice(place, mutant.model, sizes, sound);
  } finally {
    await writeFile(file, source);
  }
}

async function notice(
  place: Place,
  model: ModelName,
  sizes: WalkSizesOnDemand,
  sound: SoundTests,
): Promise<Finding | undefined> {
  const byTable = await place.judge.ask({ type: 'judge', mutant: undefined, model: undefined, sizes: {} });
  if (byTable.type === 'judged' && byTable.finding !== undefined) return byTable.finding;
  const byWalk = await place.judge.ask({
    type: 'judge',
    mutant: undefined,
    model,
    sizes: await sizes.of(model),
  });
  if (byWalk.type === 'judged' && byWalk.finding !== undefined) return byWalk.finding;
  const byTests = await findByTests(place.path, place.config, ALL_TESTS);
  if (byTests !== undefined) await sound.check(byTests.by);
  return byTests;
}

function lineOf({ mutant, finding }: Outcome): string {
  const mark = finding === undefined ? '✗' : '✓';
  const { by = '', detail = 'NOBODY NOTICES' } = finding ?? {};
  return `${mark}  ${mutant.name.padEnd(58)}  ${by.padEnd(13)} ${detail}`.slice(0, 200);
}

function report(outcomes: readonly Outcome[], tookMs: number): boolean {
  const counts = new Map<string, number>();
  for (const { finding } of outcomes) {
    const by = finding?.by ?? 'nobody';
    counts.set(by, (counts.get(by) ?? 0) + 1);
  }
  console.log(`\n${outcomes.length} edits in ${Math.round(tookMs / 1_000)} s, noticed by:`);
  for (const [by, count] of [...counts].sort(([a], [b]) => (a < b ? -1 : 1)))
    console.log(`  ${by}: ${count}`);
  const survivors = outcomes.filter(({ finding }) => finding === undefined);
  for (const { mutant } of survivors) console.log(`\nunnoticed: ${mutant.name} (${mutant.file})`);
  return survivors.length === 0;
}
