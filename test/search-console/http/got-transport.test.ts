import type http from 'node:http';
import type { Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import {
  createGotTransport,
  type GotTransportOptions,
} from '../../../src/search-console/http/got-transport.ts';
import { type HttpAnswer, TransportError } from '../../../src/search-console/http/transport.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { until } from '../../support/until.ts';
import { deadPort, httpHost, socketHost } from '../support/servers.ts';

const opened: { close(): void }[] = [];
afterEach(() => {
  for (const transport of opened.splice(0)) transport.close();
});

function setUp(options: GotTransportOptions = {}) {
  const clock = new ManualClock(1_700_000_000_000);
  const transport = createGotTransport({
    clock,
    connectTimeoutMs: 1000,
    firstByteTimeoutMs: 5000,
    ...options,
  });
  opened.push(transport);
  const controller = new AbortController();
  let sent = 0;
  const send = (url: string, body = '{}') =>
    transport.send(
      {
        method: 'POST',
        url,
        headers: { authorization: 'Bearer secret-token', 'accept-encoding': 'gzip' },
        body,
      },
      { signal: controller.signal, onFirstByteOut: () => void sent++ },
    );
  return { clock, transport, controller, send, sent: () => sent };
}

async function text(answer: HttpAnswer): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of answer.body) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString('utf8');
}

/** What the promise was rejected with, if as promised. */
async function failure(promise: Promise<unknown>): Promise<TransportError> {
  const error = await promise.then(
    () => 'no error at all',
    (reason: unknown) => reason,
  );
  if (!(error instanceof TransportError)) throw new Error(`not a TransportError: ${String(error)}`);
  expect(JSON.stringify([error.message, error.stack])).not.toContain('secret-token');
  expect(error.cause).toBeUndefined();
  return error;
}

describe('an answer', () => {
  it('has its status, headers in lower case and body, whatever the status', async () => {
    await using host = await httpHost(({ body }, response) => {
      response.writeHead(503, { 'Retry-After': '7', 'X-A': ['1', '2'] }).end(`got ${body}`);
    });
    const { send, sent } = setUp();
    const answer = await send(`${host.root}x?y=z`, '{"a":1}');
    expect(answer).toMatchObject({ status: 503, headers: { 'retry-after': '7', 'x-a': '1, 2' } });
    expect(await text(answer)).toBe('got {"a":1}');
    expect(sent()).toBe(1);
    expect(host.requests).toMatchObject([
      { method: 'POST', path: '/x?y=z', headers: { 'content-length': '7' } },
    ]);
  });

  it('is unzipped, over chunks of any size', async () => {
    const long = 'größe 🦊 '.repeat(100_000);
    await using host = await httpHost(async (_request, response) => {
      const zipped = gzipSync(long);
      response.writeHead(200, { 'content-encoding': 'gzip' });
      for (let at = 0; at < zipped.length; at += 97) response.write(zipped.subarray(at, at + 97));
      response.end();
    });
    const { send } = setUp();
    expect(await text(await send(host.root))).toBe(long);
  });

  it('follows no redirect, and sends nothing twice', async () => {
    await using other = await httpHost((_request, response) => void response.end());
    await using host = await httpHost(
      (_request, response) => void response.writeHead(307, { location: other.root }).end(),
    );
    const { send } = setUp();
    expect(await send(host.root)).toMatchObject({ status: 307 });
    expect(host.requests).toHaveLength(1);
    expect(other.requests).toHaveLength(0);
  });

  it('leaves its connection for the next, which says at once that it may have been sent', async () => {
    await using host = await httpHost((_request, response) => void response.end('ok'));
    const { send, sent, transport } = setUp();
    await text(await send(host.root));
    await text(await send(host.root));
    expect(host.accepted).toBe(1);
    expect(sent()).toBe(2);
    transport.close();
    await until(() => host.open === 0);
  });

  it('waits for a free connection, no more of them than it was told', async () => {
    const waiting: http.ServerResponse[] = [];
    await using host = await httpHost((_request, response) => void waiting.push(response));
    const { send } = setUp({ maxSockets: 2 });
    const answers = [send(host.root), send(host.root), send(host.root)];
    await until(() => waiting.length === 2);
    expect(host.accepted).toBe(2);
    waiting[0]?.end('first');
    const first = await Promise.race(answers);
    expect(await text(first)).toBe('first');
    await until(() => waiting.length === 3);
    for (const response of waiting) response.end('rest');
    await Promise.all(answers.map(async (answer) => (await answer).body[Symbol.asyncIterator]().return?.()));
    expect(host.accepted).toBeLessThanOrEqual(3);
  });

  it('leaves no timer and no listener behind', async () => {
    await using host = await httpHost((_request, response) => void response.end('ok'));
    const { send, clock } = setUp();
    for (let count = 0; count < 3; count++) await text(await send(host.root));
    expect(clock.pending.length).toBe(0);
  });
});

describe('no connection', () => {
  it('was certainly not sent when it was refused', async () => {
    const { send, sent } = setUp();
    const error = await failure(send(`http://127.0.0.1:${await deadPort()}/`));
    expect(error).toMatchObject({ kind: 'connect', phase: 'connect', mayHaveArrived: false });
    expect(error.message).toContain('ECONNREFUSED');
    expect(sent()).toBe(0);
  });

  it('was certainly not sent when the name is not known', async () => {
    const { send } = setUp();
    expect(await failure(send('http://does-not-exist.invalid/'))).toMatchObject({
      kind: 'connect',
      mayHaveArrived: false,
    });
  });

  it('was certainly not sent when the other side does not speak TLS', async () => {
    await using host = await socketHost((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    const { send, sent } = setUp();
    const error = await failure(send(`https://127.0.0.1:${host.port}/`));
    expect(error).toMatchObject({ phase: 'connect', mayHaveArrived: false });
    expect(['tls', 'connect']).toContain(error.kind);
    expect(sent()).toBe(0);
  });

  it('was certainly not sent when the TLS handshake took too long', async () => {
    await using host = await socketHost((socket) => socket.resume());
    const { send, clock, sent } = setUp();
    const sending = failure(send(`https://127.0.0.1:${host.port}/`));
    await until(() => host.open === 1);
    clock.advance(1000);
    expect(await sending).toMatchObject({
      kind: 'timeout',
      phase: 'connect',
      mayHaveArrived: false,
      message: 'no connection within 1000 ms',
    });
    expect(sent()).toBe(0);
    await until(() => host.open === 0);
  });
});

describe('no answer', () => {
  it('may have arrived when the connection was reset', async () => {
    await using host = await socketHost((socket) => socket.once('data', () => socket.resetAndDestroy()));
    const { send, sent } = setUp();
    expect(await failure(send(host.root))).toMatchObject({
      kind: 'reset',
      phase: 'firstByte',
      mayHaveArrived: true,
    });
    expect(sent()).toBe(1);
  });

  it('may have arrived when the connection was closed', async () => {
    await using host = await socketHost((socket) => socket.once('data', () => socket.end()));
    const { send } = setUp();
    expect(await failure(send(host.root))).toMatchObject({
      kind: 'reset',
      phase: 'firstByte',
      mayHaveArrived: true,
    });
  });

  it('may have arrived when the head did not come in time', async () => {
    await using host = await socketHost((socket) => socket.resume());
    const { send, clock, sent } = setUp();
    const sending = failure(send(host.root));
    await until(() => sent() === 1);
    clock.advance(4999);
    await new Promise((resolve) => setImmediate(resolve));
    expect(host.open).toBe(1);
    clock.advance(1);
    expect(await sending).toMatchObject({
      kind: 'timeout',
      phase: 'firstByte',
      mayHaveArrived: true,
      message: 'no answer within 5000 ms',
    });
    await until(() => host.open === 0);
  });

  it('is no HTTP', async () => {
    await using host = await socketHost((socket) =>
      socket.once('data', () => socket.end('who is there?\r\n\r\n')),
    );
    const { send } = setUp();
    expect(await failure(send(host.root))).toMatchObject({ kind: 'malformed', mayHaveArrived: true });
  });

  it('is in an encoding that was not asked for', async () => {
    await using host = await httpHost(
      (_request, response) => void response.writeHead(200, { 'content-encoding': 'br' }).end('x'),
    );
    const { send } = setUp();
    const error = await failure(send(host.root));
    expect(error).toMatchObject({ kind: 'malformed', phase: 'body' });
    expect(error.message).toContain('content encoding br');
  });
});

describe('half an answer', () => {
  const half = (headers: string, body: string | Buffer, then: (socket: Socket) => void) =>
    socketHost((socket) =>
      socket.once('data', () => {
        socket.write(`HTTP/1.1 200 OK\r\n${headers}\r\n\r\n`);
        socket.write(body, () => then(socket));
      }),
    );

  it.each([
    ['reset', (socket: Socket) => socket.resetAndDestroy()],
    ['closed', (socket: Socket) => socket.end()],
  ])('is an error when the connection was %s', async (_name, then) => {
    await using host = await half('content-length: 100', 'half', (socket) => then(socket));
    const { send } = setUp();
    const answer = await send(host.root).catch((error: unknown) => error);
    // The reset may overtake the head.
    if (answer instanceof TransportError)
      expect(answer).toMatchObject({ kind: 'reset', mayHaveArrived: true });
    else
      expect(await failure(text(answer as HttpAnswer))).toMatchObject({
        kind: 'reset',
        phase: 'body',
        mayHaveArrived: true,
      });
  });

  it('is an error when the chunks stop', async () => {
    await using host = await half('transfer-encoding: chunked', '5\r\nhello\r\n', (socket) => socket.end());
    const { send } = setUp();
    expect(await failure(text(await send(host.root)))).toMatchObject({ kind: 'reset', phase: 'body' });
  });

  it('is an error when the gzip stops, though HTTP says it is whole', async () => {
    const zipped = gzipSync('x'.repeat(10_000)).subarray(0, 30);
    await using host = await half(
      `content-encoding: gzip\r\ncontent-length: ${zipped.length}`,
      zipped,
      () => undefined,
    );
    const { send } = setUp();
    expect(await failure(text(await send(host.root)))).toMatchObject({ kind: 'reset', phase: 'body' });
  });

  it('is an error when the gzip is none', async () => {
    await using host = await half('content-encoding: gzip\r\ncontent-length: 5', 'hello', () => undefined);
    const { send } = setUp();
    expect(await failure(text(await send(host.root)))).toMatchObject({ kind: 'malformed', phase: 'body' });
  });
});

describe('abort', () => {
  it('before sending makes no connection', async () => {
    await using host = await httpHost((_request, response) => void response.end());
    const { send, controller } = setUp();
    controller.abort();
    expect(await failure(send(host.root))).toMatchObject({
      kind: 'aborted',
      phase: 'connect',
      mayHaveArrived: false,
    });
    expect(host.accepted).toBe(0);
  });

  it('destroys the socket while waiting for the head', async () => {
    await using host = await socketHost((socket) => socket.resume());
    const { send, controller, sent } = setUp();
    const sending = failure(send(host.root));
    await until(() => sent() === 1);
    controller.abort();
    expect(await sending).toMatchObject({ kind: 'aborted', phase: 'firstByte', mayHaveArrived: true });
    await until(() => host.open === 0);
  });

  it('destroys the socket in the body', async () => {
    await using host = await httpHost((_request, response) => void response.write('first'));
    const { send, controller, clock } = setUp();
    const body = (await send(host.root)).body[Symbol.asyncIterator]();
    expect(Buffer.from((await body.next()).value ?? []).toString()).toBe('first');
    const next = failure(body.next() as Promise<unknown>);
    controller.abort();
    expect(await next).toMatchObject({ kind: 'aborted', phase: 'body' });
    await until(() => host.open === 0);
    expect(clock.pending.length).toBe(0);
  });

  it('comes from the consumer who stops reading, too', async () => {
    await using host = await httpHost((_request, response) => void response.write('first'));
    const { send } = setUp();
    for await (const _chunk of (await send(host.root)).body) break;
    await until(() => host.open === 0);
  });
});

describe('back pressure', () => {
  it.each([
    ['as it is', false],
    ['zipped', true],
  ])('reaches the server, %s: nothing is read that is not asked for', async (_name, zipped) => {
    let written = 0;
    let stalled = false;
    const piece = zipped ? gzipSync(Buffer.alloc(1 << 16, 'x'), { level: 0 }) : Buffer.alloc(1 << 16, 'x');
    const total = 1024;
    await using host = await httpHost(async (_request, response) => {
      response.writeHead(200, zipped ? { 'content-encoding': 'gzip' } : {});
      let wake: () => void = () => undefined;
      response.on('drain', () => wake()).on('close', () => wake());
      for (let count = 0; count < total && !response.destroyed; count++) {
        written++;
        if (!response.write(piece)) {
          stalled = true;
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          stalled = false;
        }
      }
      response.end();
    });
    const { send } = setUp();
    const answer = await send(host.root);
    const body = answer.body[Symbol.asyncIterator]();
    await body.next();
    // 64 MB wait at the server; the kernel's and the streams' buffers take a few.
    await until(() => stalled);
    let before = -1;
    while (before !== written || !stalled) {
      before = written;
      for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(written).toBeLessThan(total / 2);
    let size = 0;
    for (let next = await body.next(); next.done !== true; next = await body.next())
      size += next.value.length;
    expect(written).toBe(total);
    expect(size).toBeGreaterThan((total - 3) * (1 << 16));
  });
});
