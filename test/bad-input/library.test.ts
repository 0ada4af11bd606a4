import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { LongtailError } from '../../src/domain/errors.ts';
import { createRateLimiter } from '../../src/sync/limiter.ts';
import { createSync } from '../../src/sync/sync.ts';
import type { SyncOptions } from '../../src/sync/types.ts';
import { STACK_TRACE } from '../cli/support/longtail.ts';
import { NO_DATABASE, SECRET, useEmptyFolder } from './support/command.ts';
import { NOT_DATABASES, NOT_DATASETS, NOT_DAYS, NOT_PROPERTIES, NOT_ROOTS, shown } from './support/values.ts';

const { left } = useEmptyFolder();
afterAll(() => expect(left()).toEqual([]));

const GOOD = { siteUrl: 'sc-domain:example.com', database: NO_DATABASE } as const;
const NOT_TEXT: readonly unknown[] = [
  null,
  5,
  Number.NaN,
  true,
  {},
  [],
  ['x'],
  () => 'x',
  Symbol('x'),
  5n,
  new Date(0),
];
const NOT_COUNTS: readonly unknown[] = [
  null,
  '5',
  '',
  Number.NaN,
  Infinity,
  -Infinity,
  -1,
  0,
  1.5,
  1e21,
  true,
  {},
  [],
  [5],
  5n,
  Symbol('x'),
  () => 5,
  new Date(0),
];
const NOT_FLAGS: readonly unknown[] = [null, 0, 1, '', 'yes', 'true', {}, [], Symbol('x')];

/** Callers in JavaScript are not checked by a compiler. */
const asOptions = (options: unknown): SyncOptions => options as SyncOptions;

function expectRefusal(work: () => unknown): void {
  let error: unknown;
  try {
    work();
  } catch (thrown) {
    error = thrown;
  }
  expectClear(error);
}

function expectClear(error: unknown): void {
  expect(error).toBeInstanceOf(LongtailError);
  if (!(error instanceof LongtailError)) return;
  expect(['BAD_OPTION', 'INSECURE_ROOT']).toContain(error.code);
  for (const text of [error.message, error.nextStep]) {
    expect(text).toMatch(/^\S.{5,}[.?"}]$/u);
    expect(text.length).toBeLessThan(500);
    expect(text).not.toContain(SECRET);
    expect(text).not.toMatch(STACK_TRACE);
  }
}

describe('createSync refuses', () => {
  it.each(
    [undefined, null, 5, 'sc-domain:example.com', () => GOOD, Symbol('x')].map((options) => ({
      options,
      told: shown(options),
    })),
  )('$told for options', ({ options }) => {
    expectRefusal(() => createSync(asOptions(options)));
  });

  const table: readonly (readonly [keyof SyncOptions, readonly unknown[]])[] = [
    ['siteUrl', [...NOT_TEXT, undefined, ...NOT_PROPERTIES]],
    ['database', [...NOT_TEXT.filter((value) => typeof value !== 'function'), ...NOT_DATABASES]],
    ['from', [...NOT_TEXT, ...NOT_DAYS, '9999-12-31']],
    ['to', [...NOT_TEXT, ...NOT_DAYS, '2015-01-01', '1970-01-01']],
    ['days', [...NOT_COUNTS, 501]],
    [
      'datasets',
      [
        ...NOT_TEXT.slice(0, -1),
        'page',
        ...NOT_DATASETS.map((name) => [name]),
        ...NOT_TEXT.map((name) => [name]),
      ],
    ],
    [
      'searchTypes',
      [...NOT_TEXT.slice(0, -1), 'web', ['Web'], ['web', 'maps'], [''], ...NOT_TEXT.map((name) => [name])],
    ],
    ['maxConcurrency', [...NOT_COUNTS, 65, 'Auto', 'auto ', ['auto']]],
    // Right in itself, and wrong without maxConcurrency: 'auto'.
    [
      'autoConcurrency',
      [null, 5, 'auto', { most: 8 }, { start: 0 }, { most: 65 }, { soakMs: 0 }, { slowStart: 'no' }],
    ],
    ['batchSize', [...NOT_COUNTS, 1_001]],
    ['rowsPerPage', [...NOT_COUNTS, 25_001]],
    ['requestsPerMinute', [...NOT_COUNTS, 40_001]],
    ['maxAttempts', [...NOT_COUNTS, 101]],
    ['haltDeadlineMs', [...NOT_COUNTS, 99, 600_001]],
    [
      'extraBudgets',
      [
        null,
        5,
        'site',
        {},
        [5],
        [null],
        [{}],
        [{ scopeKind: 'a b', limit: 1, windowMs: 1 }],
        [{ scopeKind: 'site', limit: 0, windowMs: 1_000 }],
        [{ scopeKind: 'site', limit: 1, windowMs: -1 }],
        [{ scopeKind: 'site', limit: '1', windowMs: 1_000 }],
        [{ scopeKind: 'site', limit: 1, windowMs: Number.NaN }],
      ],
    ],
    ['refresh', NOT_FLAGS],
    ['acceptShrunk', NOT_FLAGS],
    ['migrate', NOT_FLAGS],
    ['prepare', NOT_FLAGS],
    ['nudgeHeap', NOT_FLAGS],
    [
      'credentials',
      [
        ...NOT_TEXT,
        'key.json',
        { file: 5 },
        { accessToken: null },
        { getAccessToken: 'x' },
        { file: undefined },
      ],
    ],
    ['apiRoot', [...NOT_TEXT, ...NOT_ROOTS]],
    ['tokenUrl', [...NOT_TEXT, ...NOT_ROOTS]],
    ['rateLimiter', [null, 5, 'x', {}, [], true]],
    ['inspect', [null, 5, 'x', {}, [], true]],
  ];
  const cases = table.flatMap(([name, values]) =>
    values.map((value) => ({ name, value, told: shown(value) })),
  );
  it.each(cases)('$name: $told', ({ name, value }) => {
    expectRefusal(() => createSync(asOptions({ ...GOOD, [name]: value })));
  });

  it('or takes, whatever it is given for any of them', () => {
    const names = table.map(([name]) => name);
    fc.assert(
      fc.property(
        fc.constantFrom(...names),
        fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true }),
        (name, value) => {
          try {
            createSync(asOptions({ ...GOOD, [name]: value }));
          } catch (error) {
            expectClear(error);
          }
        },
      ),
      { numRuns: 2_000, seed: 20_262 },
    );
  });
});

describe('setConcurrency refuses', () => {
  it.each(NOT_COUNTS.map((value) => ({ value, told: shown(value) })))('$told', ({ value }) => {
    expectRefusal(() => createSync(GOOD).setConcurrency(value as number));
  });
});

describe('createRateLimiter refuses', () => {
  it.each([...NOT_COUNTS, 40_001].map((value) => ({ value, told: shown(value) })))(
    'requestsPerMinute: $told',
    ({ value }) => {
      expectRefusal(() => createRateLimiter({ requestsPerMinute: value as number }).close());
    },
  );
});

describe('run rejects', () => {
  it.each<readonly [string, SyncOptions['credentials']]>([
    ['a token of two words', { accessToken: 'two words' }],
    ['an empty token', { accessToken: '' }],
    ['a token that would add a header', { accessToken: 'a\r\nx-evil: 1' }],
    ['a function that gives nothing', { getAccessToken: () => undefined as unknown as string }],
    ['a function that gives an object', { getAccessToken: () => ({}) as unknown as string }],
    [
      'a function that throws',
      {
        getAccessToken: () => {
          throw new Error('no token today');
        },
      },
    ],
    [
      'a function that throws a text',
      {
        getAccessToken: () => {
          throw 'no token today';
        },
      },
    ],
    ['a function that rejects', { getAccessToken: () => Promise.reject(new Error('no token today')) }],
    ['a file that is not there', { file: '/nowhere/key.json' }],
    ['a file that is a folder', { file: '/' }],
    ['a path with a NUL', { file: 'key\u0000.json' }],
  ])('%s', async (_, credentials = { accessToken: '' }) => {
    await using sync = createSync({ ...GOOD, credentials });
    const error = await sync.run().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(LongtailError);
    expect(error).toMatchObject({
      code: expect.stringMatching(/^(?:NO|BAD)_CREDENTIALS$/),
      nextStep: expect.stringMatching(/\S/),
    });
    expect(String(error)).not.toContain('\n');
  });

  it('a database that is not there, without its password', async () => {
    await using sync = createSync({ ...GOOD, credentials: { accessToken: 'a-token' } });
    const error = await sync.run().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    expect(String(error)).not.toContain(SECRET);
  });
});
