import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Emulator, startEmulator } from '../../src/emulator/index.ts';
import { createRateLimiter, createSync, type SyncOptions } from '../../src/index.ts';
import { type TestDatabase, testDatabase } from '../support/postgres.ts';

const SITE = 'sc-domain:example.com';
let emulator: Emulator;
let database: TestDatabase;
const warnings: Error[] = [];
const hear = (warning: Error) => void warnings.push(warning);

beforeAll(async () => {
  process.on('warning', hear);
  [emulator, database] = await Promise.all([
    startEmulator({ rowsPerDay: 20, sites: [SITE] }),
    testDatabase(),
  ]);
});
afterAll(async () => {
  process.off('warning', hear);
  await Promise.all([emulator.close(), database.close()]);
});

it.each<[string, SyncOptions['inspect'], number]>([
  [
    'throws at every event',
    () => {
      throw new Error('the inspector is broken');
    },
    2,
  ],
  [
    'is an observer that throws',
    {
      next: () => {
        throw new Error('the inspector is broken');
      },
    },
    2,
  ],
  ['is async and rejects', async () => Promise.reject(new Error('the inspector is broken')), 2],
  ['is an observer of nothing', {}, 0],
])('an inspect that %s harms nothing, and is told of once an actor', async (_, inspect, told) => {
  if (_ === 'is an observer of nothing') {
    // It is none: refused, before anything begins.
    await expect(async () => createSync({ siteUrl: SITE, inspect }).run()).rejects.toMatchObject({
      code: 'BAD_OPTION',
    });
    return;
  }
  warnings.length = 0;
  const rateLimiter = createRateLimiter({ inspect });
  await using sync = createSync({
    siteUrl: SITE,
    database: database.url,
    credentials: { accessToken: 'a-token' },
    apiRoot: emulator.url,
    days: 2,
    refresh: true,
    maxConcurrency: 'auto',
    rateLimiter,
    inspect,
  });
  const outcome = await sync.run();
  rateLimiter.close();
  expect(outcome).toMatchObject({ status: 'complete', slices: { complete: 4 } });
  await expect
    .poll(() => warnings.map(({ message }) => message))
    .toEqual(Array.from({ length: told }, () => 'inspect threw: the inspector is broken'));
});
