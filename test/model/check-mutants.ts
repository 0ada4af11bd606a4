/**
 * The check is checked: makes each fault of `mutants.ts` in a copy of the source, and sees what notices it first: the walk
 * through all states of the system, the table of states and events, the walks of single machines, the conformance of the
 * model, or no more than some test of the machines. Exit code 1 where a fault goes unnoticed.
 *
 *   node test/model/check-mutants.ts [WORDS OF A NAME]
 */
import { spawn } from 'node:child_process';
import { cp, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TAGS } from '../support/tags.ts';
import type { Verdict } from './judge.ts';
import { MUTANTS, type Mutant } from './mutants.ts';

/** Far more than either takes where nothing is wrong: what is not done by then never will be. */
const TIME_LIMIT_MS = 900_000;
/** More than the walk takes where nothing is wrong: a machine that goes on for ever is at an end sooner. */
const MEMORY_LIMIT = '--max-old-space-size=1500';
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const WORKPLACE = join(ROOT, '.tmp', `mutants-${process.pid}`);
/** Who is asked, in this order, when the walk through all states has noticed nothing; what the names of their files have. */
const TESTS = [
  ['state table', 'test/machines/state-event-table.test.ts'],
  ['paths', '.paths.test.ts'],
  ['shared limiter', 'test/field/shared-limiter.test.ts'],
  ['conformance', 'test/model/conformance.test.ts'],
  ['rules and fence of leases', 'test/model/lease-fence.test.ts'],
  ['rules and fence of leases', 'test/domain/lease-rules.test.ts'],
  ['outages', 'test/field/google-outage-machines.test.ts'],
  ['other tests', 'test/machines/'],
] as const;

interface Outcome {
  readonly mutant: Mutant;
  /** What noticed it; undefined where nothing did. */
  readonly killedBy: string | undefined;
  readonly detail: string;
}

const startedAtMs = Date.now();
const words = process.argv.slice(2).join(' ');
const chosen = MUTANTS.filter(({ name }) => name.includes(words));

try {
  await checkEdits();
  const outcomes = await judgeAll();
  report(outcomes);
} finally {
  await rm(WORKPLACE, { recursive: true, force: true });
}

/** An edit that no longer fits its source would be a fault that is never made. */
async function checkEdits(): Promise<void> {
  for (const { name, file, from } of MUTANTS) {
    const source = await readFile(join(ROOT, 'src/machines', file), 'utf8');
    const count = source.split(from).length - 1;
    if (count !== 1) throw new Error(`"${name}": what it replaces occurs ${count} times in ${file}`);
  }
}

async function judgeAll(): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = [];
  const queue = [...chosen];
  const worker = async (index: number): Promise<void> => {
    const place = await makePlace(index);
    if (index === 0) await checkUnharmed(place);
    for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
      const outcome = await judge(place, mutant);
      outcomes.push(outcome);
      console.log(lineOf(outcome));
    }
  };
  await Promise.all([worker(0), worker(1)]);
  return outcomes;
}

/** A copy of all that a fault can reach. Packages are found further up. */
async function makePlace(index: number): Promise<string> {
  const place = join(WORKPLACE, String(index));
  await mkdir(place, { recursive: true });
  for (const part of ['src', 'test', 'package.json', 'tsconfig.json', 'biome.json']) {
    await cp(join(ROOT, part), join(place, part), { recursive: true });
  }
  await symlink(join(ROOT, 'node_modules'), join(place, 'node_modules'));
  const config = {
    test: {
      include: ['test/**/*.test.ts'],
      testTimeout: 600_000,
      pool: 'threads',
      maxWorkers: 1,
      tags: TAGS,
      provide: { size: 'full' },
    },
  };
  await writeFile(join(place, 'vitest.config.ts'), `export default ${JSON.stringify(config)};\n`);
  return place;
}

/** Without a fault everything must pass, or what notices faults notices nothing. */
async function checkUnharmed(place: string): Promise<void> {
  const { detail, killedBy } = await notice(place, []);
  if (killedBy !== undefined) throw new Error(`the machines as they are fail: ${killedBy}: ${detail}`);
  console.log('✓  without a fault everything passes');
}

async function judge(place: string, mutant: Mutant): Promise<Outcome> {
  const file = join(place, 'src/machines', mutant.file);
  const source = await readFile(file, 'utf8');
  await writeFile(
    file,
    source.replace(mutant.from, () => mutant.to),
  );
  try {
    return { mutant, ...(await notice(place, [mutant.model])) };
  } finally {
    await writeFile(file, source);
  }
}

async function notice(place: string, models: readonly string[]): Promise<Omit<Outcome, 'mutant'>> {
  const walk = await run(place, [MEMORY_LIMIT, 'test/model/judge.ts', ...models]);
  if (walk.timedOut) return { killedBy: 'exploration', detail: 'it never comes to rest' };
  if (walk.code !== 0) return { killedBy: 'exploration', detail: lastError(walk.output) };
  const verdict: Verdict | null = JSON.parse(walk.output);
  if (verdict !== null) {
    const { invariant, what, steps, size } = verdict;
    return { killedBy: `invariant ${invariant}`, detail: `${what} (${steps} steps, ${size})` };
  }
  for (const [name, files] of TESTS) {
    const detail = await failureIn(place, files);
    if (detail !== undefined) return { killedBy: name, detail };
  }
  return { killedBy: undefined, detail: 'NOBODY NOTICES' };
}

/** The first of the tests that fails; undefined when all pass. */
async function failureIn(place: string, files: string): Promise<string | undefined> {
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
  const tests = await run(place, [vitest, 'run', '--silent=true', '--bail=1', '--root', place, files]);
  if (tests.timedOut) return 'they do not end';
  if (tests.output.includes('TestTimeoutError'))
    throw new Error(`this machine is too busy to judge ${place}`);
  if (tests.code === 0) return undefined;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours of the terminal.
  const failed = /FAIL\s+\S+ > (.*)/.exec(tests.output.replace(/\u001b\[[0-9;]*m/g, ''));
  return failed?.[1] ?? lastError(tests.output);
}

function run(
  cwd: string,
  args: readonly string[],
): Promise<{ readonly code: number | null; readonly output: string; readonly timedOut: boolean }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...args], { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
    }, TIME_LIMIT_MS);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, output, timedOut });
    });
  });
}

function lastError(output: string): string {
  if (output.includes('heap out of memory')) return 'it goes on until the memory is full';
  return /\w*Error: .*/.exec(output)?.[0] ?? output.slice(-200).trim();
}

function lineOf({ mutant, killedBy, detail }: Outcome): string {
  const mark = killedBy === undefined ? '✗' : '✓';
  return `${mark}  ${mutant.name.padEnd(58)}  ${(killedBy ?? '').padEnd(13)} ${detail}`.slice(0, 200);
}

function report(outcomes: readonly Outcome[]): void {
  const counts = new Map<string, number>();
  for (const { killedBy = 'nobody' } of outcomes) counts.set(killedBy, (counts.get(killedBy) ?? 0) + 1);
  const seconds = Math.round((Date.now() - startedAtMs) / 1_000);
  console.log(`\n${outcomes.length} faults in ${seconds} s, noticed by:`);
  for (const [by, count] of [...counts].sort(([a], [b]) => (a < b ? -1 : 1)))
    console.log(`  ${by}: ${count}`);
  const survivors = outcomes.filter(({ killedBy }) => killedBy === undefined);
  for (const { mutant } of survivors) console.log(`\nunnoticed: ${mutant.name} (${mutant.file})`);
  if (survivors.length > 0) process.exitCode = 1;
}
