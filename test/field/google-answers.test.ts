// @module-tag long
/** Strange answers of Search Console's, each given once, for a while, or from now on. */
import { describe, expect, test } from 'vitest';
import { propertyKey } from '../../src/domain/property-name.ts';
import type { FaultRule } from '../../src/emulator/faults.ts';
import type { EmulatorOptions } from '../../src/emulator/index.ts';
import { refusalOf } from '../../src/search-console/answer/outcome.ts';
import { checkSiteUrl } from '../../src/sync/config.ts';
import { createSync } from '../../src/sync/sync.ts';
import type { SyncOptions } from '../../src/sync/types.ts';
import { differences } from '../support/compare.ts';
import { testDatabase } from '../support/postgres.ts';
import { emulate, options, queries, SITE, settledDays } from '../support/property.ts';

const days = settledDays(20);
const range = { siteUrl: SITE, searchTypes: ['web'], datasets: ['page', 'country'], days } as const;
const SHAPE = { datasets: range.datasets, batchSize: 10, maxConcurrency: 2 };

/** One run against an emulator with these faults. */
async function run(
  rules: readonly FaultRule[],
  more: Partial<SyncOptions> = {},
  emulated: EmulatorOptions = {},
) {
  await using emulator = await emulate({ rowsPerDay: 20, faults: { rules: [...rules] }, ...emulated });
  await using database = await testDatabase();
  await using sync = createSync(options(database.url, emulator, days, { ...SHAPE, ...more }));
  const retries: string[] = [];
  sync.on('retry', (event) => retries.push('reason' in event ? event.reason : event.kind));
  const outcome = await sync.run();
  const isWhole = outcome.status === 'complete';
  const wrong = isWhole && more.siteUrl === undefined ? await differences(database.sql, emulator, range) : [];
  return {
    outcome,
    retries,
    wrong,
    asked: more.siteUrl === undefined ? queries(emulator) : [],
    counters: emulator.counters,
  };
}

const WHOLE = { status: 'complete', slices: { planned: 40, complete: 40, failed: 0 } } as const;

describe('the endpoint for batches', () => {
  const batches = (status: number, body: string, times?: number): FaultRule => ({
    match: { endpoint: 'batch' },
    ...(times === undefined ? {} : { times }),
    action: { kind: 'status', status, body },
  });
  test.concurrent.each([
    ['404 once', batches(404, 'Not Found', 1)],
    ['404 from now on', batches(404, '<html><title>Error 404 (Not Found)!!1</title></html>')],
    ['405 from now on', batches(405, 'Method Not Allowed')],
    ['410 from now on', batches(410, 'Gone')],
    ['400 from now on', batches(400, 'Bad Request')],
    ['a page of HTML from now on', batches(200, '<html>Welcome</html>')],
  ])('answers %s: all is copied, and it is said once', async (_, rule) => {
    const { outcome, retries, wrong, counters } = await run([rule]);
    expect(outcome).toMatchObject(WHOLE);
    expect(wrong).toEqual([]);
    expect(retries.filter((reason) => reason.includes('accepts no batches'))).toHaveLength(1);
    // Requests in a row instead of batches: no more at once than there are workers.
    expect(counters.maxConcurrentCalls).toBeLessThanOrEqual(2);
  });

  test.concurrent('answers one page of HTML: batches go on', async () => {
    const { outcome, retries } = await run([batches(200, '<html>Welcome</html>', 1)]);
    expect(outcome).toMatchObject(WHOLE);
    expect(retries.some((reason) => reason.includes('accepts no batches'))).toBe(false);
  });
});

describe('a line that cuts answers', () => {
  test.concurrent.each([
    { kind: 'truncate', afterBytes: 4_000 },
    { kind: 'truncate', afterBytes: 4_000, clean: true },
    { kind: 'reset', afterBytes: 4_000 },
  ] as const)('after some parts, each time: nothing fails while pages still arrive: %o', async (action) => {
    const { outcome, wrong } = await run([{ match: { endpoint: 'batch' }, action }], { maxAttempts: 2 });
    expect(outcome).toMatchObject(WHOLE);
    expect(wrong).toEqual([]);
  });
});

describe('a day with clicks', () => {
  const [first] = days;
  const empty = (dimensions: string, times?: number): FaultRule => ({
    match: { dimensions, ...(first === undefined ? {} : { date: first }) },
    ...(times === undefined ? {} : { times }),
    action: { kind: 'noRows' },
  });

  test.concurrent('whose rows come back empty once is asked again', async () => {
    const { outcome, wrong, asked } = await run([empty('page', 1)], { batchSize: 50 });
    expect(outcome).toMatchObject(WHOLE);
    expect(wrong).toEqual([]);
    expect(asked.filter(({ date, dimensions }) => date === first && dimensions === 'page')).toHaveLength(2);
  });

  test.concurrent('whose rows come back empty each time fails with the reason, and is not sealed', async () => {
    const { outcome } = await run([empty('country')], { maxAttempts: 2 });
    expect(outcome).toMatchObject({
      status: 'completeWithFailures',
      slices: { complete: 39, empty: 0, failed: 1 },
    });
    expect(outcome.failures[0]?.reason).toMatch(
      /^Google returns no rows, but its calendar shows \d+ clicks for the day$/,
    );
  });

  test.concurrent('may have no rows by query: those are hidden', async () => {
    const { outcome } = await run([empty('query')], { datasets: ['query'] });
    expect(outcome).toMatchObject({ status: 'complete', slices: { complete: 20, empty: 1, failed: 0 } });
  });
});

describe('a calendar', () => {
  test.concurrent.each([1, 2])(
    'that forgets all days it has named, %i times, is asked again',
    async (times) => {
      await using database = await testDatabase();
      const seen = { ...SHAPE, datasets: ['page'] };
      await using before = await emulate({ rowsPerDay: 20 });
      await using first = createSync(options(database.url, before, days, seen));
      expect(await first.run()).toMatchObject({ status: 'complete' });
      const forgetting: FaultRule = { match: { dimensions: 'date' }, times, action: { kind: 'noRows' } };
      await using after = await emulate({ rowsPerDay: 20, faults: { rules: [forgetting] } });
      await using second = createSync(options(database.url, after, days, SHAPE));
      expect(await second.run()).toMatchObject({ ...WHOLE, slices: { ...WHOLE.slices, empty: 0 } });
      expect(await differences(database.sql, after, range)).toEqual([]);
    },
  );

  test.concurrent('that forgets them for good makes no day an empty one', async () => {
    await using database = await testDatabase();
    await using before = await emulate({ rowsPerDay: 20 });
    await using first = createSync(options(database.url, before, days, { ...SHAPE, datasets: ['page'] }));
    expect(await first.run()).toMatchObject({ status: 'complete' });
    const forgetting: FaultRule = {
      match: { dimensions: 'date' },
      times: 3,
      action: { kind: 'noRows' },
    };
    await using after = await emulate({ rowsPerDay: 20, faults: { rules: [forgetting] } });
    await using second = createSync(options(database.url, after, days, SHAPE));
    expect(await second.run()).toMatchObject({ ...WHOLE, slices: { ...WHOLE.slices, empty: 0 } });
    expect(await differences(database.sql, after, range)).toEqual([]);
  });
});

const said = (status: number, error: object, retryAfter?: string) =>
  refusalOf({ status, body: Buffer.from(JSON.stringify({ error })), retryAfter, nowMs: 0 });
const info = (reason: string, metadata: object = {}) => ({
  '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
  reason,
  domain: 'googleapis.com',
  metadata,
});

describe('a refusal about the project', () => {
  const ENABLE =
    'https://console.developers.google.com/apis/api/searchconsole.googleapis.com/overview?project=1';
  test.each([
    ['SERVICE_DISABLED', `It is disabled. Enable it by visiting ${ENABLE} then retry.`, 'API_NOT_ENABLED'],
    ['SERVICE_DISABLED', 'The API requires a quota project, which is not set by default.', 'PROJECT_REFUSED'],
    ['USER_PROJECT_DENIED', 'Caller does not have required permission to use project p.', 'PROJECT_REFUSED'],
    ['CONSUMER_INVALID', 'Permission denied on resource project p.', 'PROJECT_REFUSED'],
    ['BILLING_DISABLED', 'This API method requires billing to be enabled.', 'PROJECT_REFUSED'],
    ['', 'Project 12 has been deleted.', 'PROJECT_REFUSED'],
    ['SECURITY_POLICY_VIOLATED', 'Request is prohibited by organization’s policy.', 'PROJECT_REFUSED'],
    ['API_KEY_IP_ADDRESS_BLOCKED', 'The provided API key has an IP address restriction.', 'PROJECT_REFUSED'],
  ])('%s is not sent to Search Console: %s', (reason, message, code) => {
    const details = reason === '' ? [] : [info(reason)];
    const refusal = said(403, { code: 403, message, status: 'PERMISSION_DENIED', details });
    expect(refusal).toMatchObject({ kind: 'fatal', code });
    expect(JSON.stringify(refusal)).not.toContain('Users and permissions');
    if (message.includes('http')) expect(JSON.stringify(refusal)).toContain(ENABLE);
  });

  test('keeps Google’s link whole, however long the text before it', () => {
    const link = `https://console.cloud.google.com/apis/library/searchconsole.googleapis.com?project=${'9'.repeat(30)}`;
    const message = `${'x '.repeat(120)}visit ${link} then retry. ${'y '.repeat(200)}`;
    expect(said(403, { code: 403, message, details: [info('SERVICE_DISABLED')] })).toMatchObject({
      reason: expect.stringContaining(`${link}…`),
    });
  });

  test('about a property stays one', () => {
    const message = "User does not have sufficient permission for site 'sc-domain:example.com'.";
    expect(said(403, { code: 403, message, errors: [{ reason: 'forbidden' }] })).toMatchObject({
      kind: 'forbidden',
      code: 'FORBIDDEN',
    });
  });

  test.concurrent('ends the run with what to do about it', async () => {
    const error = { status: 403, reason: 'USER_PROJECT_DENIED', message: 'You may not use project p.' };
    const { outcome } = await run([{ action: { kind: 'error', error } }]);
    expect(outcome).toMatchObject({
      status: 'failed',
      failure: { code: 'PROJECT_REFUSED', nextStep: expect.stringContaining('Service Usage Consumer') },
    });
  });
});

describe('the day’s quota, under whatever name', () => {
  const perDay = "Quota exceeded for quota metric 'Queries' and limit 'Queries per day' of service 'x'.";
  test.each<[string, number, object, string | undefined]>([
    ['a limit per day', 403, { message: perDay, errors: [{ reason: 'rateLimitExceeded' }] }, undefined],
    ['429 with it', 429, { message: perDay, status: 'RESOURCE_EXHAUSTED' }, undefined],
    [
      'a unit in the details',
      429,
      { message: 'Quota exceeded.', details: [info('RATE_LIMIT_EXCEEDED', { quota_unit: '1/d/{project}' })] },
      undefined,
    ],
    [
      'a limit in the details',
      429,
      {
        message: 'Quota.',
        details: [info('RATE_LIMIT_EXCEEDED', { quota_limit: 'QueriesPerDayPerProject' })],
      },
      undefined,
    ],
    ['its old name', 403, { message: 'No.', errors: [{ reason: 'dailyLimitExceededUnreg' }] }, undefined],
    ['a wait of hours', 429, { message: 'Later.' }, '14400'],
  ])('%s', (_, status, error, retryAfter) => {
    expect(said(status, error, retryAfter)).toMatchObject({ kind: 'quota', quota: 'daily' });
  });

  test.each<[string, object]>([
    ['a limit per minute', { message: "metric 'Queries per day' and limit 'Queries per minute' of service" }],
    [
      'a unit',
      { message: 'Quota.', details: [info('RATE_LIMIT_EXCEEDED', { quota_unit: '1/min/{project}' })] },
    ],
  ])('a minute’s is none: %s', (_, error) => {
    expect(said(429, error)).toMatchObject({ kind: 'quota', quota: 'qps' });
  });

  test.concurrent('halts the run for want of it', async () => {
    const error = { status: 403, reason: 'rateLimitExceeded', message: perDay };
    const { outcome } = await run([{ action: { kind: 'error', error } }]);
    expect(outcome).toMatchObject({ status: 'halted', haltReason: { kind: 'quota', quota: 'daily' } });
  });
});

describe('a property whose name is not ASCII', () => {
  const LISTED = {
    domain: 'sc-domain:bücher.example',
    ascii: 'sc-domain:xn--bcher-kva.example',
    prefix: 'https://www.bücher.example/ü/',
    encoded: 'https://www.xn--bcher-kva.example/%C3%BC/',
  } as const;
  test.concurrent.each([
    [LISTED.domain, 'sc-domain:bücher.example'],
    [LISTED.domain, 'sc-domain:xn--bcher-kva.example'],
    [LISTED.domain, '\u200esc-domain:BÜCHER.example\u200f '],
    [LISTED.ascii, 'sc-domain:bücher.example'],
    [LISTED.prefix, 'https://www.xn--bcher-kva.example/%C3%BC/'],
    [LISTED.prefix, '\u2068https://www.bücher.example/ü/\u2069\u00a0'],
    [LISTED.encoded, 'HTTPS://WWW.BÜCHER.example/%c3%bc/'],
  ])('listed as %s is found as %s', async (siteUrl, given) => {
    const { outcome } = await run([], { siteUrl: given, datasets: ['page'] }, { sites: [siteUrl] });
    expect(outcome).toMatchObject({ status: 'complete', slices: { complete: 20, failed: 0 } });
  });

  test('has one name here, however it is written', () => {
    const names = [LISTED.domain, LISTED.ascii, 'sc-domain:B\u00dcCHER.example'].map(checkSiteUrl);
    expect(new Set(names)).toEqual(new Set(['sc-domain:bücher.example']));
    const prefixes = [LISTED.prefix, LISTED.encoded, 'https://www.bücher.example/%c3%bc/'].map(checkSiteUrl);
    expect(new Set(prefixes)).toEqual(new Set(['https://www.bücher.example/%C3%BC/']));
    expect(propertyKey(LISTED.prefix)).toBe(propertyKey(LISTED.encoded));
    expect(propertyKey('sc-domain:a.example')).not.toBe(propertyKey('sc-domain:b.example'));
  });

  test.each(['sc-domain:example.com', 'https://www.example.com/', 'https://example.com:8080/Path/%20x/'])(
    'and one that is ASCII stays as it is: %s',
    (name) => expect(checkSiteUrl(name)).toBe(name),
  );
});

test('a fresh day of few rows that has fewer when it is final is taken', async () => {
  await using database = await testDatabase();
  const fresh = settledDays(1);
  const datasets = ['page'];
  await using more = await emulate({ rowsPerDay: 24, rowsOn: () => 12 });
  await using first = createSync(options(database.url, more, fresh, { datasets }));
  expect(await first.run()).toMatchObject({ status: 'complete' });
  // As Google had it before the day was final.
  await database.sql`update longtail.slice set final = false`;
  await using less = await emulate({ rowsPerDay: 24, rowsOn: () => 1 });
  await using second = createSync(options(database.url, less, fresh, { datasets }));
  expect(await second.run()).toMatchObject({ status: 'complete', slices: { complete: 1, failed: 0 } });
});
