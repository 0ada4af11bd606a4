// @module-tag long
// Holds invariants 8 of SPEC.md.
import postgres from 'postgres';
import { expect, test } from 'vitest';
import type { InspectionEvent } from 'xstate';
import { createRateLimiter } from '../../src/sync/limiter.ts';
import { createSync } from '../../src/sync/sync.ts';
import type { Progress, Sync } from '../../src/sync/types.ts';
import { differences } from '../support/compare.ts';
import { testDatabase } from '../support/postgres.ts';
import { emulate, largestWindow, options, queries, SITE, settledDays } from '../support/property.ts';
import { until } from '../support/until.ts';

const web = { siteUrl: SITE, searchTypes: ['web'] } as const;
const datasets = ['page', 'page+query'];

/** What the sync last said of itself. */
function latest(sync: Sync): () => Progress | undefined {
  let progress: Progress | undefined;
  sync.on('progress', (told) => {
    progress = told;
  });
  return () => progress;
}

test('pause lets calls under way finish and starts none; resume goes on', async () => {
  const days = settledDays(20);
  await using emulator = await emulate({ rowsPerDay: 60, latencyMs: 20 });
  await using database = await testDatabase();
  await using sync = createSync(options(database.url, emulator, days, { datasets, batchSize: 1 }));
  const progress = latest(sync);
  const running = sync.run();
  await until(() => (progress()?.slicesDone ?? 0) >= 5, 'five slices');
  sync.pause();
  await until(() => progress()?.state === 'paused', 'paused');
  expect(progress()?.pagesInFlight).toBe(0);
  const { httpCalls } = emulator.counters;
  expect(httpCalls).toBeLessThan(41);
  // Ten times as long as a call takes.
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(emulator.counters.httpCalls).toBe(httpCalls);
  sync.resume();
  expect(await running).toMatchObject({ status: 'complete', retries: 0, apiCalls: 41 });
  expect(await differences(database.sql, emulator, { ...web, datasets, days })).toEqual([]);
});

test('a pause asked for before anything is open holds from the first call on', async () => {
  await using emulator = await emulate({ rowsPerDay: 60 });
  await using database = await testDatabase();
  await using sync = createSync(options(database.url, emulator, settledDays(3)));
  const progress = latest(sync);
  const running = sync.run();
  sync.pause();
  await until(() => progress()?.state === 'paused', 'paused');
  expect(emulator.counters.httpCalls).toBeLessThanOrEqual(1);
  sync.resume();
  expect(await running).toMatchObject({ status: 'complete' });
});

test('concurrency up and down while it runs', async () => {
  const days = settledDays(60);
  const latencyMs = 40;
  await using emulator = await emulate({ rowsPerDay: 40, latencyMs });
  await using database = await testDatabase();
  await using sync = createSync(
    options(database.url, emulator, days, { datasets, batchSize: 1, maxConcurrency: 1 }),
  );
  const progress = latest(sync);
  const running = sync.run();
  await until(() => (progress()?.slicesDone ?? 0) >= 8, 'eight slices');
  expect(emulator.counters.maxConcurrentCalls).toBe(1);
  sync.setConcurrency(6);
  await until(() => emulator.counters.maxConcurrentCalls === 6, 'six calls at once');
  const at = emulator.requests.length;
  sync.setConcurrency(1);
  // Those under way finish; from then on a call starts when the one before it has ended.
  await until(() => emulator.requests.length >= at + 20, 'twenty more calls');
  const starts = emulator.requests.slice(at + 6, at + 20).map(({ arrivedAtMs }) => arrivedAtMs);
  const gaps = starts.slice(1).map((start, index) => start - (starts[index] ?? 0));
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(latencyMs - 2);
  sync.setConcurrency(4);
  expect(await running).toMatchObject({ status: 'complete', retries: 0 });
  expect(emulator.counters.maxConcurrentCalls).toBe(6);
  expect(() => sync.setConcurrency(0)).toThrow('maxConcurrency');
  expect(await differences(database.sql, emulator, { ...web, datasets, days })).toEqual([]);
});

test('halt resolves when all is quiet; another run resumes where it stopped', async () => {
  const days = settledDays(30);
  await using emulator = await emulate({ rowsPerDay: 250, latencyMs: 30 });
  await using database = await testDatabase();
  const settings = options(database.url, emulator, days, { datasets, batchSize: 2, rowsPerPage: 100 });
  await using sync = createSync(settings);
  const progress = latest(sync);
  const running = sync.run();
  await until(() => (progress()?.slicesDone ?? 0) >= 10, 'ten slices');
  await sync.halt('enough for today');
  const { httpCalls } = emulator.counters;
  const outcome = await running;
  expect(outcome).toMatchObject({
    status: 'halted',
    haltReason: { kind: 'asked', reason: 'enough for today' },
  });
  expect(outcome.slices.complete).toBeGreaterThanOrEqual(10);
  expect(await database.sql`select status, halt_reason from longtail.run`).toEqual([
    { status: 'halted', halt_reason: 'enough for today' },
  ]);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(emulator.counters.httpCalls).toBe(httpCalls);

  await using rest = createSync(settings);
  expect(await rest.run()).toMatchObject({ status: 'complete', slices: { complete: 60 } });
  expect(await differences(database.sql, emulator, { ...web, datasets, days })).toEqual([]);
  // What was complete was not fetched again, nor pages that were in the ledger.
  const asked = queries(emulator).map(
    ({ date, dimensions, startRow }) => `${date} ${dimensions} ${startRow}`,
  );
  expect(asked.length - new Set(asked).size).toBeLessThanOrEqual(1 + 3 * 2);
});

test('an abort signal: before, while, after', async () => {
  const days = settledDays(20);
  await using emulator = await emulate({ rowsPerDay: 60, latencyMs: 30 });
  await using database = await testDatabase();
  const settings = options(database.url, emulator, days, { datasets, batchSize: 2 });

  await using before = createSync(settings);
  expect(await before.run({ signal: AbortSignal.abort('not now') })).toMatchObject({
    status: 'halted',
    haltReason: { kind: 'asked', reason: 'not now' },
    apiCalls: 0,
  });
  expect(emulator.counters.httpCalls).toBe(0);

  const controller = new AbortController();
  await using during = createSync(settings);
  const progress = latest(during);
  const running = during.run({ signal: controller.signal });
  await until(() => (progress()?.slicesDone ?? 0) >= 4, 'four slices');
  controller.abort('SIGTEST');
  expect(await running).toMatchObject({ status: 'halted', haltReason: { kind: 'asked', reason: 'SIGTEST' } });

  const late = new AbortController();
  await using after = createSync(settings);
  const outcome = await after.run({ signal: late.signal });
  late.abort();
  expect(outcome).toMatchObject({ status: 'complete', slices: { complete: 40 } });
  expect(await differences(database.sql, emulator, { ...web, datasets, days })).toEqual([]);
});

test('a second synchronisation of the property is refused, and touches nothing', async () => {
  const days = settledDays(6);
  await using emulator = await emulate({ rowsPerDay: 60, latencyMs: 10 });
  await using database = await testDatabase();
  const settings = options(database.url, emulator, days, { datasets });
  await using first = createSync(settings);
  const progress = latest(first);
  const running = first.run();
  first.pause();
  await until(() => progress()?.state === 'paused', 'paused');
  const state = () => database.sql`
    select (select jsonb_agg(p) from longtail.property p) as property, (select jsonb_agg(r) from longtail.run r) as run,
      (select count(*) from longtail.slice) as slices, (select count(*) from longtail.quota_lease) as leases`;
  const held = await state();
  const { httpCalls } = emulator.counters;
  await using second = createSync(settings);
  await expect(second.run()).rejects.toMatchObject({ code: 'PROPERTY_BUSY' });
  expect(await state()).toEqual(held);
  expect(emulator.counters.httpCalls).toBe(httpCalls);
  first.resume();
  expect(await running).toMatchObject({ status: 'complete' });
  await using third = createSync(settings);
  expect(await third.run()).toMatchObject({ status: 'complete', apiCalls: 0 });
});

test('two properties under one account share a limiter', async () => {
  const days = settledDays(20);
  const sites = ['sc-domain:one.example', 'https://two.example/'];
  await using emulator = await emulate({ sites, rowsPerDay: 40 });
  await using database = await testDatabase();
  const limiter = createRateLimiter({
    requestsPerMinute: 40_000,
    extraBudgets: [{ scopeKind: 'user', limit: 20, windowMs: 1_000 }],
  });
  try {
    const syncs = sites.map((siteUrl) =>
      createSync({ ...options(database.url, emulator, days, { datasets, rateLimiter: limiter }), siteUrl }),
    );
    const outcomes = await Promise.all(syncs.map((sync) => sync.run()));
    expect(outcomes.map(({ status }) => status)).toEqual(['complete', 'complete']);
    for (const siteUrl of sites) {
      expect(
        await differences(database.sql, emulator, { siteUrl, searchTypes: ['web'], datasets, days }),
      ).toEqual([]);
    }
    expect(largestWindow(emulator, 1_000)).toBeLessThanOrEqual(20);
  } finally {
    limiter.close();
  }
});

test('a second process under the account is refused, without a shared limiter', async () => {
  const sites = ['sc-domain:one.example', 'sc-domain:two.example'];
  await using emulator = await emulate({ sites, rowsPerDay: 40 });
  await using database = await testDatabase();
  const settings = options(database.url, emulator, settledDays(3), { datasets });
  await using first = createSync({ ...settings, siteUrl: 'sc-domain:one.example' });
  const progress = latest(first);
  const running = first.run();
  first.pause();
  await until(() => progress()?.state === 'paused', 'paused');
  await using second = createSync({ ...settings, siteUrl: 'sc-domain:two.example' });
  await expect(second.run()).rejects.toMatchObject({ code: 'USER_SCOPE_BUSY' });
  first.resume();
  expect(await running).toMatchObject({ status: 'complete' });
});

test('a listener that throws harms nothing; one that unsubscribed hears nothing', async () => {
  const days = settledDays(4);
  await using emulator = await emulate({
    rowsPerDay: 60,
    faults: { rules: [{ nth: 3, action: { kind: 'error', error: 'backendError' } }] },
  });
  await using database = await testDatabase();
  await using sync = createSync(options(database.url, emulator, days, { datasets }));
  const heard: string[] = [];
  for (const type of ['progress', 'slice', 'quota', 'retry'] as const) {
    sync.on(type, () => {
      heard.push(type);
      throw new Error('a listener’s own fault');
    });
  }
  const stop = sync.on('slice', () => heard.push('unsubscribed'));
  stop();
  expect(await sync.run()).toMatchObject({ status: 'complete', retries: 1 });
  expect(heard.filter((type) => type === 'slice')).toHaveLength(8);
  expect(heard).toContain('progress');
  expect(heard).toContain('retry');
  expect(heard).not.toContain('unsubscribed');
});

test('runs once; close halts what runs, and closes only what it opened', async () => {
  const days = settledDays(20);
  await using emulator = await emulate({ rowsPerDay: 60, latencyMs: 30 });
  await using database = await testDatabase();
  const sql = postgres(database.url, { max: 5, onnotice: () => undefined });
  try {
    const settings = options(sql, emulator, days, { datasets, batchSize: 2 });
    const sync = createSync(settings);
    const progress = latest(sync);
    const running = sync.run();
    await expect(sync.run()).rejects.toMatchObject({ code: 'ALREADY_RUN' });
    await until(() => (progress()?.slicesDone ?? 0) >= 2, 'two slices');
    await sync.close();
    expect(await running).toMatchObject({
      status: 'halted',
      haltReason: { kind: 'asked', reason: 'closed' },
    });
    await expect(sync.run()).rejects.toMatchObject({ code: 'CLOSED' });
    await sync.close();
    // The host's own connection goes on, and another run uses it.
    await using rest = createSync(settings);
    expect(await rest.run()).toMatchObject({ status: 'complete' });
    await expect(rest.run()).rejects.toMatchObject({ code: 'ALREADY_RUN' });
    expect(await sql`select 1 as alive`).toEqual([{ alive: 1 }]);
    // More calls at once than the pool has connections: what must wait waits.
    await using many = createSync({ ...settings, refresh: true, maxConcurrency: 12 });
    expect(await many.run()).toMatchObject({ status: 'complete' });
  } finally {
    await sql.end({ timeout: 1 });
  }
  await until(async () => {
    const [open] = await database.sql<{ count: number }[]>`
      select count(*)::int as count from pg_stat_activity
      where datname = current_database() and application_name = 'longtail'`;
    return open?.count === 0;
  }, 'no connection of ours is left');
});

test('an inspector sees the machines, and never a row', async () => {
  const days = settledDays(4);
  await using emulator = await emulate({ rowsPerDay: 200 });
  await using database = await testDatabase();
  const seen: InspectionEvent[] = [];
  await using sync = createSync(
    options(database.url, emulator, days, {
      datasets,
      rowsPerPage: 100,
      inspect: (event) => void seen.push(event),
    }),
  );
  expect(await sync.run()).toMatchObject({ status: 'complete' });
  const events = seen.flatMap((event) => (event.type === '@xstate.event' ? [event.event] : []));
  const types = new Set(events.map(({ type }) => type));
  for (const type of ['batch.assign', 'tokens.granted', 'page.committed', 'lease.settled', 'plan.supplied']) {
    expect(types).toContain(type);
  }
  for (const event of events) {
    const text = JSON.stringify(event);
    expect(text.length).toBeLessThan(20_000);
    expect(text).not.toContain('example.com/');
  }
});

test('a property that may not be read ends the run at once, and says what to do', async () => {
  const days = settledDays(3);
  await using emulator = await emulate({
    sites: [{ siteUrl: SITE, permissionLevel: 'siteUnverifiedUser' }],
  });
  await using database = await testDatabase();
  for (const siteUrl of [SITE, 'sc-domain:elsewhere.example']) {
    await using sync = createSync({ ...options(database.url, emulator, days), siteUrl });
    const outcome = await sync.run();
    expect(outcome).toMatchObject({ status: 'failed', failure: { code: 'FORBIDDEN' }, apiCalls: 1 });
    expect(outcome.status === 'failed' && outcome.failure.nextStep).toBeTruthy();
  }
});

test('a slice that Google calls wrong fails alone; the next run takes up just that one', async () => {
  const days = settledDays(5);
  const bad = days[2] ?? '';
  await using emulator = await emulate({
    rowsPerDay: 60,
    faults: {
      rules: [{ match: { date: bad, dimensions: 'page' }, action: { kind: 'error', error: 'badRequest' } }],
    },
  });
  await using database = await testDatabase();
  const settings = options(database.url, emulator, days, { datasets });
  await using sync = createSync(settings);
  const outcome = await sync.run();
  expect(outcome).toMatchObject({
    status: 'completeWithFailures',
    slices: { planned: 10, complete: 9, failed: 1 },
    failures: [{ searchType: 'web', dataset: 'page', date: bad }],
    retries: 0,
  });
  emulator.setFaults(undefined);
  const before = emulator.requests.length;
  await using again = createSync(settings);
  expect(await again.run()).toMatchObject({
    status: 'complete',
    slices: { complete: 10, failed: 0 },
    apiCalls: 2,
  });
  expect(
    queries(emulator)
      .slice(before)
      .map(({ dimensions }) => dimensions),
  ).toEqual(['date', 'page']);
  expect(await differences(database.sql, emulator, { ...web, datasets, days })).toEqual([]);
});

test('a page that fails each time uses up its attempts, and its slice fails', async () => {
  const days = settledDays(3);
  const bad = days[1] ?? '';
  await using emulator = await emulate({
    rowsPerDay: 60,
    faults: { rules: [{ match: { date: bad, dimensions: 'page' }, action: { kind: 'garblePart' } }] },
  });
  await using database = await testDatabase();
  await using sync = createSync(options(database.url, emulator, days, { datasets, maxAttempts: 2 }));
  expect(await sync.run()).toMatchObject({
    status: 'completeWithFailures',
    slices: { complete: 5, failed: 1 },
    retries: 1,
    failures: [{ dataset: 'page', date: bad }],
  });
  const asked = queries(emulator).filter(({ date, dimensions }) => date === bad && dimensions === 'page');
  expect(asked).toHaveLength(2);
});
