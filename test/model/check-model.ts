/**
 * Walks every world of every size, and says what it found. Exit code 1 where something does not hold.
 *
 *   node test/model/check-model.ts [--small]
 *   node test/model/check-model.ts --size NAME [--replay CHOICES]    one size, or one path of it
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { EventObject, Snapshot } from 'xstate';
import { peakRssBytes } from '../../src/domain/peak-memory.ts';
import {
  createLeaseModel,
  createSharedModel,
  createSystemModel,
  describePath,
  describeSharedPath,
  type Explorable,
  type Exploration,
  explore,
  findBroken,
  pathOf,
  walk,
} from '../../src/model/index.ts';
import { LARGE_LEASE_SIZES, type LeaseSize, SMALL_LEASE_SIZES } from './lease-sizes.ts';
import { LARGE_SHARED_SIZES, type SharedSize, SMALL_SHARED_SIZES } from './shared-sizes.ts';
import { LARGE_SIZES, SMALL_SIZES, type Size as SystemSize } from './sizes.ts';

type Size = SystemSize | SharedSize | LeaseSize;
const LARGE: readonly Size[] = [...LARGE_SIZES, ...LARGE_SHARED_SIZES, ...LARGE_LEASE_SIZES];
const SMALL: readonly Size[] = [...SMALL_SIZES, ...SMALL_SHARED_SIZES, ...SMALL_LEASE_SIZES];
const sizeNamed = (name: string): Size | undefined => [...LARGE, ...SMALL].find((size) => size.name === name);

interface Result extends Exploration<object> {
  readonly name: string;
  readonly seconds: number;
  /** Of a processor: what a machine with nothing else to do would take. */
  readonly cpuSeconds: number;
  readonly megabytes: number;
}

const { values } = parseArgs({
  options: {
    small: { type: 'boolean' },
    size: { type: 'string' },
    replay: { type: 'string' },
    json: { type: 'boolean' },
  },
});
const here = fileURLToPath(import.meta.url);

if (values.size === undefined) await checkAll(values.small === true ? SMALL : LARGE);
else {
  const size = sizeNamed(values.size);
  if (size === undefined) throw new Error(`there is no size "${values.size}"`);
  if (values.replay !== undefined) replay(size, values.replay);
  else {
    const result = check(size);
    if (values.json === true) console.log(JSON.stringify(result));
    else report([result]);
  }
}

function check(size: Size): Result {
  const startedAt = performance.now();
  const exploration = explorationOf(size);
  return {
    ...exploration,
    name: size.name,
    seconds: (performance.now() - startedAt) / 1_000,
    cpuSeconds: process.cpuUsage().user / 1_000_000,
    megabytes: peakRssBytes() / 2 ** 20,
  };
}

function explorationOf(size: Size): Exploration<object> {
  if ('leases' in size) return explore(createLeaseModel(size.leases));
  if ('shared' in size) return explore(createSharedModel(size.shared));
  return explore(createSystemModel(size.options));
}

/** Each size in a process of its own, two at a time. */
async function checkAll(sizes: readonly Size[]): Promise<void> {
  const results: Result[] = [];
  const queue = [...sizes];
  const worker = async (): Promise<void> => {
    for (let size = queue.shift(); size !== undefined; size = queue.shift()) {
      const result = await checkApart(size);
      results.push(result);
      console.log(lineOf(result));
    }
  };
  await Promise.all([worker(), worker()]);
  console.log();
  report(results);
}

function checkApart({ name }: Size): Promise<Result> {
  const child = spawn(process.execPath, ['--max-old-space-size=3600', here, '--size', name, '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(output));
      else reject(new Error(`"${name}" ended with ${code}`));
    });
  });
}

function report(results: readonly Result[]): void {
  for (const result of results) if (results.length === 1) console.log(lineOf(result));
  const sum = (pick: (result: Result) => number): number => results.reduce((all, one) => all + pick(one), 0);
  const format = (value: number): string => value.toLocaleString('en-US');
  console.log(
    `${format(sum(({ states }) => states))} states, ${format(sum(({ edges }) => edges))} edges, ${format(Math.round(sum(({ cpuSeconds }) => cpuSeconds)))} s of processor`,
  );
  console.log('\ninvariants, and in how many states each was asked:');
  const asked = new Map<string, { number: number; states: number }>();
  for (const { evaluations } of results) {
    for (const { number, name, states } of evaluations) {
      asked.set(name, { number, states: (asked.get(name)?.states ?? 0) + states });
    }
  }
  const vacuous = [...asked].filter(([, { states }]) => states === 0).map(([name]) => name);
  for (const [name, { number, states }] of asked) {
    console.log(`  ${String(number).padStart(2)}  ${name}: ${format(states)}`);
  }
  console.log(`   6  from every state an end is reachable: ${format(sum(({ states }) => states))}`);
  for (const result of results) explain(result);
  const unfinished = results.filter(({ finished, violation }) => !finished && violation === undefined);
  for (const { name } of unfinished) console.log(`\n${name}: not every state was seen`);
  for (const name of results.length > 1 ? vacuous : []) console.log(`\nno state asks: ${name}`);
  const holds = results.every(({ violation, finished }) => violation === undefined && finished);
  if (!holds || (results.length > 1 && vacuous.length > 0)) process.exitCode = 1;
  console.log(holds ? '\neverything holds' : '\nNOT everything holds');
}

function lineOf({
  name,
  states,
  edges,
  depth,
  ends,
  seconds,
  cpuSeconds,
  megabytes,
  violation,
}: Result): string {
  const count = (value: number): string => value.toLocaleString('en-US').padStart(11);
  return [
    violation === undefined ? '✓' : '✗',
    name.padEnd(58),
    `${count(states)} states`,
    `${count(edges)} edges`,
    `${count(ends)} ends`,
    `depth ${String(depth).padStart(3)}`,
    `${seconds.toFixed(1).padStart(6)} s`,
    `${cpuSeconds.toFixed(1).padStart(6)} s of processor`,
    `${megabytes.toFixed(0).padStart(5)} MB`,
  ].join('  ');
}

function explain({ name, violation }: Result): void {
  if (violation === undefined) return;
  const size = sizeNamed(name);
  if (size === undefined) return;
  console.log(`\n✗ ${name}: invariant ${violation.invariant} does not hold: ${violation.name}`);
  console.log(describe(size, violation.choices));
  console.log(`  ✗ ${violation.what}`);
  console.log(
    `\n  npm run check:model -- --size ${JSON.stringify(name)} --replay ${violation.choices.join('.')}`,
  );
}

/** A path in lines that a person can read. */
function describe(size: Size, choices: readonly number[]): string {
  if ('leases' in size) {
    const path = pathOf(createLeaseModel(size.leases), choices);
    return path
      .map((event, index) => `${String(index + 1).padStart(3)}. ${JSON.stringify(event)}`)
      .join('\n');
  }
  if ('shared' in size) {
    const model = createSharedModel(size.shared);
    return describeSharedPath(model, pathOf(model, choices));
  }
  const model = createSystemModel(size.options);
  return describePath(model, pathOf(model, choices));
}

function replay(size: Size, given: string): void {
  const choices = given === '' ? [] : given.split('.').map(Number);
  console.log(describe(size, choices));
  const broken = brokenIn(size, choices);
  console.log(broken === undefined ? '  every invariant holds in its states' : `  ✗ ${broken}`);
  if (broken !== undefined) process.exitCode = 1;
}

function brokenIn(size: Size, choices: readonly number[]): string | undefined {
  if ('leases' in size) return brokenOnPath(createLeaseModel(size.leases), choices);
  if ('shared' in size) return brokenOnPath(createSharedModel(size.shared), choices);
  return brokenOnPath(createSystemModel(size.options), choices);
}

function brokenOnPath<W extends Snapshot<unknown>, E extends EventObject, O>(
  model: Explorable<W, E, O>,
  choices: readonly number[],
): string | undefined {
  let broken: string | undefined;
  walk(model, pathOf(model, choices), (world) => {
    broken ??= findBroken(model, world);
  });
  return broken;
}
