// @module-tag long
/** `maxConcurrency: 'auto'` end to end: emulator, database, and the real controller between them. */
import postgres from 'postgres';
import { describe, expect, test } from 'vitest';
import { createSync } from '../../src/sync/sync.ts';
import type { ConcurrencyEvent, Progress, Sync } from '../../src/sync/types.ts';
import { differences } from '../support/compare.ts';
import { testDatabase } from '../support/postgres.ts';
import { emulate, largestWindow, options, SITE, settledDays } from '../support/property.ts';

const datasets = ['page', 'query'];
const web = { siteUrl: SITE, searchTypes: ['web'], datasets } as const;
const auto = { datasets, batchSize: 4, maxConcurrency: 'auto' } as const;

function decisionsOf(sync: Sync): ConcurrencyEvent[] {
  const events: ConcurrencyEvent[] = [];
  sync.on('concurrency', (event) => events.push(event));
  return events;
}

test('where latency is all there is, it goes up, within the quota, and is faster than three', async () => {
  const days = settledDays(80);
  // Latency many times what this machine takes for a call: how fast it is makes no difference.
  await using emulator = await emulate({ rowsPerDay: 8, latencyMs: 300, latencyJitter: 0.3 });
  const burst = { scopeKind: 'site', limit: 400, windowMs: 1_000 };
  const more = { ...auto, extraBudgets: [burst] };
  const durations: number[] = [];
  for (const maxConcurrency of [3, 'auto'] as const) {
    await using database = await testDatabase();
    await using sync = createSync(options(database.url, emulator, days, { ...more, maxConcurrency }));
    const decisions = decisionsOf(sync);
    const outcome = await sync.run();
    expect(outcome).toMatchObject({ status: 'complete', quotaRefusals: 0, retries: 0 });
    durations.push(outcome.durationMs);
    if (maxConcurrency === 'auto') {
      expect(Math.max(...decisions.map(({ to }) => to))).toBeGreaterThanOrEqual(8);
      expect(decisions[0]).toEqual({ from: 3, to: 4, reason: 'slowStart' });
      expect(emulator.counters.maxConcurrentCalls).toBeGreaterThanOrEqual(6);
      expect(emulator.counters.maxConcurrentCalls).toBeLessThanOrEqual(16);
    } else {
      expect(decisions).toEqual([]);
      expect(emulator.counters.maxConcurrentCalls).toBe(3);
    }
    expect(largestWindow(emulator, burst.windowMs)).toBeLessThanOrEqual(burst.limit);
    expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
  }
  const [three = 0, found = 0] = durations;
  expect(three / found).toBeGreaterThan(1.3);
});

test('near a quota it stays where it is', async () => {
  const days = settledDays(20);
  await using emulator = await emulate({ rowsPerDay: 8, latencyMs: 50 });
  await using database = await testDatabase();
  const burst = { scopeKind: 'site', limit: 10, windowMs: 1_000 };
  await using sync = createSync(options(database.url, emulator, days, { ...auto, extraBudgets: [burst] }));
  const decisions = decisionsOf(sync);
  expect(await sync.run()).toMatchObject({ status: 'complete', quotaRefusals: 0 });
  expect(decisions).toContainEqual(expect.objectContaining({ reason: 'quota' }));
  expect(Math.max(...decisions.map(({ to }) => to))).toBeLessThanOrEqual(4);
});

test('a refusal takes it down at once, and all is there in the end', async () => {
  const days = settledDays(40);
  await using emulator = await emulate({
    rowsPerDay: 8,
    latencyMs: 100,
    faults: { rules: [{ nth: 45, action: { kind: 'error', error: 'qps', retryAfterS: 1 } }] },
  });
  await using database = await testDatabase();
  await using sync = createSync(options(database.url, emulator, days, auto));
  const decisions = decisionsOf(sync);
  expect(await sync.run()).toMatchObject({ status: 'complete', quotaRefusals: 1, slices: { failed: 0 } });
  const refused = decisions.filter(({ reason }) => reason === 'refused');
  expect(refused).toHaveLength(1);
  expect(refused[0]?.to).toBeLessThan(refused[0]?.from ?? 0);
  expect(refused[0]?.detail).toBe('too many requests per minute');
  expect(decisions.filter(({ reason }) => reason === 'repeated')).toEqual([]);
  expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
});

test('calls that fail again and again take it to 1', async () => {
  const days = settledDays(30);
  await using emulator = await emulate({
    rowsPerDay: 8,
    latencyMs: 20,
    faults: { rules: [{ match: { endpoint: 'batch' }, every: 2, times: 12, action: { kind: 'reset' } }] },
  });
  await using database = await testDatabase();
  await using sync = createSync(options(database.url, emulator, days, auto));
  const decisions = decisionsOf(sync);
  expect(await sync.run()).toMatchObject({ status: 'complete', slices: { failed: 0 } });
  expect(decisions).toContainEqual(expect.objectContaining({ to: 1, reason: 'repeated' }));
});

describe('whose hand is on it', () => {
  test('setConcurrency ends auto', async () => {
    const days = settledDays(30);
    await using emulator = await emulate({ rowsPerDay: 8, latencyMs: 30 });
    await using database = await testDatabase();
    await using sync = createSync(options(database.url, emulator, days, auto));
    const decisions = decisionsOf(sync);
    const seen: Progress[] = [];
    sync.on('progress', (progress) => seen.push(progress));
    sync.on('concurrency', ({ reason }) => {
      if (reason === 'slowStart') sync.setConcurrency(2);
    });
    expect(await sync.run()).toMatchObject({ status: 'complete' });
    expect(decisions).toEqual([
      { from: 3, to: 4, reason: 'slowStart' },
      { from: 4, to: 2, reason: 'asked' },
    ]);
    expect(seen.at(-1)).toMatchObject({ maxConcurrency: 2, isAuto: false });
  });

  test('a connection passed in bounds it', async () => {
    const days = settledDays(30);
    await using emulator = await emulate({ rowsPerDay: 8, latencyMs: 30 });
    await using database = await testDatabase();
    const sql = postgres(database.url, { max: 4, onnotice: () => {} });
    try {
      await using sync = createSync(options(sql, emulator, days, auto));
      const decisions = decisionsOf(sync);
      expect(await sync.run()).toMatchObject({ status: 'complete' });
      expect(decisions.filter(({ to }) => to > 3)).toEqual([]);
      expect(emulator.counters.maxConcurrentCalls).toBeLessThanOrEqual(3);
    } finally {
      await sql.end();
    }
  });
});
