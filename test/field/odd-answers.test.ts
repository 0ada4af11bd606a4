// @module-tag long
/** Answers of Search Console's that are odd, or contradict themselves: what can be read counts, and nothing is believed at once for ever. */
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../src/domain/clock.ts';
import type { FaultRule } from '../../src/emulator/faults.ts';
import { plainRows } from '../../src/rows/row-block.ts';
import { refusalOf } from '../../src/search-console/answer/outcome.ts';
import { createClient } from '../../src/search-console/client.ts';
import { createGotTransport } from '../../src/search-console/http/got-transport.ts';
import { sliceQuery } from '../../src/search-console/request/query.ts';
import { checkSiteUrl } from '../../src/sync/config.ts';
import { createSync } from '../../src/sync/sync.ts';
import type { SyncOptions } from '../../src/sync/types.ts';
import { differences } from '../support/compare.ts';
import { testDatabase } from '../support/postgres.ts';
import { emulate, options, queries, SITE, settledDays } from '../support/property.ts';
import { type SeenAnswer, type SeenRequest, startMeddlingServer } from './support/meddling-server.ts';

const days = settledDays(10);
const range = { siteUrl: SITE, searchTypes: ['web'], datasets: ['page', 'country'], days } as const;
const SHAPE = { datasets: range.datasets, batchSize: 10, maxConcurrency: 2 };
const WHOLE = { status: 'complete', slices: { planned: 20, complete: 20, failed: 0 } } as const;

async function run(rules: readonly FaultRule[], more: Partial<SyncOptions> = {}) {
  await using emulator = await emulate({ rowsPerDay: 20, faults: { rules: [...rules] } });
  await using database = await testDatabase();
  await using sync = createSync(options(database.url, emulator, days, { ...SHAPE, ...more }));
  const outcome = await sync.run();
  const wrong = outcome.status === 'complete' ? await differences(database.sql, emulator, range) : [];
  return { outcome, wrong, asked: queries(emulator) };
}

/** A run whose API is the emulator behind a server that changes its answers. */
async function runBehind(
  meddle: (answer: SeenAnswer, request: SeenRequest) => SeenAnswer,
  more: Partial<SyncOptions> = {},
) {
  await using emulator = await emulate({ rowsPerDay: 20 });
  await using front = await startMeddlingServer(emulator.url, meddle);
  await using database = await testDatabase();
  const settings = options(database.url, emulator, days, { ...SHAPE, ...more });
  await using sync = createSync({ ...settings, apiRoot: front.url });
  const outcome = await sync.run();
  const wrong = outcome.status === 'complete' ? await differences(database.sql, emulator, range) : [];
  return { outcome, wrong, asked: queries(emulator) };
}

/** What a client reads from one batch for all days: the clicks of each page, by its index. */
async function answersOf(apiRoot: string): Promise<[number, number][]> {
  const transport = createGotTransport();
  const client = createClient({ transport, clock: systemClock, apiRoot });
  const slice = { siteUrl: SITE, searchType: 'web', dataset: 'page' } as const;
  const requests = days.map((date) => sliceQuery({ ...slice, date }, { startRow: 0, rowLimit: 25_000 }));
  const { signal } = new AbortController();
  const answers: [number, number][] = [];
  try {
    for await (const step of client.call(requests, { accessToken: 'a-token', signal, mode: 'batch' })) {
      if (step.kind !== 'answer') continue;
      if (step.outcome.kind !== 'ok') throw new Error(JSON.stringify(step));
      const clicks = plainRows(step.outcome.answer.rows).reduce((sum, row) => sum + row.clicks, 0);
      answers.push([step.index, clicks]);
    }
  } finally {
    transport.close();
  }
  return answers;
}

/** Each batch's answer in parts: what stands before each, and the parts themselves. */
function inParts({ headers, body }: SeenAnswer): { readonly delimiter: string; readonly parts: string[] } {
  const boundary = /boundary="?([^";]+)/.exec(headers['content-type'] ?? '')?.[1] ?? '';
  const delimiter = `--${boundary}`;
  const parts = body.split(`${delimiter}\r\n`).slice(1);
  parts.push((parts.pop() ?? '').split(`${delimiter}--`)[0] ?? '');
  return { delimiter, parts };
}

function ofParts(answer: SeenAnswer, change: (parts: string[]) => string[]): SeenAnswer {
  const { delimiter, parts } = inParts(answer);
  const body = `${change(parts)
    .map((part) => `${delimiter}\r\n${part}`)
    .join('')}${delimiter}--\r\n`;
  return { ...answer, body };
}

describe('a batch’s answer', () => {
  const harmless: Readonly<Record<string, (answer: SeenAnswer) => SeenAnswer>> = {
    'with its parts in another order': (answer) => ofParts(answer, (parts) => parts.reverse()),
    'with line feeds alone': (answer) => ({ ...answer, body: answer.body.replaceAll('\r\n', '\n') }),
    'with names of headers in other letters': (answer) => ({
      ...answer,
      body: answer.body.replaceAll('Content-ID', 'CONTENT-id').replaceAll('Content-Type', 'content-TYPE'),
    }),
    'with ids without angle brackets': (answer) => ({
      ...answer,
      body: answer.body.replace(/(Content-ID: )<([^>]*)>/gi, '$1$2'),
    }),
    'with words before and after it': (answer) => ({
      ...answer,
      body: `This is a multipart answer.\r\n${answer.body}\r\nAnd this was it.`,
    }),
    'with its boundary in quotes': (answer) => ({
      ...answer,
      headers: {
        ...answer.headers,
        'content-type': (answer.headers['content-type'] ?? '').replace(/boundary=([^";]+)/, 'boundary="$1"'),
      },
    }),
    'with wrong lengths in its parts': (answer) => ({
      ...answer,
      body: answer.body.replace(/Content-Length: \d+/gi, 'Content-Length: 3'),
    }),
    'with each part twice, the second one empty': (answer) =>
      ofParts(answer, (parts) => parts.flatMap((part) => [part, part.replace(/\{[\s\S]*\}/, '{"rows":[]}')])),
    'with parts that nobody asked for': (answer) =>
      ofParts(answer, (parts) => [(parts[0] ?? '').replace(/response-p\d+/, 'response-p999'), ...parts]),
  };
  test.each(Object.entries(harmless))('%s: every page is read from it', async (_, change) => {
    await using emulator = await emulate({ rowsPerDay: 20 });
    await using front = await startMeddlingServer(emulator.url, change);
    const [plain, changed] = await Promise.all([answersOf(emulator.url), answersOf(front.url)]);
    expect(plain).toHaveLength(days.length);
    expect(new Map(changed)).toEqual(new Map(plain));
  });

  const lacking: Readonly<Record<string, (answer: SeenAnswer) => SeenAnswer>> = {
    'a part without a status line': (answer) =>
      ofParts(answer, ([first = '', ...rest]) => [first.replace(/HTTP\/1\.1 200 OK\r\n/, ''), ...rest]),
    'no ids at all': (answer) => ({ ...answer, body: answer.body.replace(/Content-ID: [^\r]*\r\n/gi, '') }),
    'the same id in all parts': (answer) => ({
      ...answer,
      body: answer.body.replace(/response-p\d+/g, 'response-p0'),
    }),
    'no parts': (answer) => ofParts(answer, () => []),
    'one part less': (answer) => ofParts(answer, ([, ...rest]) => rest),
    'a status of 204 and nothing': (answer) => ({ ...answer, status: 204, headers: {}, body: '' }),
    'a redirection to a page to sign in at': () => ({
      status: 302,
      headers: { location: 'https://accounts.example/signin', 'content-type': 'text/html' },
      body: '<html><title>Moved Temporarily</title></html>',
    }),
    'an error of the API’s with 200': () => ({
      status: 200,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        error: { code: 503, message: 'The service is unavailable.', status: 'UNAVAILABLE' },
      }),
    }),
  };
  test.concurrent.each(Object.entries(lacking))('that has %s, twice: all is copied', async (_, change) => {
    const { outcome, wrong } = await runBehind(
      (answer, { kind, before }) => (kind === 'batch' && before < 2 ? change(answer) : answer),
      { maxAttempts: 2 },
    );
    expect(outcome).toMatchObject(WHOLE);
    expect(wrong).toEqual([]);
  });
});

describe('a page that is no answer of the API’s', () => {
  const pages: readonly (readonly [string, number])[] = [
    ['404 of a front door', 404],
    ['400 of a front door', 400],
    ['302 to a page to sign in at', 302],
    ['511 of a hotel', 511],
  ];
  test.concurrent.each(pages)('%s, for a second: no slice fails', async (_, status) => {
    const body = `<html><title>Error ${status}!!1</title></html>`;
    const { outcome, wrong } = await run(
      [{ match: { untilMs: 1_000 }, action: { kind: 'status', status, body } }],
      { batchSize: 1, maxAttempts: 1 },
    );
    expect(outcome).toMatchObject(WHOLE);
    expect(wrong).toEqual([]);
  });

  test('is not taken for what the API says of a request; an error of its own is', () => {
    const told = (status: number, body: string) =>
      refusalOf({ status, body: Buffer.from(body), retryAfter: undefined, nowMs: 0 }).kind;
    expect(told(404, '<html><title>Error 404 (Not Found)!!1</title></html>')).toBe('retryable');
    expect(told(404, JSON.stringify({ error: { code: 404, message: 'Not found' } }))).toBe('invalid');
    expect(told(413, '<html>')).toBe('invalid');
  });
});

describe('an error of the API’s that comes with 200', () => {
  const withError = (error: object) => (answer: SeenAnswer, request: SeenRequest) => {
    if (request.kind === 'plain' && request.before > 0) return { ...answer, body: JSON.stringify({ error }) };
    return answer;
  };

  test('is one: the day’s allowance that is used up halts the run', async () => {
    const message = "Quota exceeded for quota metric 'Queries' and limit 'Queries per day' of service 'x'.";
    const { outcome, asked } = await runBehind(
      withError({
        code: 429,
        message,
        status: 'RESOURCE_EXHAUSTED',
        details: [{ reason: 'RATE_LIMIT_EXCEEDED' }],
      }),
      { batchSize: 1 },
    );
    expect(outcome).toMatchObject({ status: 'halted', haltReason: { kind: 'quota', quota: 'daily' } });
    expect(asked.length).toBeLessThan(10);
  });

  test('is one: what is wrong with a request fails its slice, with the reason', async () => {
    const { outcome } = await runBehind(
      withError({ code: 400, message: 'Invalid value.', errors: [{ reason: 'invalidParameter' }] }),
      // One at a time: the calendar is the first request, and is answered.
      { batchSize: 1, maxConcurrency: 1 },
    );
    expect(outcome).toMatchObject({ status: 'completeWithFailures', slices: { failed: 20 } });
    expect(outcome.failures[0]?.reason).toBe('HTTP 400 invalidParameter: Invalid value.');
  });
});

describe('a refusal that contradicts what came before', () => {
  const forbidden = { kind: 'error', error: 'forbidden' } as const;
  const notEnabled = { kind: 'error', error: 'accessNotConfigured' } as const;
  const [first] = days;
  const ofFirst = { dimensions: 'page', ...(first === undefined ? {} : { date: first }) };

  test.concurrent.each([
    ['no permission, in one part', [{ match: ofFirst, times: 1, action: forbidden }]],
    [
      'no permission, in the first six requests for a page',
      [{ match: { dimensions: 'page' }, times: 6, action: forbidden }],
    ],
    ['the API is not enabled, in one part', [{ match: ofFirst, times: 1, action: notEnabled }]],
    [
      'no permission, to one whole batch',
      [
        {
          match: { endpoint: 'batch' },
          times: 1,
          action: { kind: 'status', status: 403, error: 'forbidden' },
        },
      ],
    ],
  ] satisfies [string, FaultRule[]][])('%s: it is asked again, and all is copied', async (_, rules) => {
    const { outcome, wrong } = await run(rules);
    expect(outcome).toMatchObject(WHOLE);
    expect(wrong).toEqual([]);
  });

  test.concurrent('no permission any more: the run ends with that, and asks little', async () => {
    const rules: FaultRule[] = [
      { match: { dimensions: 'page' }, action: forbidden },
      { match: { dimensions: 'country' }, action: forbidden },
    ];
    const { outcome, asked } = await run(rules, { batchSize: 2 });
    expect(outcome).toMatchObject({ status: 'failed', failure: { code: 'FORBIDDEN' } });
    expect(asked.length).toBeLessThanOrEqual(12);
  });

  test.concurrent('no permission from the first request on: the run ends at once', async () => {
    const { outcome, asked } = await run([{ action: forbidden }]);
    expect(outcome).toMatchObject({ status: 'failed', failure: { code: 'FORBIDDEN' } });
    expect(asked).toHaveLength(1);
  });

  test.concurrent('no permission for one slice, ever: all others are copied before that ends the run', async () => {
    const { outcome } = await run([{ match: ofFirst, action: forbidden }]);
    expect(outcome).toMatchObject({ status: 'failed', slices: { complete: 19, failed: 0 } });
  });
});

describe('the name of a property', () => {
  test.each([
    ['sc-domain:example.com.', 'sc-domain:example.com'],
    ['SC-DOMAIN:Example.COM.', 'sc-domain:example.com'],
    ['https://www.example.com./', 'https://www.example.com/'],
    ['https://www.example.com:443/', 'https://www.example.com/'],
    ['http://www.example.com:80/a/', 'http://www.example.com/a/'],
    ['https://www.example.com.:443/', 'https://www.example.com/'],
    ['http://www.example.com:443/', 'http://www.example.com:443/'],
    ['https://www.example.com:8443/', 'https://www.example.com:8443/'],
  ])('%s is that of %s', (given, name) => {
    expect(checkSiteUrl(given)).toBe(name);
  });
});
