/** A host's own code that watches: whatever it does, it harms neither the run nor the host's process. */

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Emulator } from '../../src/emulator/index.ts';
import { createRateLimiter } from '../../src/sync/limiter.ts';
import { createSync } from '../../src/sync/sync.ts';
import type { SyncEvents, SyncOptions } from '../../src/sync/types.ts';
import { type TestDatabase, testDatabase } from '../support/postgres.ts';
import { emulate, options, settledDays } from '../support/property.ts';
import { until } from '../support/until.ts';

const days = settledDays(3);
const sites = Array.from({ length: 20 }, (_, index) => `sc-domain:site${index}.example`);
let database: TestDatabase;
let emulator: Emulator;
let used = 0;
beforeAll(async () => {
  database = await testDatabase();
  emulator = await emulate({ rowsPerDay: 20, sites });
});
afterAll(async () => {
  await emulator.close();
  await database.close();
});

const warnings: Error[] = [];
const rejections: unknown[] = [];
const onWarning = (warning: Error) => warnings.push(warning);
const onRejection = (reason: unknown) => rejections.push(reason);
beforeEach(() => {
  warnings.length = 0;
  rejections.length = 0;
  process.on('warning', onWarning);
  process.on('unhandledRejection', onRejection);
});
afterEach(() => {
  process.off('warning', onWarning);
  process.off('unhandledRejection', onRejection);
});

function settings(more: Partial<SyncOptions>): SyncOptions {
  used += 1;
  const siteUrl = sites[used] ?? '';
  return {
    ...options(database.url, emulator, days, { datasets: ['page'] }),
    siteUrl,
    credentials: { accessToken: `token-${used}` },
    ...more,
  };
}

const fault = () => new Error('the inspector’s own fault');
const INSPECTORS: readonly (readonly [string, NonNullable<SyncOptions['inspect']>])[] = [
  [
    'a function that throws',
    () => {
      throw fault();
    },
  ],
  [
    'a function that throws what is no error, and has no words',
    () => {
      throw Object.create(null);
    },
  ],
  [
    'an observer that throws',
    {
      next: () => {
        throw fault();
      },
    },
  ],
  ['an async function that rejects', () => Promise.reject(fault())],
  ['an async observer that rejects', { next: () => Promise.reject(fault()) }],
  [
    'a function that throws now and then',
    (() => {
      let seen = 0;
      return () => {
        seen += 1;
        if (seen % 7 === 3) throw fault();
      };
    })(),
  ],
];

test.each(INSPECTORS)('inspect is %s: the run completes, and one warning tells of it', async (_, inspect) => {
  await using sync = createSync(settings({ inspect, maxConcurrency: 'auto' }));
  expect(await sync.run()).toMatchObject({ status: 'complete', slices: { complete: 3 } });
  await until(() => warnings.length > 0, 'the warning');
  expect(warnings.map(({ name }) => name)).toEqual(['LongtailInspectWarning']);
  expect(rejections).toEqual([]);
});

test('a shared limiter’s inspector that throws: the run completes', async () => {
  const inspect = () => {
    throw fault();
  };
  const rateLimiter = createRateLimiter({ requestsPerMinute: 40_000, inspect });
  try {
    await using sync = createSync(settings({ rateLimiter, inspect }));
    expect(await sync.run()).toMatchObject({ status: 'complete' });
  } finally {
    rateLimiter.close();
  }
  // The same function in two places is told of once.
  await until(() => warnings.length > 0, 'the warning');
  expect(warnings).toHaveLength(1);
});

test('an inspector sees the run’s life, and no secret in it', async () => {
  const seen: string[] = [];
  await using sync = createSync(
    settings({
      inspect: (event) => {
        if (event.type === '@xstate.snapshot' && 'value' in event.snapshot)
          seen.push(JSON.stringify([event.snapshot.value, Reflect.get(event.snapshot, 'context')], hideRefs));
      },
    }),
  );
  expect(await sync.run()).toMatchObject({ status: 'complete' });
  const password = new URL(database.url).password;
  expect(seen.some((text) => text.includes('"opening"'))).toBe(true);
  expect(seen.some((text) => text.includes('"closing"'))).toBe(true);
  expect(seen.filter((text) => text.includes(password) || text.includes(`token-${used}`))).toEqual([]);
});

const hideRefs = (_: string, value: unknown): unknown =>
  typeof value === 'object' && value !== null && 'sessionId' in value ? 'an actor' : value;

test('listeners that are async and reject, or throw what has no words: the run completes', async () => {
  await using sync = createSync(settings({}));
  let heard = 0;
  for (const type of [
    'progress',
    'slice',
    'quota',
    'retry',
    'concurrency',
  ] as const satisfies (keyof SyncEvents)[]) {
    sync.on(type, async () => {
      heard += 1;
      throw new Error('a listener’s own fault');
    });
  }
  sync.on('slice', () => {
    throw Object.create(null);
  });
  expect(await sync.run()).toMatchObject({ status: 'complete' });
  await until(() => warnings.length >= heard + 3, 'each fault is told of');
  expect(new Set(warnings.map(({ name }) => name))).toEqual(new Set(['LongtailListenerWarning']));
  expect(rejections).toEqual([]);
});

test('a listener that halts, pauses and closes in the middle: the run ends halted', async () => {
  await using sync = createSync(settings({ haltDeadlineMs: 1_000 }));
  sync.on('slice', () => {
    sync.pause();
    sync.setConcurrency(2);
    void sync.halt('seen enough');
    void sync.close();
  });
  const outcome = await sync.run();
  expect(['halted', 'complete']).toContain(outcome.status);
  if (outcome.status === 'halted')
    expect(outcome.haltReason).toEqual({ kind: 'asked', reason: 'seen enough' });
  await sync.close();
  await expect(sync.run()).rejects.toMatchObject({ code: 'CLOSED' });
});
