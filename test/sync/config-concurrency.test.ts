/** What `maxConcurrency` and `autoConcurrency` come to. */
import postgres from 'postgres';
import { expect, test } from 'vitest';
import { maxCalls, readConfig } from '../../src/sync/config.ts';
import type { SyncOptions } from '../../src/sync/types.ts';

const read = (more: Partial<SyncOptions>) => {
  const config = readConfig({ siteUrl: 'sc-domain:example.com', ...more }, '2026-06-01');
  const { maxConcurrency, autoConcurrency } = config;
  return { maxConcurrency, autoConcurrency, most: maxCalls(config) };
};
const auto = { maxConcurrency: 'auto' } as const;

test('a number is a number', () => {
  expect(read({})).toEqual({ maxConcurrency: 3, autoConcurrency: null, most: 3 });
  expect(read({ maxConcurrency: 40 })).toEqual({ maxConcurrency: 40, autoConcurrency: null, most: 40 });
});

test.each([
  [undefined, { start: 3, most: 16, soakMs: 1_000, slowStart: true }],
  [{ most: 2 }, { start: 2, most: 2, soakMs: 1_000, slowStart: true }],
  [{ start: 20 }, { start: 20, most: 20, soakMs: 1_000, slowStart: true }],
  [
    { soakMs: 60_000, slowStart: false },
    { start: 3, most: 16, soakMs: 60_000, slowStart: false },
  ],
])('auto with %j', (given, found) => {
  const options = given === undefined ? auto : { ...auto, autoConcurrency: given };
  expect(read(options)).toEqual({ maxConcurrency: found.start, autoConcurrency: found, most: found.most });
});

test.each([
  [20, 16],
  [10, 9],
  [4, 3],
  [1, 1],
])('a pool of %i connections leaves room for %i calls', async (max, most) => {
  const sql = postgres('postgres://nobody@127.0.0.1:1/none', { max });
  expect(read({ ...auto, database: sql }).most).toBe(most);
  // What was asked for is not lowered: who is over waits.
  expect(read({ ...auto, database: sql, autoConcurrency: { most: 40 } }).most).toBe(40);
  await sql.end();
});

test('no start above the most', () => {
  expect(() => read({ ...auto, autoConcurrency: { start: 5, most: 4 } })).toThrow('starts with 5');
});
