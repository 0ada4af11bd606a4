// @module-tag long
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { resourceAttributes, resourceDetectors, wantedSignals } from '../../src/cli/process/otel.ts';
import { VERSION } from '../../src/domain/version.ts';
import { freePort } from '../../src/embedded-postgres/cluster.ts';
import { type Emulator, startEmulator } from '../../src/emulator/index.ts';
import { type TestDatabase, testDatabase } from '../support/postgres.ts';
import { lastLineOf, useLongtail } from './support/longtail.ts';
import { type OtlpReceiver, startOtlpReceiver } from './support/otlp-receiver.ts';

const SITE = 'sc-domain:example.com';
const TOKEN = 'a-token-that-must-not-be-seen';
const METRICS = [
  'longtail.call.duration.seconds',
  'longtail.calls',
  'longtail.concurrency',
  'longtail.halt.overruns',
  'longtail.last_success.timestamp.seconds',
  'longtail.memory.bytes',
  'longtail.page.rows',
  'longtail.pages.in_flight',
  'longtail.pages.waiting',
  'longtail.quota.approaches',
  'longtail.quota.coolings',
  'longtail.quota.limit',
  'longtail.quota.refusals',
  'longtail.quota.used',
  'longtail.requests',
  'longtail.retries',
  'longtail.rows',
  'longtail.run.duration.seconds',
  'longtail.run.state',
  'longtail.runs',
  'longtail.slices',
  'longtail.slices.done',
  'longtail.slices.planned',
  'longtail.workers',
];

const { start, run } = useLongtail();
let emulator: Emulator;
let database: TestDatabase;
let receiver: OtlpReceiver;

beforeEach(async () => {
  [emulator, database, receiver] = await Promise.all([
    startEmulator({ rowsPerDay: 20, sites: [SITE] }),
    testDatabase(),
    startOtlpReceiver(),
  ]);
});
afterEach(async () => {
  await Promise.all([emulator.close(), database.close(), receiver[Symbol.asyncDispose]()]);
});

const ARGUMENTS = ['sync', '--site', SITE, '--days', '4', '--json'];
const environment = (more: Readonly<Record<string, string>> = {}) => ({
  env: { DATABASE_URL: database.url, LONGTAIL_ACCESS_TOKEN: TOKEN, LONGTAIL_API_ROOT: emulator.url, ...more },
});
const toReceiver = () =>
  environment({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' });
const spansNamed = (name: string) => receiver.spans.filter((span) => span.name === name);
const points = (name: string) => receiver.metrics.get(name) ?? [];

describe('to an OTLP receiver', () => {
  it('go a span a run, a batch and a page commit, one within the other', async () => {
    const finished = await run(ARGUMENTS, toReceiver());
    expect(finished.code).toBe(0);
    const outcome = lastLineOf(finished.stdout) as { rows: number; httpCalls: number };

    const [whole, ...more] = spansNamed('longtail.run');
    expect(more).toEqual([]);
    expect(whole).toMatchObject({
      parentId: undefined,
      service: 'longtail',
      attributes: { 'longtail.property': SITE, 'longtail.status': 'complete', 'longtail.rows': outcome.rows },
    });
    const batches = spansNamed('longtail.batch');
    expect(batches).toHaveLength(outcome.httpCalls);
    for (const batch of batches) {
      expect(batch).toMatchObject({ traceId: whole?.traceId, parentId: whole?.id });
      expect(batch.attributes).toMatchObject({
        'longtail.property': SITE,
        'longtail.call.outcome': 'answered',
      });
    }
    const commits = spansNamed('longtail.page.commit').filter(
      ({ attributes }) => !String(attributes['longtail.slice.id']).startsWith('calendar:'),
    );
    // What is behind the first short page of each dataset among them.
    expect(commits).toHaveLength(10);
    const named = commits.map(({ attributes }) => ({
      type: attributes['longtail.slice.search_type'],
      dataset: attributes['longtail.slice.dataset'],
      date: attributes['longtail.slice.date'],
    }));
    const dates = [...new Set(named.map(({ date }) => date))];
    expect(dates).toHaveLength(4);
    for (const date of dates) {
      expect(date).toMatch(/^\d{4}-\d{2}-\d{2}$/);
      for (const dataset of ['page', 'page+query'])
        expect(named).toContainEqual({ type: 'web', dataset, date });
    }
    expect(whole?.resource).toMatchObject({ 'service.name': 'longtail', 'service.version': VERSION });
    const ids = new Set(batches.map(({ id }) => id));
    for (const commit of commits) expect(ids).toContain(commit.parentId);
    const rows = commits.map(({ attributes }) => Number(attributes['longtail.page.rows']));
    expect(rows.reduce((sum, count) => sum + count, 0)).toBe(outcome.rows);
    expect(JSON.stringify(receiver.spans)).not.toContain(TOKEN);
  });

  it('go the metrics, by property, also of a run that is shorter than the interval between two collections', async () => {
    const finished = await run(ARGUMENTS, toReceiver());
    const outcome = lastLineOf(finished.stdout) as { rows: number; httpCalls: number; apiCalls: number };
    expect([...receiver.metrics.keys()].filter((name) => name.startsWith('longtail.')).sort()).toEqual(
      METRICS.toSorted(),
    );
    for (const name of METRICS) {
      expect(points(name).length).toBeGreaterThan(0);
      for (const { attributes } of points(name)) expect(attributes['longtail.property']).toBe(SITE);
    }
    expect(points('longtail.page.rows').reduce((sum, point) => sum + point.sum, 0)).toBe(outcome.rows);
    const total = (name: string, attribute?: string, value?: string) =>
      points(name)
        .filter(({ attributes }) => attribute === undefined || attributes[attribute] === value)
        .reduce((sum, point) => sum + (Number.isNaN(point.value) ? point.count : point.value), 0);
    expect(total('longtail.call.duration.seconds')).toBe(outcome.httpCalls);
    expect(total('longtail.calls', 'longtail.call.outcome', 'answered')).toBe(outcome.httpCalls);
    expect(total('longtail.calls', 'longtail.call.outcome', 'failed')).toBe(0);
    expect(total('longtail.requests')).toBe(outcome.apiCalls);
    expect(total('longtail.rows')).toBe(outcome.rows);
    expect(total('longtail.slices', 'longtail.slice.outcome', 'complete')).toBe(8);
    expect(total('longtail.slices.planned')).toBe(8);
    expect(total('longtail.slices.done')).toBe(8);
    expect(total('longtail.runs', 'longtail.run.outcome', 'complete')).toBe(1);
    expect(total('longtail.runs')).toBe(1);
    expect(total('longtail.last_success.timestamp.seconds')).toBeGreaterThan(1_700_000_000);
    expect(total('longtail.memory.bytes')).toBeGreaterThan(10_000_000);
    // From 0, before the first of its kind.
    for (const name of ['longtail.quota.refusals', 'longtail.quota.coolings'])
      expect(points(name).map(({ attributes, value }) => [attributes['longtail.quota.kind'], value])).toEqual(
        [
          ['qps', 0],
          ['load', 0],
          ['daily', 0],
        ],
      );
    expect(points('longtail.quota.used')).toContainEqual(
      expect.objectContaining({
        value: outcome.apiCalls,
        attributes: expect.objectContaining({
          'longtail.quota.scope': 'site',
          'longtail.quota.window': '60s',
        }),
      }),
    );
    expect(points('longtail.quota.limit')).toContainEqual(
      expect.objectContaining({
        value: 1_200,
        attributes: expect.objectContaining({
          'longtail.quota.scope': 'site',
          'longtail.quota.window': '60s',
        }),
      }),
    );
  });

  it('go errors and retries as events, and as counts', async () => {
    emulator.setFaults({
      rules: [
        { match: { dimensions: 'date+page' }, times: 1, action: { kind: 'error', error: 'backendError' } },
        { match: { dimensions: 'page' }, times: 1, action: { kind: 'error', error: 'backendError' } },
      ],
    });
    expect((await run(ARGUMENTS, toReceiver())).code).toBe(0);
    const failures = spansNamed('longtail.batch').flatMap(({ events }) =>
      events.filter(({ name }) => name === 'longtail.page.failed'),
    );
    expect(failures).toHaveLength(1);
    expect(failures[0]?.attributes).toMatchObject({
      'longtail.page.final': false,
      'longtail.page.start_row': 0,
    });
    expect(spansNamed('longtail.run')[0]?.events).toContainEqual({
      name: 'longtail.retry',
      attributes: expect.objectContaining({ 'longtail.retry.kind': 'pages', 'longtail.retry.pages': 1 }),
    });
    expect(points('longtail.retries').filter(({ value }) => value > 0)).toEqual([
      expect.objectContaining({
        value: 1,
        attributes: { 'longtail.property': SITE, 'longtail.retry.kind': 'pages' },
      }),
    ]);
  });

  it('goes a quota’s refusal, and the run that it halts', async () => {
    emulator.setQuotas({ perDay: 3 });
    expect((await run([...ARGUMENTS, '--batch-size', '2'], toReceiver())).code).toBe(75);
    const refused = points('longtail.quota.refusals').filter(({ value }) => value > 0);
    expect(refused.length).toBeGreaterThan(0);
    for (const { attributes } of refused) {
      expect(attributes).toEqual({ 'longtail.property': SITE, 'longtail.quota.kind': 'daily' });
    }
    expect(spansNamed('longtail.run')[0]?.attributes).toMatchObject({ 'longtail.status': 'halted' });
  });

  it('goes all of it when a signal ends the run', async () => {
    emulator.setFaults({
      rules: [{ match: { call: 2 }, action: { kind: 'delay', ms: 300_000 } }],
    });
    const running = start([...ARGUMENTS, '--max-concurrency', '1', '--batch-size', '2'], toReceiver());
    await expect.poll(() => emulator.counters.httpCalls, { timeout: 30_000 }).toBe(2);
    running.child.kill('SIGINT');
    expect((await running.finished).code).toBe(130);
    expect(spansNamed('longtail.run')[0]).toMatchObject({
      attributes: { 'longtail.status': 'halted' },
      events: expect.arrayContaining([expect.objectContaining({ name: 'longtail.halt' })]),
    });
    expect(
      spansNamed('longtail.batch').map(({ attributes }) => attributes['longtail.call.outcome']),
    ).toContain('aborted');
    expect(points('longtail.halt.duration.seconds').map(({ count }) => count)).toEqual([1]);
    expect(points('longtail.halt.overruns').map(({ value }) => value)).toEqual([0]);
  });

  it('goes a failed run as an error', async () => {
    const forbidden = ['sync', '--site', 'sc-domain:nobody.example', '--days', '3'];
    expect((await run(forbidden, toReceiver())).code).toBe(1);
    expect(spansNamed('longtail.run')[0]).toMatchObject({
      statusCode: 2,
      attributes: { 'longtail.status': 'failed' },
    });
  });
});

it('Prometheus reads the gauges of a run under way', async () => {
  emulator.setFaults({
    rules: [{ match: { call: 2 }, action: { kind: 'delay', ms: 300_000 } }],
  });
  const port = String(await freePort());
  const env = environment({ OTEL_METRICS_EXPORTER: 'prometheus', OTEL_EXPORTER_PROMETHEUS_PORT: port });
  const running = start([...ARGUMENTS, '--max-concurrency', '1', '--batch-size', '2'], env);
  await expect.poll(() => emulator.counters.httpCalls, { timeout: 30_000 }).toBe(2);
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
  const text = await answer.text();
  expect(text).toMatch(/^longtail_pages_in_flight\{.*longtail_property="sc-domain:example.com".*\} 2$/m);
  expect(text).toMatch(/^longtail_pages_waiting\{.*\} \d+$/m);
  expect(text).toMatch(/^longtail_quota_refusals_total\{.*longtail_quota_kind="qps".*\} 0$/m);
  expect(text).toMatch(/^longtail_call_duration_seconds_bucket\{.*le="0\.05".*\} \d+$/m);
  expect(text).toMatch(/^longtail_quota_limit\{.*longtail_quota_scope="site".*\} 1200$/m);
  expect(text).toMatch(/^longtail_run_state\{.*longtail_run_state="fetching".*\} 1$/m);
  expect(text).toMatch(/^longtail_workers\{.*longtail_worker_state="busy".*\} 1$/m);
  running.child.kill('SIGINT');
  expect((await running.finished).code).toBe(130);
});

it('a receiver that is away costs a run nothing', async () => {
  const port = await freePort();
  const finished = await run(
    ARGUMENTS,
    environment({ OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` }),
  );
  expect(finished.code).toBe(0);
  expect(lastLineOf(finished.stdout)).toMatchObject({ status: 'complete' });
});

it('without the package it says so, and goes on', async () => {
  const hooks = `import { registerHooks } from 'node:module';
    registerHooks({ resolve(name, context, next) {
      if (name !== '@opentelemetry/sdk-node') return next(name, context);
      throw Object.assign(new Error('not found'), { code: 'ERR_MODULE_NOT_FOUND' });
    } });`;
  const env = environment({
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(hooks)}`,
  });
  const finished = await run(ARGUMENTS, env);
  expect(finished.code).toBe(0);
  expect(finished.stderr).toContain('npm install @opentelemetry/sdk-node');
  expect(receiver.spans).toEqual([]);
});

describe('the variables', () => {
  it.each<[Record<string, string>, boolean, boolean]>([
    [{}, false, false],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://x' }, true, true],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://x', OTEL_SDK_DISABLED: 'true' }, false, false],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://x', OTEL_TRACES_EXPORTER: 'none' }, false, true],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://x' }, true, false],
    [{ OTEL_METRICS_EXPORTER: 'prometheus' }, false, true],
    [{ OTEL_METRICS_EXPORTER: 'none' }, false, false],
    [{ OTEL_TRACES_EXPORTER: 'console' }, true, false],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: '' }, false, false],
  ])('%j', (env, traces, metrics) => expect(wantedSignals(env)).toEqual({ traces, metrics }));
});

describe('the resource', () => {
  it.each<[Record<string, string>, string, string]>([
    [{}, `service.version=${VERSION}`, 'env,host,os,serviceinstance'],
    [{ OTEL_RESOURCE_ATTRIBUTES: 'a=b' }, `a=b,service.version=${VERSION}`, 'env,host,os,serviceinstance'],
    [{ OTEL_RESOURCE_ATTRIBUTES: 'service.version=7' }, 'service.version=7', 'env,host,os,serviceinstance'],
    [
      { OTEL_NODE_RESOURCE_DETECTORS: 'os,process', OTEL_RESOURCE_ATTRIBUTES: 'a=b' },
      `service.version=${VERSION}`,
      'env,os',
    ],
    [{ OTEL_NODE_RESOURCE_DETECTORS: 'none' }, `service.version=${VERSION}`, 'env'],
  ])('%j', (env, attributes, detectors) => {
    expect(resourceAttributes(env)).toBe(attributes);
    expect(resourceDetectors(env)).toBe(detectors);
  });
});
