import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { expectRefusal, NO_DATABASE, runInProcess, SITE, useEmptyFolder } from './support/command.ts';
import {
  NOT_DATABASES,
  NOT_DATASETS,
  NOT_DAYS,
  NOT_LEVELS,
  NOT_PROPERTIES,
  NOT_ROOTS,
  NOT_TYPES,
  NOT_WHOLE_NUMBERS,
  shown,
} from './support/values.ts';

const { left } = useEmptyFolder();
const env = { DATABASE_URL: NO_DATABASE, LONGTAIL_ACCESS_TOKEN: 'a-token' };

afterAll(() => expect(left()).toEqual([]));

/** Each value given to each of these options, in a command line that is right but for it. */
function refuses(command: readonly string[], options: readonly string[], values: readonly string[]): void {
  const cases = options.flatMap((option) =>
    values.map((value) => ({ name: `${command[0]} ${option} ${shown(value)}`, option, value })),
  );
  it.each(cases)('$name', async ({ option, value }) => {
    expectRefusal(await runInProcess([...command, option, value], env));
    expect(left()).toEqual([]);
  });
}

describe('numbers', () => {
  refuses(['sync', ...SITE], ['--qpm', '--max-concurrency'], [...NOT_WHOLE_NUMBERS, '0', '-1', '40001']);
  refuses(['sync', ...SITE], ['--days', '--batch-size'], ['', '0', '-1', '1.5', '1e2', '1001', 'two', 'NaN']);
  refuses(
    ['demo'],
    ['--days', '--rows-per-day', '--max-concurrency'],
    ['', '0', '-1', '1.5', '50001', 'x', '∞'],
  );
  refuses(
    ['emulator'],
    ['--port', '--seed', '--rows-per-day', '--latency-ms', '--qpm'],
    ['', ' ', '-1', '1.5', '1e3', '0x1', 'x', '9'.repeat(30), '１', '\u001b[31m7', 'x'.repeat(5_000)],
  );
});

describe('days', () => {
  refuses(['sync', ...SITE], ['--from', '--to'], NOT_DAYS);
  refuses(['sync', ...SITE], ['--from', '--to'], ['9999-12-31', '2999-01-01']);
  refuses(['sync', ...SITE], ['--to'], ['0001-01-01', '2015-06-01', '1970-01-01']);
  refuses(['sync', ...SITE, '--days', '3'], ['--from', '--to'], ['2026-01-01']);
});

describe('properties', () => {
  refuses(['sync'], ['--site'], NOT_PROPERTIES);
  refuses(['status'], ['--site'], ['', 'example.com', 'https://example.com', 'x'.repeat(100_000)]);
  refuses(
    ['emulator'],
    ['--site'],
    ['', 'example.com', 'https://example.com', 'sc-domain:a b', 'x'.repeat(5_000)],
  );
});

describe('lists and words', () => {
  refuses(['sync', ...SITE], ['--datasets'], NOT_DATASETS);
  refuses(['sync', ...SITE], ['--types'], NOT_TYPES);
  refuses(['sync', ...SITE], ['--log-level'], NOT_LEVELS);
  refuses(['sync', ...SITE], ['--end-of-slice'], ['', ' ', 'never', '0', 'short,empty', 'x'.repeat(5_000)]);
});

describe('URLs', () => {
  refuses(['sync', ...SITE], ['--database-url'], [...NOT_DATABASES, '', ' ']);
  refuses(['status'], ['--database-url'], NOT_DATABASES.slice(0, 8));
  refuses(['sync', ...SITE], ['--api-root', '--token-url'], [...NOT_ROOTS, '', ' ']);
  refuses(['sites'], ['--api-root', '--token-url'], NOT_ROOTS.slice(0, 8));
});

describe('what stands on the command line at all', () => {
  it.each([
    [['synk']],
    [['sync', 'now']],
    [['sync', ...SITE, '--nothing']],
    [['sync', ...SITE, '-x']],
    [['sync', '--site']],
    [['sync']],
    [['sync', ...SITE, '--json=yes']],
    [['sync', ...SITE, '--', 'more']],
    [['sync', '--site', 'sc-domain:a.com', '--site', 'nonsense']],
    [['sync', ...SITE, '--from', '2026-05-02', '--to', '2026-05-01']],
    [['sites', 'all']],
    [['status', '--days', '3']],
    [['database', '--port', '1']],
    [['demo', '--site', 'sc-domain:example.com']],
    [['emulator', '--host', 'nowhere.invalid']],
    [['emulator', '--host', '256.1.1.1']],
    [['emulator', '--host', '']],
    [['emulator', '--faults', '/nowhere/faults.json']],
    [['emulator', '--faults', '/']],
    [['\u001b[31m']],
    [['x'.repeat(5_000)]],
    [['__proto__']],
    [['sync', '--__proto__', 'x']],
    [['help', 'nothing']],
  ])('%j', async (args) => {
    expectRefusal(await runInProcess(args, env));
    expect(left()).toEqual([]);
  });
});

/** What no table thought of: any text for any option ends well, or with two lines. */
describe('any text', () => {
  const options = [
    '--site',
    '--from',
    '--to',
    '--days',
    '--datasets',
    '--types',
    '--database-url',
    '--credentials',
    '--api-root',
    '--token-url',
    '--max-concurrency',
    '--batch-size',
    '--qpm',
    '--log-level',
  ] as const;
  it('for any option of sync', async () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.webUrl(),
      fc.string({
        unit: fc.constantFrom(...'postgres://:@/?#[]{}%,+-.0123456789 \n\t\u0000'),
        maxLength: 40,
      }),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...options), text, async (option, value) => {
        // The future is refused, so that what is right with the value does not start anything.
        const ended = await runInProcess(['sync', ...SITE, '--to', '2999-01-01', option, value], env);
        expectRefusal(ended);
      }),
      { numRuns: 400, seed: 20_261 },
    );
    expect(left()).toEqual([]);
  });
});
