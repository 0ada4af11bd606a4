/** The tests that are asked where the tables and the walks have noticed nothing, in this order, and how they are run. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { MachineName } from '../machines/tables/sheets.ts';
import { TAGS } from '../support/tags.ts';
import { run } from './processes.ts';
import type { Finding } from './walks.ts';

/** A name, and files by what their names have. */
export type Tests = readonly [by: string, files: readonly string[]];

/** Of each machine, beside its table and the walks. */
const OWN: Readonly<Record<MachineName, readonly Tests[]>> = {
  'batch worker': [
    ['paths', ['batch-worker.paths.test.ts']],
    ['stories of the system', ['test/machines/faults.test.ts', 'test/machines/control.test.ts']],
  ],
  'rate limiter': [
    ['paths', ['rate-limiter.paths.test.ts']],
    ['tests of the limiter', ['test/machines/refusals.test.ts', 'quota-fairness', 'quota-window']],
  ],
  'concurrency controller': [
    ['paths', ['concurrency-controller.paths.test.ts']],
    ['properties', ['concurrency-controller.property.test.ts']],
  ],
  'lease keeper': [['paths', ['lease-keeper.paths.test.ts']]],
  coordinator: [
    ['outages', ['test/field/google-outage-machines.test.ts']],
    [
      'stories of the system',
      [
        'test/machines/faults.test.ts',
        'test/machines/control.test.ts',
        'test/machines/crash.test.ts',
        'test/machines/coordinator/dispatch.property.test.ts',
      ],
    ],
    ['paths', ['test/machines/coordinator/coordinator.paths.test.ts']],
  ],
  'run life': [['paths', ['test/machines/run-life/run-life.test.ts']]],
  verification: [['paths', ['verification.paths.test.ts']]],
};

/** What is left of the tests of machines, when those by paths have been asked. */
const OTHERS: readonly Tests[] = [
  [
    'other tests',
    [
      'test/machines/control.test.ts',
      'test/machines/crash.test.ts',
      'test/machines/faults.test.ts',
      'test/machines/coordinator/dispatch.property.test.ts',
      'quota-fairness',
      'quota-window',
      'test/machines/concurrency/concurrency-controller.property.test.ts',
    ],
  ],
  ['conformance', ['test/model/conformance.test.ts']],
];

export const testsOf = (machine: MachineName): readonly Tests[] => OWN[machine];

/** For faults that are edits: they may be anybody's. */
export const ALL_TESTS: readonly Tests[] = [
  ['paths', ['.paths.test.ts', 'test/machines/run-life/run-life.test.ts']],
  ['tests of the limiter', ['test/field/shared-limiter.test.ts', 'test/machines/refusals.test.ts']],
  ['rules and fence of leases', ['test/model/lease-fence.test.ts', 'test/domain/lease-rules.test.ts']],
  ['outages', ['test/field/google-outage-machines.test.ts']],
  ...OTHERS,
];

/** Far more than any of them takes where nothing is wrong. */
const TIME_LIMIT_MS = 900_000;

/** How the tests of a checkout, or of a copy of it, are run; `setup` is run before each file. */
export async function writeConfig(folder: string, place: string, setup?: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  const test = {
    root: place,
    include: ['test/**/*.test.ts'],
    testTimeout: 120_000,
    pool: 'threads',
    maxWorkers: 1,
    tags: TAGS,
    provide: { size: 'full' },
    ...(setup === undefined ? {} : { setupFiles: [setup] }),
  };
  const file = join(folder, 'vitest.config.ts');
  const config = { root: place, cacheDir: join(folder, 'cache'), test };
  await writeFile(file, `export default ${JSON.stringify(config)};\n`);
  return file;
}

/** @returns the first test that fails; undefined when all pass. */
export async function findByTests(
  place: string,
  config: string,
  tests: readonly Tests[],
  env: NodeJS.ProcessEnv = {},
): Promise<Finding | undefined> {
  const vitest = join(place, 'node_modules/vitest/vitest.mjs');
  for (const [by, files] of tests) {
    const args = [vitest, 'run', '--silent=true', '--bail=1', '--config', config, ...files];
    const { code, output, timedOut } = await run(place, args, { timeLimitMs: TIME_LIMIT_MS, env });
    if (timedOut) return { by, detail: 'they do not end' };
    if (output.includes('TestTimeoutError')) throw new Error(`this machine is too busy to judge ${place}`);
    if (output.includes('No test files found')) throw new Error(`there are no tests in ${files.join(' ')}`);
    if (code !== 0) return { by, detail: failureIn(output) };
  }
  return undefined;
}

function failureIn(output: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours of the terminal.
  const plain = output.replace(/\u001b\[[0-9;]*m/g, '');
  const failed = /FAIL\s+\S+ > (.*)/.exec(plain);
  return failed?.[1] ?? /\w*Error: .*/.exec(plain)?.[0] ?? plain.slice(-200).trim();
}
