import type { ServerResponse } from 'node:http';
import { createGzip, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/domain/clock.ts';
import { createClient } from '../../src/search-console/client.ts';
import { createGotTransport } from '../../src/search-console/http/got-transport.ts';
import type { CallStep } from '../../src/search-console/request/call.ts';
import { sliceQuery } from '../../src/search-console/request/query.ts';
import { until } from '../support/until.ts';
import { joined, repeated, startHostileApi, type Takes, write } from './support/hostile-api.ts';

const MB = 1024 * 1024;
const IDLE_MS = 250;
const requests = ['2026-03-01', '2026-03-02', '2026-03-03'].map((date) =>
  sliceQuery(
    { siteUrl: 'sc-domain:example.com', searchType: 'web', dataset: 'page', date },
    { startRow: 0, rowLimit: 25_000 },
  ),
);

interface Told {
  readonly steps: readonly CallStep[];
  /** Why the call, or its pages, did not come. */
  readonly reasons: readonly string[];
  /** Memory outside the heap that the call took at most. */
  readonly peakBytes: number;
}

/** One call of three requests, with short timeouts, against a server that does this to it. */
async function callAgainst(takes: Takes, mode: 'batch' | 'plain' = 'batch'): Promise<Told> {
  await using api = await startHostileApi({ lastDay: '2026-03-03', takes });
  const transport = createGotTransport({ connectTimeoutMs: 5_000, firstByteTimeoutMs: 1_000 });
  const client = createClient({
    transport,
    clock: systemClock,
    apiRoot: api.url,
    idleTimeoutMs: IDLE_MS,
    maxWaitMs: 2_000,
    maxPartBytes: 2 * MB,
  });
  const before = process.memoryUsage().arrayBuffers;
  let peakBytes = 0;
  const watch = setInterval(() => {
    peakBytes = Math.max(peakBytes, process.memoryUsage().arrayBuffers - before);
  }, 5);
  const steps: CallStep[] = [];
  try {
    const call = client.call(mode === 'plain' ? requests.slice(0, 1) : requests, {
      accessToken: 'a-token',
      signal: new AbortController().signal,
      mode,
    });
    for await (const step of call) steps.push(step);
  } finally {
    clearInterval(watch);
    transport.close();
  }
  // Whatever was done to it, it let go.
  await until(() => api.sockets() === 0, 'no connection is left');
  return { steps, reasons: steps.flatMap(reasonsOf), peakBytes };
}

function reasonsOf(step: CallStep): string[] {
  if (step.kind !== 'answer' && step.kind !== 'end') return [];
  return 'reason' in step.outcome ? [step.outcome.reason] : [];
}

function expectBroken({ steps, reasons, peakBytes }: Told, reason: RegExp): void {
  expect(steps.at(-1)?.kind).toBe('end');
  expect(reasons.length).toBeGreaterThan(0);
  for (const said of reasons) {
    expect(said).toMatch(reason);
    expect(said).not.toMatch(/\p{Cc}|a-token/u);
    expect(said.length).toBeLessThan(400);
  }
  expect(steps.filter(({ kind }) => kind === 'answer')).toEqual(
    steps.filter((step) => step.kind === 'answer' && step.outcome.kind !== 'ok'),
  );
  expect(peakBytes).toBeLessThan(48 * MB);
}

/** An answer of a batch that begins as it should. */
const batchHead = { 'content-type': 'multipart/mixed; boundary=b' };
const partHead = (id: string): Buffer =>
  Buffer.from(`--b\r\nContent-ID: <response-${id}>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n`);
const answer =
  (headers: Record<string, string>, body: () => Iterable<Buffer>, status = 200): Takes =>
  (_request, response) => {
    response.writeHead(status, headers);
    void write(response, body()).then(() => response.end());
    return true;
  };
/** Bytes in place of HTTP. */
const raw =
  (text: string, then: (response: ServerResponse) => void = ({ socket }) => socket?.end()): Takes =>
  (_request, response) => {
    response.socket?.write(text, 'latin1');
    then(response);
    return true;
  };
const silence = (): void => undefined;

describe('an answer to a batch', () => {
  it.each<readonly [string, Takes, RegExp]>([
    ['that never begins', () => true, /no answer within 1000 ms/],
    [
      'that never ends',
      raw('HTTP/1.1 200 OK\r\ncontent-type: multipart/mixed; boundary=b\r\n\r\n--b\r\n', silence),
      /no data for 250 ms/,
    ],
    [
      'whose part never ends',
      (_request, response) => {
        response.writeHead(200, batchHead);
        response.write(Buffer.concat([partHead('p0'), Buffer.from('{"rows":[')]));
        return true;
      },
      /no data for 250 ms/,
    ],
    [
      'that trickles for ever',
      (_request, response) => {
        response.writeHead(200, batchHead);
        const drip = setInterval(() => response.write('x'), 20);
        response.on('close', () => clearInterval(drip));
        return true;
      },
      /longer than 2000 ms/,
    ],
    [
      'that goes on for ever',
      answer(batchHead, () => joined([partHead('p0')], repeated('x', Infinity))),
      /larger than|cut off/,
    ],
    [
      'with a preamble that goes on for ever',
      answer(batchHead, () => repeated('x', Infinity)),
      /larger than \d+ bytes/,
    ],
    [
      'with headers of a part that go on for ever',
      answer(batchHead, () => joined([Buffer.from('--b\r\n')], repeated('X: y\r\n', Infinity))),
      /larger than \d+ bytes/,
    ],
    [
      'of ten million tiny parts',
      answer(batchHead, () => joined(tinyParts(10_000_000))),
      /left this part out|cut off/,
    ],
    [
      'of parts that nobody asked for',
      answer(batchHead, () => [
        ...Array.from({ length: 500 }, (_, index) =>
          Buffer.concat([partHead(`p${index + 3}`), Buffer.from('{}\r\n')]),
        ),
        Buffer.from('--b--'),
      ]),
      /left this part out/,
    ],
    ['of nothing', answer(batchHead, () => []), /cut off/],
    ['of a last line alone', answer(batchHead, () => [Buffer.from('--b--')]), /left this part out/],
    [
      'that is HTML',
      answer({ 'content-type': 'text/html' }, () => [Buffer.from('<title>Sign in</title>')]),
      /not multipart/,
    ],
    ['without a type', answer({}, () => [Buffer.from('{}')]), /not multipart/],
    [
      'with a boundary left out',
      answer({ 'content-type': 'multipart/mixed' }, () => [partHead('p0')]),
      /not multipart/,
    ],
    [
      'with an empty boundary',
      answer({ 'content-type': 'multipart/mixed; boundary=""' }, () => [partHead('p0')]),
      /not multipart|cut off/,
    ],
    [
      'with another boundary',
      answer({ 'content-type': 'multipart/mixed; boundary=c' }, () => [
        partHead('p0'),
        Buffer.from('{}\r\n--b--'),
      ]),
      /cut off/,
    ],
    ['that leads elsewhere', answer({ location: 'http://127.0.0.1:1/' }, () => [], 302), /HTTP 302/],
    ['that leads to itself', answer({ location: '/batch' }, () => [], 307), /HTTP 307/],
    [
      'with an error that goes on for ever',
      answer({}, () => repeated('<p>oops</p>', Infinity), 500),
      /HTTP 500/,
    ],
    [
      'with an error of bytes that are no text',
      answer({}, () => [Buffer.from([0xff, 0xfe, 0x00, 0x1b, 0x5b])], 503),
      /HTTP 503/,
    ],
    ['with an error, deep', answer({}, () => [Buffer.from('['.repeat(60_000))], 500), /HTTP 500/],
    [
      'in a compression that was not asked for',
      answer({ 'content-encoding': 'br' }, () => [Buffer.from('x')]),
      /content encoding br/,
    ],
    [
      'that says gzip and is not',
      answer({ ...batchHead, 'content-encoding': 'gzip' }, () => [Buffer.from('not gzip')]),
      /incorrect header check/,
    ],
    [
      'of half a gzip',
      answer({ ...batchHead, 'content-encoding': 'gzip' }, () => [gzipSync(partHead('p0')).subarray(0, 20)]),
      /cut off/,
    ],
    [
      'with more than a gzip',
      answer({ ...batchHead, 'content-encoding': 'gzip' }, () => [
        gzipSync(partHead('p0')),
        Buffer.from('more'),
      ]),
      /cut off/,
    ],
    [
      'with headers of 100 KB',
      raw(`HTTP/1.1 200 OK\r\nx: ${'x'.repeat(100_000)}\r\n\r\n`),
      /Header overflow|HPE_HEADER_OVERFLOW/i,
    ],
    [
      'with headers that go on for ever',
      (_request, response) => {
        void write(
          response.socket as never,
          joined([Buffer.from('HTTP/1.1 200 OK\r\n')], repeated('X: y\r\n', 64 * MB)),
        );
        return true;
      },
      /overflow|HPE_|ECONNRESET/i,
    ],
    ['that is no HTTP', raw('SSH-2.0-OpenSSH_9.6\r\n'), /Parse Error|HPE_/],
    ['of HTTP/9', raw('HTTP/9.9 200 OK\r\n\r\n'), /Parse Error|HPE_/],
    [
      'with a length that is too long',
      raw(
        'HTTP/1.1 200 OK\r\ncontent-type: multipart/mixed; boundary=b\r\ncontent-length: 9999\r\n\r\n--b\r\n',
      ),
      /cut off/,
    ],
    ['with a length that is none', raw('HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n'), /Parse Error|HPE_/],
    [
      'in chunks that are none',
      raw(
        'HTTP/1.1 200 OK\r\ncontent-type: multipart/mixed; boundary=b\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n',
      ),
      /cut off|Parse Error|HPE_/,
    ],
    [
      'that says “go on” for ever',
      raw('HTTP/1.1 100 Continue\r\n\r\n'.repeat(1_000), silence),
      /no answer within 1000 ms/,
    ],
    [
      'that is reset',
      (_request, response) => {
        response.socket?.resetAndDestroy();
        return true;
      },
      /ECONNRESET|socket hang up/,
    ],
    ['of status 999', raw('HTTP/1.1 999 Why\r\ncontent-length: 0\r\n\r\n'), /HTTP 999/],
  ])('%s', async (_, takes, reason) => {
    expectBroken(await callAgainst(takes), reason);
  });
});

describe('a gzip bomb', () => {
  it.each(['batch', 'plain'] as const)('of a gigabyte, in a %s call', async (mode) => {
    const takes: Takes = (_request, response) => {
      response.writeHead(200, {
        'content-type': mode === 'batch' ? batchHead['content-type'] : 'application/json',
        'content-encoding': 'gzip',
      });
      const gzip = createGzip({ level: 1 });
      gzip
        .on('error', silence)
        .pipe(response)
        .on('close', () => gzip.destroy());
      const head = mode === 'batch' ? partHead('p0') : Buffer.from('{"rows":[');
      void write(gzip as never, joined([head], repeated(' ', 1024 * MB)));
      return true;
    };
    const told = await callAgainst(takes, mode);
    expectBroken(told, /larger than \d+ bytes|cut off/);
  });
});

function* tinyParts(count: number): Generator<Buffer, void, undefined> {
  const chunk = Buffer.from(
    '--b\r\nContent-ID: <response-p9>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}\r\n'.repeat(1_000),
  );
  for (let sent = 0; sent < count; sent += 1_000) yield chunk;
}
