/**
 * Simulates thousands of runs under faults: `npm run simulate -- --seeds 20000`. One process per core works on the seeds. A
 * seed that fails is shrunk, and printed with the command that replays it.
 *
 *   --seeds N     number of seeds (default 1,000)
 *   --start S     the first seed (default 0)
 *   --seed S      only this seed, step by step
 *   --bug NAME    with a planted bug (see test/simulation/planted-bugs.ts)
 */
import { type ChildProcess, fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { SOUND } from '../test/simulation/planted.ts';
import { BUGS } from '../test/simulation/planted-bugs.ts';
import { type Figures, noFigures, runSeeds, sumFigures } from '../test/simulation/run-seeds.ts';
import { drawScenario, type Scenario } from '../test/simulation/scenario.ts';
import { shrink } from '../test/simulation/shrink.ts';
import { tellStory } from '../test/simulation/story.ts';

const SEEDS_A_ROUND = 100;
const MOST_FAILURES = 5;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    start: { type: 'string', default: '0' },
    seed: { type: 'string' },
    bug: { type: 'string' },
    worker: { type: 'boolean', default: false },
  },
});
const planted = values.bug === undefined ? SOUND : BUGS[values.bug];
if (planted === undefined)
  throw new Error(`There is no bug ${values.bug}; there are ${Object.keys(BUGS).join(', ')}.`);
const replay = (seed: number): string =>
  `npm run simulate -- --seed ${seed}${values.bug === undefined ? '' : ` --bug ${values.bug}`}`;

if (values.worker) work();
else if (values.seed !== undefined) await tellOne(wholeNumber('seed', values.seed));
else await tellMany(wholeNumber('start', values.start), wholeNumber('seeds', values.seeds));

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new Error(`--${name} is a whole number of 0 or more, not "${text}".`);
}

/** A child process: runs the seeds that it receives, and reports the results. */
function work(): void {
  process.on('message', (round: { readonly start: number; readonly count: number }) => {
    void runSeeds(round.start, round.count, planted ?? SOUND).then((figures) => process.send?.(figures));
  });
  process.on('disconnect', () => process.exit(0));
}

async function tellOne(seed: number): Promise<void> {
  const scenario = drawScenario(seed);
  console.log(JSON.stringify(scenario, null, 2));
  const { violations, simulatedMs, steps } = await tellStory(scenario, {
    trace: console.log,
    planted: planted ?? SOUND,
  });
  console.log(`${steps} events, ${(simulatedMs / 3_600_000).toFixed(1)} simulated hours`);
  if (violations.length > 0) await tellFailure(seed);
}

async function tellMany(start: number, count: number): Promise<void> {
  const startedAt = performance.now();
  const figures = await shareOut(start, count);
  const seconds = (performance.now() - startedAt) / 1_000;
  const { seeds, simulatedMs, steps, calls, lives, speculative, ends, failed } = figures;
  console.log(
    `${seeds} seeds in ${seconds.toFixed(1)} s: ${(seeds / seconds).toFixed(0)} seeds/s, ` +
      `${(simulatedMs / 86_400_000).toFixed(0)} simulated days, ${lives} processes, ${calls} calls, ${steps} events, ${speculative} speculative`,
  );
  const often = Object.entries(ends).sort(([, one], [, other]) => other - one);
  console.log(often.map(([end, times]) => `  ${end}: ${times}`).join('\n'));
  if (failed.length === 0) {
    console.log('No seed failed.');
    return;
  }
  console.log(`${failed.length} seeds failed: ${failed.map(({ seed }) => seed).join(', ')}`);
  for (const { seed } of failed.slice(0, MOST_FAILURES)) await tellFailure(seed);
}

/** Gives rounds to the child that is free. Stops at the first failures, because more would tell the same. */
async function shareOut(start: number, count: number): Promise<Figures> {
  let figures = noFigures();
  let next = start;
  const end = start + count;
  const serve = async (): Promise<void> => {
    const child = fork(fileURLToPath(import.meta.url), [
      '--worker',
      ...(values.bug === undefined ? [] : ['--bug', values.bug]),
    ]);
    try {
      while (next < end && figures.failed.length < MOST_FAILURES) {
        const round = { start: next, count: Math.min(SEEDS_A_ROUND, end - next) };
        next += round.count;
        const found = await ask(child, round);
        figures = sumFigures(figures, found);
      }
    } finally {
      if (child.connected) child.disconnect();
    }
  };
  await Promise.all(
    Array.from({ length: Math.min(availableParallelism(), Math.ceil(count / SEEDS_A_ROUND)) }, serve),
  );
  return figures;
}

function ask(
  child: ChildProcess,
  round: { readonly start: number; readonly count: number },
): Promise<Figures> {
  return new Promise((resolve, reject) => {
    const onExit = (): void => reject(new Error('a worker process is gone'));
    child.once('exit', onExit);
    child.once('message', (figures) => {
      child.off('exit', onExit);
      // Only `work` writes to this channel.
      resolve(figures as Figures);
    });
    child.send(round);
  });
}

async function tellFailure(seed: number): Promise<void> {
  process.exitCode = 1;
  const scenario = drawScenario(seed);
  const { violations } = await tellStory(scenario, { planted: planted ?? SOUND });
  const [first] = violations;
  if (first === undefined) {
    console.log(
      `\nseed ${seed} failed in another process, and not in this one: the simulation is not deterministic`,
    );
    return;
  }
  console.log(`\nseed ${seed} violates: ${first.check}\n  ${first.detail}`);
  console.log(`  faults on: ${Object.keys(scenario.faults).join(', ') || 'none'}`);
  console.log(`  replay it: ${replay(seed)}`);
  const shrunk = await shrink(scenario, first.check, { planted: planted ?? SOUND });
  console.log(`  shrunk, in ${shrunk.tries} tries, to:\n${indented(shrunk.scenario)}`);
}

function indented(scenario: Scenario): string {
  return JSON.stringify(scenario, null, 2).replace(/^/gm, '    ');
}
