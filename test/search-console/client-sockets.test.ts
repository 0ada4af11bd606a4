import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { type PlainRow, plainRows } from '../../src/rows/row-block.ts';
import { createClient } from '../../src/search-console/client.ts';
import { createGotTransport, type GotTransport } from '../../src/search-console/http/got-transport.ts';
import type { CallStep } from '../../src/search-console/request/call.ts';
import type { ApiRequest } from '../../src/search-console/request/query.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { until } from '../support/until.ts';
import { crlf } from './support/multipart-text.ts';
import { deadPort, httpHost, socketHost } from './support/servers.ts';

/** The client over real sockets, against answers written out by hand. */

const transports: GotTransport[] = [];
afterEach(() => {
  for (const transport of transports.splice(0)) transport.close();
});

const REQUESTS: ApiRequest[] = ['a', 'b'].map((name) => ({
  method: 'POST',
  path: `/${name}`,
  body: '{}',
  keyCount: 1,
  rowLimit: 25_000,
}));

function setUp(root: string) {
  const clock = new ManualClock(1_700_000_000_000);
  const transport = createGotTransport({ clock });
  transports.push(transport);
  const controller = new AbortController();
  const client = createClient({ transport, clock, apiRoot: root, idleTimeoutMs: 1000 });
  const call = (requests = REQUESTS) =>
    client.call(requests, {
      accessToken: 'secret-token',
      signal: controller.signal,
      mode: requests.length === 1 ? 'plain' : 'batch',
    });
  return { clock, controller, call };
}

async function collect(steps: AsyncIterable<CallStep>): Promise<CallStep[]> {
  const all: CallStep[] = [];
  for await (const step of steps) all.push(step);
  return all;
}
const kinds = (steps: readonly CallStep[]) =>
  steps.map((step) =>
    step.kind === 'answer'
      ? `${step.outcome.kind}${step.index}`
      : step.kind === 'end'
        ? `end:${step.outcome.kind}`
        : step.kind,
  );

const rows = (count: number) =>
  JSON.stringify({
    rows: Array.from({ length: count }, (_, at) => ({
      keys: [`/größe-${at}`],
      clicks: at,
      impressions: at * 2,
      ctr: 0.5,
      position: 1.5,
    })),
  });
const part = (index: number, body: string) =>
  crlf(
    '--q=1',
    'Content-Type: application/http',
    `Content-ID: <response-p${index}>`,
    '',
    'HTTP/1.1 200 OK',
    'Content-Type: application/json',
    '',
    body,
    '',
  );
const ANSWER = `${part(1, rows(20_000))}${part(0, rows(3))}--q=1--\r\n`;
const HEADERS = { 'content-type': 'multipart/mixed; boundary="q=1"' };

describe('a batch over HTTP', () => {
  it('is read from a zipped answer', async () => {
    await using host = await httpHost((request, response) => {
      expect(request.headers['accept-encoding']).toBe('gzip');
      response.writeHead(200, { ...HEADERS, 'content-encoding': 'gzip' }).end(gzipSync(ANSWER));
    });
    const steps: CallStep[] = [];
    const rows: PlainRow[][] = [];
    for await (const step of setUp(host.root).call()) {
      steps.push(step);
      // At once: the rows lie in memory that the next answer overwrites.
      if (step.kind === 'answer' && step.outcome.kind === 'ok')
        rows.push(plainRows(step.outcome.answer.rows));
    }
    expect(kinds(steps)).toEqual(['sent', 'head', 'ok1', 'head', 'ok0', 'end:answered']);
    const [large, small] = rows;
    expect(large).toHaveLength(20_000);
    expect(large?.[19_999]).toMatchObject({
      keys: ['/größe-19999'],
      clicks: 19_999,
      impressions: 39_998,
      position: 1.5,
    });
    expect(small).toHaveLength(3);
    expect(host.requests).toMatchObject([
      { method: 'POST', path: '/batch', headers: { authorization: 'Bearer secret-token' } },
    ]);
  });

  it('keeps the connection for the next call', async () => {
    await using host = await httpHost(
      (_request, response) => void response.writeHead(200, HEADERS).end(ANSWER),
    );
    const { call } = setUp(host.root);
    await collect(call());
    expect(kinds(await collect(call()))).toContain('ok0');
    expect(host.accepted).toBe(1);
  });

  it('keeps what was whole when the server breaks off', async () => {
    await using host = await httpHost((_request, response) => {
      response.writeHead(200, HEADERS);
      response.write(`${part(1, rows(5))}${part(0, rows(5)).slice(0, -60)}`, () =>
        response.socket?.resetAndDestroy(),
      );
    });
    const { call } = setUp(host.root);
    const steps: CallStep[] = [];
    for await (const step of call()) steps.push(step);
    const last = steps.at(-1);
    if (last?.kind !== 'end') throw new Error('no end');
    // A reset discards what the kernel had not handed over: nothing may have come at all.
    if (last.outcome.kind === 'answered')
      expect(kinds(steps)).toEqual(['sent', 'head', 'ok1', 'head', 'retryable0', 'end:answered']);
    else expect(last.outcome).toMatchObject({ kind: 'failed', mayHaveArrived: true });
  });

  it('ends on silence, and closes the connection', async () => {
    await using host = await httpHost((_request, response) => {
      response.writeHead(200, HEADERS);
      response.write(`${part(1, rows(5))}--q=1\r\n`);
    });
    const { call, clock } = setUp(host.root);
    const steps: CallStep[] = [];
    const reading = (async () => {
      for await (const step of call()) steps.push(step);
    })();
    await until(() => kinds(steps).includes('ok1') && clock.pending.length === 1);
    clock.advance(1000);
    await reading;
    expect(kinds(steps)).toEqual(['sent', 'head', 'ok1', 'end:failed']);
    await until(() => host.open === 0);
  });

  it('lets a consumer take its time, however long, while the server waits', async () => {
    await using host = await httpHost(
      (_request, response) => void response.writeHead(200, HEADERS).end(ANSWER),
    );
    const { call, clock } = setUp(host.root);
    const steps: CallStep[] = [];
    for await (const step of call()) {
      steps.push(step);
      // Not at `sent`: there the server is the one who is waited for.
      if (step.kind !== 'sent') clock.advance(3_600_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(kinds(steps)).toEqual(['sent', 'head', 'ok1', 'head', 'ok0', 'end:answered']);
  });

  it('is aborted at once, and the connection with it', async () => {
    await using host = await httpHost((_request, response) => {
      response.writeHead(200, HEADERS);
      response.write(`${part(1, rows(5))}--q=1\r\n`);
    });
    const { call, controller } = setUp(host.root);
    const steps: CallStep[] = [];
    for await (const step of call()) {
      steps.push(step);
      if (step.kind === 'answer') setImmediate(() => controller.abort());
    }
    expect(kinds(steps)).toEqual(['sent', 'head', 'ok1', 'end:aborted']);
    await until(() => host.open === 0);
  });

  it('says that nothing was sent where nobody listens', async () => {
    const { call } = setUp(`http://127.0.0.1:${await deadPort()}/`);
    expect(await collect(call())).toMatchObject([
      { kind: 'end', outcome: { kind: 'failed', mayHaveArrived: false } },
    ]);
  });

  it('says that it may have arrived where the server hangs up', async () => {
    await using host = await socketHost((socket) => socket.once('data', () => socket.destroy()));
    const { call } = setUp(host.root);
    expect(await collect(call())).toMatchObject([
      { kind: 'sent' },
      { kind: 'end', outcome: { kind: 'failed', mayHaveArrived: true } },
    ]);
  });
});

describe('a plain call over HTTP', () => {
  it('reads one answer', async () => {
    await using host = await httpHost((request, response) => {
      expect(request.path).toBe('/a');
      response
        .writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' })
        .end(gzipSync(rows(20_000)));
    });
    const steps = await collect(setUp(host.root).call(REQUESTS.slice(0, 1)));
    expect(kinds(steps)).toEqual(['sent', 'head', 'ok0', 'end:answered']);
  });
});
