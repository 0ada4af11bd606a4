// Holds invariants 3, 5 of SPEC.md.
/** `createVerification` against the emulator: what it draws, finds, and never does. */
import { describe, expect, test } from 'vitest';
import type { Day } from '../../src/domain/slice.ts';
import type { Emulator, Faults } from '../../src/emulator/index.ts';
import { createRateLimiter } from '../../src/sync/limiter.ts';
import { createSync } from '../../src/sync/sync.ts';
import type { SyncOptions } from '../../src/sync/types.ts';
import type { VerificationOptions } from '../../src/sync/verification/types.ts';
import { createVerification } from '../../src/sync/verification/verification.ts';
import { type TestDatabase, testDatabase } from '../support/postgres.ts';
import { emulate, largestWindow, options, SITE, settledDays } from '../support/property.ts';

interface Filtered {
  readonly startDate: Day;
  readonly dimensions: readonly string[];
  readonly dimensionFilterGroups?: readonly {
    readonly filters: readonly {
      readonly dimension: string;
      readonly operator: string;
      readonly expression: string;
    }[];
  }[];
}

async function copy(
  database: TestDatabase,
  emulator: Emulator,
  days: readonly Day[],
  more: Partial<SyncOptions> = {},
): Promise<void> {
  await using sync = createSync(options(database.url, emulator, days, more));
  expect(await sync.run()).toMatchObject({ status: 'complete' });
}

function verificationOptions(
  database: NonNullable<VerificationOptions['database']>,
  emulator: Emulator,
  days: readonly Day[],
  more: Partial<VerificationOptions> = {},
): VerificationOptions {
  const { siteUrl, from, to, apiRoot, credentials, requestsPerMinute } = options(database, emulator, days);
  return { siteUrl, database, from, to, apiRoot, credentials, requestsPerMinute, seed: 7, ...more };
}

async function verify(...given: Parameters<typeof verificationOptions>) {
  await using verification = createVerification(verificationOptions(...given));
  return await verification.run();
}

/** What was asked for since `from`, as text. */
const asked = (emulator: Emulator, from: number): string[] =>
  emulator.requests.slice(from).map(({ body }) => JSON.stringify(body));

/** A row that the emulator serves, by its place among those of the day. */
async function rowOf(emulator: Emulator, date: Day, dimensions: readonly string[], place = 0) {
  const { rows } = await emulator.served(SITE, {
    startDate: date,
    endDate: date,
    dimensions,
    dataState: 'all',
  });
  const row = rows[place];
  if (row === undefined) throw new Error('the emulator serves no such row');
  return row;
}

const keyOf = ([page = '', query = '']: readonly string[]) => ({ page, query });

function change(date: Day, keys: readonly string[], to: object | null): Faults {
  return {
    rules: [
      { match: { date, dimensions: 'page+query' }, action: { kind: 'changeRow', key: keyOf(keys), to } },
    ],
  };
}

describe.concurrent('a table that is as Google says', () => {
  test('is equal: every dataset and search type, rows and keys that the table lacks', async () => {
    const days = settledDays(4);
    await using emulator = await emulate({ rowsPerDay: 60 });
    await using database = await testDatabase();
    await copy(database, emulator, days, {
      datasets: [
        'date',
        'page',
        'query',
        'page+query',
        'country',
        'device',
        'searchAppearance',
        'page+country+device',
      ],
    });
    await copy(database, emulator, days, {
      datasets: ['page', 'country'],
      searchTypes: ['discover', 'image'],
    });
    const before = emulator.requests.length;
    const outcome = await verify(database.url, emulator, days, { sample: 200 });
    expect(outcome).toMatchObject({ status: 'equal', different: 0, unanswered: 0, skipped: 0, notAsked: 0 });
    const { rows, absent } = outcome.drawn;
    expect([rows + absent, outcome.equal, outcome.apiCalls]).toEqual([200, 200, 200]);
    expect(absent).toBeGreaterThan(10);
    expect(outcome.httpCalls).toBe(4);
    const [{ count } = { count: 0 }] = await database.sql<{ count: number }[]>`
      select count(*)::int as count from search_analytics`;
    expect(outcome.population.rows).toBe(count);
    // A filter for each dimension, one day.
    for (const { body } of emulator.requests.slice(before)) {
      const { dimensions, dimensionFilterGroups = [] } = body as Filtered;
      const filters = dimensionFilterGroups.flatMap((group) => group.filters);
      expect(filters.map(({ dimension }) => dimension)).toEqual(dimensions);
      expect(filters.every(({ operator }) => operator === 'equals')).toBe(true);
    }
    const runs =
      await database.sql`select status, parameters, halt_reason from longtail.run order by id desc limit 1`;
    expect(runs[0]).toEqual({
      status: 'complete',
      halt_reason: null,
      parameters: { verification: { dataset: null, searchType: null, sample: 200, seed: 7 } },
    });
    expect(await database.sql`select from longtail.lease`).toHaveLength(0);
  });

  test('the same seed asks for the same keys, another for others; one dataset and type alone', async () => {
    const days = settledDays(3);
    await using emulator = await emulate({ rowsPerDay: 80 });
    await using database = await testDatabase();
    await copy(database, emulator, days, { searchTypes: ['web', 'image'] });
    const samples: string[][] = [];
    for (const seed of [1, 1, 2]) {
      const before = emulator.requests.length;
      const more = { seed, sample: 40, dataset: 'query+page', searchType: 'web' } as const;
      const outcome = await verify(database.url, emulator, days, more);
      expect(outcome).toMatchObject({ status: 'equal', seed, dataset: 'page+query', searchType: 'web' });
      samples.push(asked(emulator, before));
    }
    const [first = [], again = [], other = []] = samples;
    expect(again).toEqual(first);
    expect(new Set(first).size).toBe(40);
    expect(other.filter((body) => first.includes(body)).length).toBeLessThan(40);
    expect(first.every((body) => body.includes('"dimensions":["page","query"],"type":"web"'))).toBe(true);
  });

  test('is equal with every fault that passes: a difference is asked for twice', async () => {
    const days = settledDays(3);
    await using emulator = await emulate({ rowsPerDay: 60 });
    await using database = await testDatabase();
    await copy(database, emulator, days);
    emulator.setFaults({
      seed: 3,
      rules: [
        { match: { part: 1 }, times: 3, action: { kind: 'noRows' } },
        { match: { endpoint: 'batch' }, nth: 2, action: { kind: 'reset', afterBytes: 900 } },
        { match: { endpoint: 'batch' }, every: 4, action: { kind: 'shuffleParts' } },
        { probability: 0.05, times: 5, action: { kind: 'error', error: 'backendError' } },
        { probability: 0.05, times: 5, action: { kind: 'dropPart' } },
        { probability: 0.05, times: 5, action: { kind: 'garblePart' } },
      ],
    });
    const outcome = await verify(database.url, emulator, days, { sample: 60, batchSize: 10 });
    expect(outcome).toMatchObject({ status: 'equal', different: 0, unanswered: 0, notAsked: 0 });
    expect(outcome.apiCalls).toBeGreaterThan(63);
  });

  test('sessions that are ended while it asks cost nothing', async () => {
    const days = settledDays(2);
    await using emulator = await emulate({ rowsPerDay: 60, latencyMs: 30 });
    await using database = await testDatabase();
    await copy(database, emulator, days);
    await using verification = createVerification(
      verificationOptions(database.url, emulator, days, { sample: 60, batchSize: 10 }),
    );
    let ended: Promise<unknown> | undefined;
    verification.on('progress', ({ state, done }) => {
      if (state !== 'asking' || done < 10) return;
      ended ??= database.sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and application_name like 'longtail%'`;
    });
    expect(await verification.run()).toMatchObject({ status: 'equal', equal: 60 });
    expect(ended).toBeDefined();
    await ended;
  });

  test('keys with characters that PostgreSQL cannot store are skipped, and said', async () => {
    const days = settledDays(2);
    await using emulator = await emulate({ rowsPerDay: 300, nulQueries: true });
    await using database = await testDatabase();
    await copy(database, emulator, days, { datasets: ['page+query'] });
    const outcome = await verify(database.url, emulator, days, { sample: 600 });
    expect(outcome).toMatchObject({ status: 'equal', different: 0 });
    expect(outcome.skipped).toBeGreaterThan(0);
    expect(outcome.skippedKeys).toContainEqual(
      expect.objectContaining({ dataset: 'page+query', why: 'replacedCharacters' }),
    );
  });
});

describe.concurrent('a table that is not as Google says', () => {
  test.each([
    ['clicks', { clicks: 1_234_567 }],
    ['impressions', { impressions: 1_234_567 }],
    ['position', { position: 77.5 }],
  ] as const)('%s of one row', async (name, to) => {
    const days = settledDays(2);
    const [day = ''] = days;
    await using emulator = await emulate({ rowsPerDay: 40 });
    await using database = await testDatabase();
    await copy(database, emulator, days, { datasets: ['page+query'] });
    const row = await rowOf(emulator, day, ['page', 'query'], 5);
    emulator.setFaults(change(day, row.keys, to));
    const told: unknown[] = [];
    await using verification = createVerification(
      verificationOptions(database.url, emulator, days, { sample: 1_000 }),
    );
    verification.on('difference', (difference) => told.push(difference));
    const outcome = await verification.run();
    const { clicks, impressions, position = null } = row;
    const table = { clicks, impressions, position };
    const found = {
      searchType: 'web',
      dataset: 'page+query',
      date: day,
      key: keyOf(row.keys),
      kind: 'changed',
      table,
      google: { ...table, ...to },
      version: 1,
      fetchedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
      askedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    };
    expect(outcome).toMatchObject({ status: 'different', different: 1, differences: [found] });
    expect(told).toEqual([found]);
    expect(outcome.differences[0]?.google?.[name]).toBe(Object.values(to)[0]);
    // Asked for once more before it was said.
    expect(outcome.apiCalls).toBe(outcome.equal + 2);
    const [run] = await database.sql`select status from longtail.run order by id desc limit 1`;
    expect(run).toEqual({ status: 'completeWithFailures' });
  });

  test('a row that Google no longer has', async () => {
    const days = settledDays(2);
    const [day = ''] = days;
    await using emulator = await emulate({ rowsPerDay: 40 });
    await using database = await testDatabase();
    await copy(database, emulator, days, { datasets: ['page+query'] });
    const row = await rowOf(emulator, day, ['page', 'query'], 3);
    emulator.setFaults(change(day, row.keys, null));
    const outcome = await verify(database.url, emulator, days, { sample: 1_000 });
    expect(outcome).toMatchObject({
      status: 'different',
      different: 1,
      differences: [
        { kind: 'missingAtGoogle', key: keyOf(row.keys), google: null, table: { clicks: row.clicks } },
      ],
    });
  });

  test('a row that only Google has', async () => {
    const days = settledDays(2);
    const [day = '', other = ''] = days;
    await using emulator = await emulate({ rowsPerDay: 40 });
    await using database = await testDatabase();
    const { rows } = await emulator.served(SITE, {
      startDate: other,
      endDate: other,
      dimensions: ['page', 'query'],
      dataState: 'all',
    });
    const ofOther = new Set(rows.map(({ keys }) => JSON.stringify(keys)));
    let row = await rowOf(emulator, day, ['page', 'query']);
    for (let place = 1; !ofOther.has(JSON.stringify(row.keys)); place += 1) {
      row = await rowOf(emulator, day, ['page', 'query'], place);
    }
    // The answer that was copied lacked it.
    emulator.setFaults(change(day, row.keys, null));
    await copy(database, emulator, days, { datasets: ['page+query'] });
    emulator.setFaults(undefined);
    const outcome = await verify(database.url, emulator, days, { sample: 2_000 });
    const { clicks, impressions } = row;
    expect(outcome).toMatchObject({
      status: 'different',
      different: 1,
      differences: [
        {
          kind: 'missingInTable',
          date: day,
          key: keyOf(row.keys),
          table: null,
          google: { clicks, impressions },
        },
      ],
    });
  });
});

describe.concurrent('what it may not do', () => {
  test('go over a quota, its own requests and those of the run before taken together', async () => {
    const days = settledDays(6);
    const windowMs = 1_500;
    const extraBudgets = [{ scopeKind: 'site', limit: 12, windowMs }];
    await using emulator = await emulate({ rowsPerDay: 40 });
    await using database = await testDatabase();
    await copy(database, emulator, days, { extraBudgets, batchSize: 4 });
    const outcome = await verify(database.url, emulator, days, { extraBudgets, sample: 30, batchSize: 8 });
    expect(outcome).toMatchObject({ status: 'equal', equal: 30, quotaRefusals: 0 });
    expect(largestWindow(emulator, windowMs)).toBeLessThanOrEqual(12);
  });

  test('insist when the quota is gone', async () => {
    const days = settledDays(2);
    await using emulator = await emulate({ rowsPerDay: 40 });
    await using database = await testDatabase();
    await copy(database, emulator, days);
    emulator.setQuotas({ perDay: emulator.counters.apiCalls + 10 });
    const outcome = await verify(database.url, emulator, days, { sample: 30, batchSize: 10 });
    expect(outcome).toMatchObject({
      status: 'halted',
      haltReason: { kind: 'quota', quota: 'daily' },
      equal: 10,
      notAsked: 20,
    });
  });

  test('say that all is equal when some had no answer', async () => {
    const days = settledDays(2);
    await using emulator = await emulate({ rowsPerDay: 40 });
    await using database = await testDatabase();
    await copy(database, emulator, days);
    emulator.setFaults({
      rules: [{ match: { part: 2 }, times: 1, action: { kind: 'error', error: 'badRequest' } }],
    });
    const outcome = await verify(database.url, emulator, days, { sample: 20 });
    expect(outcome).toMatchObject({ status: 'incomplete', equal: 19, unanswered: 1, different: 0 });
    expect(outcome.unansweredKeys[0]?.reason).toContain('HTTP 400');
  });

  test('start anything after a halt, whenever it comes', async () => {
    const days = settledDays(2);
    await using emulator = await emulate({ rowsPerDay: 40, latencyMs: 40 });
    await using database = await testDatabase();
    await copy(database, emulator, days);
    for (const state of ['opening', 'drawing', 'waitingForTokens', 'asking'] as const) {
      await using verification = createVerification(
        verificationOptions(database.url, emulator, days, { sample: 40, batchSize: 10 }),
      );
      let atHalt: number | undefined;
      verification.on('progress', (progress) => {
        if (progress.state !== state || atHalt !== undefined) return;
        atHalt = emulator.requests.length;
        void verification.halt('enough');
      });
      if (state === 'opening') void Promise.resolve().then(() => verification.halt('enough'));
      const outcome = await verification.run();
      expect(outcome).toMatchObject({ status: 'halted', haltReason: { kind: 'asked', reason: 'enough' } });
      expect(outcome.equal).toBeLessThan(40);
      // The call under way may just have arrived.
      expect(emulator.requests.length).toBeLessThanOrEqual((atHalt ?? emulator.requests.length) + 10);
      const after = emulator.requests.length;
      await verification.close();
      expect(emulator.requests.length).toBe(after);
      expect(await database.sql`select from longtail.lease`).toHaveLength(0);
    }
    const running = await database.sql`select from longtail.run where status = 'running'`;
    expect(running).toHaveLength(0);
    expect(await verify(database.url, emulator, days, { sample: 20 })).toMatchObject({ status: 'equal' });
  });

  test('work beside a synchronisation of the property, unless it waits', async () => {
    const days = settledDays(4);
    await using emulator = await emulate({ rowsPerDay: 40, latencyMs: 150 });
    await using database = await testDatabase();
    await copy(database, emulator, days.slice(0, 1));
    await using sync = createSync(options(database.url, emulator, days, { batchSize: 1, maxConcurrency: 1 }));
    const running = sync.run();
    await new Promise<void>((resolve) => {
      sync.on('progress', ({ state }) => {
        if (state === 'fetching') resolve();
      });
    });
    // It keeps the property for as long as it is paused.
    sync.pause();
    await expect(verify(database.url, emulator, days, { sample: 10 })).rejects.toMatchObject({
      code: 'PROPERTY_BUSY',
    });
    const waiting = verify(database.url, emulator, days, { sample: 10, wait: true });
    sync.resume();
    expect(await running).toMatchObject({ status: 'complete' });
    expect(await waiting).toMatchObject({ status: 'equal' });
  });

  test('verify nothing and call it equal; a property that is not there does not come into being', async () => {
    const days = settledDays(2);
    await using emulator = await emulate({ rowsPerDay: 40 });
    await using database = await testDatabase();
    await expect(verify(database.url, emulator, days)).rejects.toMatchObject({
      code: 'NOTHING_TO_VERIFY',
      message: expect.stringContaining(SITE),
    });
    expect(await database.sql`select from longtail.property`).toHaveLength(0);
    await copy(database, emulator, days, { datasets: ['page'] });
    await expect(verify(database.url, emulator, days, { dataset: 'country' })).rejects.toMatchObject({
      code: 'NOTHING_TO_VERIFY',
    });
    expect(emulator.requests.filter(({ body }) => JSON.stringify(body).includes('Filter'))).toEqual([]);
  });
});

test('in a host: its pool and its limiter are used, and left open; it runs once', async () => {
  const days = settledDays(2);
  await using emulator = await emulate({ rowsPerDay: 40 });
  await using database = await testDatabase();
  const rateLimiter = createRateLimiter({ requestsPerMinute: 40_000 });
  await using sync = createSync({
    ...options(database.sql, emulator, days),
    requestsPerMinute: undefined,
    rateLimiter,
  });
  await sync.run();
  const given = verificationOptions(database.sql, emulator, days, { sample: 20 });
  await using verification = createVerification({ ...given, requestsPerMinute: undefined, rateLimiter });
  expect(await verification.run()).toMatchObject({ status: 'equal' });
  await expect(verification.run()).rejects.toMatchObject({ code: 'ALREADY_RUN' });
  await verification.close();
  await expect(verification.run()).rejects.toMatchObject({ code: 'CLOSED' });
  expect(await database.sql`select 1 as one`).toEqual([{ one: 1 }]);
  rateLimiter.close();
});

test.each([
  [{ sample: 0 }, 'sample is at least 1'],
  [{ sample: 10_001 }, 'sample is at most 10000'],
  [{ seed: -1 }, 'seed is at least 0'],
  [{ seed: 1.5 }, 'seed is a whole number'],
  [{ dataset: 'pages' }, '"pages" is not a dataset'],
  [{ siteUrl: 'example.com' }, 'is not a property’s name'],
])('options %j are refused', (wrong, message) => {
  expect(() => createVerification({ siteUrl: SITE, ...wrong })).toThrow(message);
});

test('one changed row of a million, when it is in the sample', {
  tags: ['long'],
  timeout: 120_000,
}, async () => {
  const days = settledDays(25);
  await using emulator = await emulate({ rowsPerDay: 40_000 });
  await using database = await testDatabase();
  await copy(database, emulator, days, { datasets: ['page+query'] });
  const before = emulator.requests.length;
  const more = { sample: 500, batchSize: 100 };
  const clean = await verify(database.url, emulator, days, more);
  expect(clean).toMatchObject({ status: 'equal', equal: 500 });
  expect(clean.population.rows).toBeGreaterThan(900_000);
  const drawn = emulator.requests[before + 123]?.body as Filtered;
  const keys = (drawn.dimensionFilterGroups ?? []).flatMap(({ filters }) =>
    filters.map(({ expression }) => expression),
  );
  emulator.setFaults(change(drawn.startDate, keys, { clicks: 9_999 }));
  const outcome = await verify(database.url, emulator, days, more);
  expect(outcome).toMatchObject({
    status: 'different',
    different: 1,
    differences: [{ date: drawn.startDate, key: keyOf(keys) }],
  });
});
