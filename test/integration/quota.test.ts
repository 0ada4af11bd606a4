// @module-tag long
// Holds invariants 3 of SPEC.md.

import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { createSync } from '../../src/sync/sync.ts';
import type { QuotaEvent, Sync } from '../../src/sync/types.ts';
import { differences } from '../support/compare.ts';
import { testDatabase } from '../support/postgres.ts';
import { credentialsFile, emulate, largestWindow, options, SITE, settledDays } from '../support/property.ts';
import { until } from '../support/until.ts';

const datasets = ['page', 'page+query'];
const web = { siteUrl: SITE, searchTypes: ['web'], datasets } as const;

/** The one error, whenever the rule says. */
const refuse = (error: 'qps' | 'load' | 'daily', rule: object) => ({
  rules: [{ ...rule, action: { kind: 'error', error, retryAfterS: 1 } as const }],
});

function quotaEvents(sync: Sync): QuotaEvent[] {
  const events: QuotaEvent[] = [];
  sync.on('quota', (event) => events.push(event));
  return events;
}

describe.concurrent('refusals', () => {
  test('for too many a minute: the limit is lowered, it cools off, and the run completes', async () => {
    const days = settledDays(10);
    await using emulator = await emulate({ rowsPerDay: 60, faults: refuse('qps', { nth: 4 }) });
    await using database = await testDatabase();
    await using sync = createSync(
      options(database.url, emulator, days, { datasets, batchSize: 5, requestsPerMinute: 1_200 }),
    );
    const events = quotaEvents(sync);
    expect(await sync.run()).toMatchObject({ status: 'complete', quotaRefusals: 1, slices: { failed: 0 } });
    expect(events).toContainEqual({ kind: 'refused', quota: 'qps' });
    expect(events).toContainEqual({ kind: 'cooling', quota: 'qps', coolingMs: 1_000 });
    const lowered = events.filter((event) => event.kind === 'lowered');
    expect(lowered.find(({ scope }) => scope === `site:${SITE}`)?.limit).toBe(300);
    expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
  });

  test('for too much work: it cools off twice, and then completes', async () => {
    const days = settledDays(6);
    await using emulator = await emulate({ rowsPerDay: 60, faults: refuse('load', { every: 5, times: 2 }) });
    await using database = await testDatabase();
    await using sync = createSync(options(database.url, emulator, days, { datasets, batchSize: 2 }));
    const events = quotaEvents(sync);
    expect(await sync.run()).toMatchObject({ status: 'complete', quotaRefusals: 2 });
    expect(events).toContainEqual({ kind: 'cooling', quota: 'load', coolingMs: 1_000 });
    expect(events.filter(({ kind }) => kind === 'lowered')).toEqual([]);
    expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
  });

  test('for too much work, again and again: the run halts, and another goes on later', async () => {
    const days = settledDays(6);
    await using emulator = await emulate({ rowsPerDay: 60 });
    await using database = await testDatabase();
    const settings = options(database.url, emulator, days, { datasets, batchSize: 2 });
    await using sync = createSync(settings);
    sync.on('slice', () => emulator.setFaults(refuse('load', {})));
    const outcome = await sync.run();
    expect(outcome).toMatchObject({ status: 'halted', haltReason: { kind: 'quota', quota: 'load' } });
    expect(outcome.slices.complete).toBeGreaterThan(0);
    expect(outcome.slices.failed).toBe(0);
    emulator.setFaults(undefined);
    await using later = createSync(settings);
    expect(await later.run()).toMatchObject({ status: 'complete', slices: { complete: 12 } });
    expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
  });

  test('for the day: the run halts at once, and another goes on later', async () => {
    const days = settledDays(6);
    await using emulator = await emulate({ rowsPerDay: 60, quotas: { perDay: 6 } });
    await using database = await testDatabase();
    const settings = options(database.url, emulator, days, { datasets, batchSize: 2, maxConcurrency: 1 });
    await using sync = createSync(settings);
    expect(await sync.run()).toMatchObject({
      status: 'halted',
      haltReason: { kind: 'quota', quota: 'daily' },
      slices: { complete: 5, failed: 0 },
      failures: [],
    });
    expect(await database.sql`select status, halt_reason from longtail.run`).toEqual([
      { status: 'halted', halt_reason: 'daily' },
    ]);
    emulator.setQuotas({ perDay: 1_000 });
    await using later = createSync(settings);
    expect(await later.run()).toMatchObject({ status: 'complete', slices: { complete: 12 } });
    expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
  });
});

describe('sign-in', () => {
  test('tokens that expire while calls are under way are renewed', async () => {
    const days = settledDays(10);
    await using emulator = await emulate({
      rowsPerDay: 60,
      latencyMs: 10,
      tokens: { requireIssuedTokens: true },
    });
    await using credentials = await credentialsFile();
    await using database = await testDatabase();
    await using sync = createSync(
      options(database.url, emulator, days, {
        datasets,
        batchSize: 2,
        credentials: { file: credentials.path },
        tokenUrl: `${emulator.url}token`,
      }),
    );
    let slices = 0;
    sync.on('slice', () => {
      slices += 1;
      if (slices % 6 === 0) emulator.expireTokens();
    });
    expect(await sync.run()).toMatchObject({ status: 'complete', slices: { complete: 20 } });
    // HTTP calls that brought no request that counts: refused ones, and those that renewed the token.
    const { httpCalls } = emulator.counters;
    const counted = new Set(emulator.requests.map(({ httpCall }) => httpCall)).size;
    expect(httpCalls - counted).toBeGreaterThanOrEqual(1 + 2 * 2);
    expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
  });

  test('a token that stays refused ends the run, and nothing is hammered', async () => {
    await using emulator = await emulate({ tokens: { requireIssuedTokens: true } });
    await using database = await testDatabase();
    await using sync = createSync(
      options(database.url, emulator, settledDays(3), { credentials: { getAccessToken: () => 'stale' } }),
    );
    expect(await sync.run()).toMatchObject({ status: 'failed', failure: { code: 'UNAUTHORIZED' } });
    expect(emulator.counters.httpCalls).toBeLessThanOrEqual(2);
  });

  test('a revoked sign-in says so', async () => {
    await using credentials = await credentialsFile();
    const { refresh_token: refreshToken } = JSON.parse(await readFile(credentials.path, 'utf8'));
    await using emulator = await emulate({ tokens: { revoked: [refreshToken] } });
    await using database = await testDatabase();
    await using sync = createSync(
      options(database.url, emulator, settledDays(3), {
        credentials: { file: credentials.path },
        tokenUrl: `${emulator.url}token`,
      }),
    );
    expect(await sync.run()).toMatchObject({
      status: 'failed',
      failure: { code: 'INVALID_GRANT' },
      apiCalls: 0,
    });
  });
});

describe('the window is never overrun', () => {
  const budget = { scopeKind: 'site', limit: 20, windowMs: 1_000 };

  for (const batchSize of [1, 7, 20, 50]) {
    test.concurrent(`at batch size ${batchSize}`, async () => {
      const days = settledDays(40);
      await using emulator = await emulate({ rowsPerDay: 30, latencyMs: 15, latencyJitter: 1 });
      await using database = await testDatabase();
      await using sync = createSync(
        options(database.url, emulator, days, { datasets, batchSize, extraBudgets: [budget] }),
      );
      expect(await sync.run()).toMatchObject({ status: 'complete', apiCalls: 81, quotaRefusals: 0 });
      expect(largestWindow(emulator, budget.windowMs)).toBeLessThanOrEqual(budget.limit);
      // Or another limit would have been at work.
      expect(largestWindow(emulator, budget.windowMs)).toBeGreaterThan(budget.limit / 2);
      expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
    });
  }

  test.concurrent('across restarts: what an earlier run took still counts', async () => {
    const days = settledDays(30);
    await using emulator = await emulate({ rowsPerDay: 30 });
    await using database = await testDatabase();
    const wide = { scopeKind: 'site', limit: 20, windowMs: 1_500 };
    const settings = options(database.url, emulator, days, { datasets, batchSize: 5, extraBudgets: [wide] });
    for (let run = 0; run < 2; run += 1) {
      await using sync = createSync(settings);
      const at = emulator.requests.length;
      const running = sync.run();
      // Halted with nothing under way: the quota is used up, and all waits for it.
      await until(() => emulator.requests.length >= at + 20, 'the quota is used up');
      sync.pause();
      await sync.halt();
      await running;
    }
    await using last = createSync(settings);
    expect(await last.run()).toMatchObject({ status: 'complete', slices: { complete: 60 } });
    expect(largestWindow(emulator, wide.windowMs)).toBeLessThanOrEqual(wide.limit);
    expect(await differences(database.sql, emulator, { ...web, days })).toEqual([]);
  });
});
