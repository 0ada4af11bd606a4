import { describe, expect, it } from 'vitest';
import { plainRows } from '../../src/rows/row-block.ts';
import { type ClientOptions, createClient } from '../../src/search-console/client.ts';
import { TransportError } from '../../src/search-console/http/transport.ts';
import type { CallOptions, CallStep } from '../../src/search-console/request/call.ts';
import type { ApiRequest } from '../../src/search-console/request/query.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { until } from '../support/until.ts';
import { type FakeAnswer, fakeTransport } from './support/fake-transport.ts';
import { crlf } from './support/multipart-text.ts';

const TOKEN = 'secret-token';
const request = (name: string): ApiRequest => ({
  method: 'POST',
  path: `/${name}?x=y`,
  body: `{"n":"${name}"}`,
  keyCount: 1,
  rowLimit: 100,
});
const REQUESTS = [request('a'), request('b'), request('c')];

const ok = (id: string, key: string) =>
  answer(id, '200 OK', `{"rows":[{"keys":["${key}"],"clicks":1,"impressions":2,"position":3}]}`);
const answer = (id: string, status: string, body: string, ...headers: string[]) =>
  crlf(
    '--b',
    'Content-Type: application/http',
    `Content-ID: <${id}>`,
    '',
    `HTTP/1.1 ${status}`,
    ...headers,
    '',
    body,
    '',
  );
const error = (code: number, message: string, domain: string, reason: string) =>
  JSON.stringify({ error: { code, message, errors: [{ message, domain, reason }] } });

const MULTIPART = { 'content-type': 'multipart/mixed; boundary="b"' };
const batch = (...chunks: FakeAnswer['chunks']): FakeAnswer => ({ headers: MULTIPART, chunks });
const reset = () => new TransportError('reset', 'body', true, 'read ECONNRESET');

function setUp(given: FakeAnswer | TransportError | 'silence', options: Partial<ClientOptions> = {}) {
  const transport = fakeTransport(given);
  const clock = new ManualClock(1_700_000_000_000);
  const controller = new AbortController();
  const client = createClient({
    transport,
    clock,
    apiRoot: 'http://127.0.0.1:1',
    idleTimeoutMs: 1000,
    ...options,
  });
  const call = (requests: readonly ApiRequest[] = REQUESTS, mode: CallOptions['mode'] = 'batch') =>
    client.call(requests, { accessToken: TOKEN, signal: controller.signal, mode });
  return { transport, clock, controller, call };
}

/** Steps in short: `sent head0 ok0=key …`. */
async function told(steps: AsyncIterable<CallStep>): Promise<string[]> {
  const lines: string[] = [];
  for await (const step of steps) lines.push(short(step));
  return lines;
}

function short(step: CallStep): string {
  switch (step.kind) {
    case 'sent':
      return 'sent';
    case 'head':
      return `head${step.index}:${step.status}`;
    case 'answer': {
      const { index, outcome } = step;
      if (outcome.kind === 'ok')
        return `ok${index}=${plainRows(outcome.answer.rows)
          .map(({ keys }) => keys.join())
          .join()}`;
      if (outcome.kind === 'quota') return `quota${index}=${outcome.quota}/${outcome.retryAfterMs}`;
      return `${outcome.kind}${index}=${outcome.reason}`;
    }
    case 'end': {
      const { outcome, strayParts } = step;
      return `end ${JSON.stringify(outcome)}${strayParts === 0 ? '' : ` stray ${strayParts}`}`;
    }
  }
}

const ANSWERED = 'end {"kind":"answered"}';

describe('what is sent', () => {
  it('is one multipart request for the batch, with the token outside the parts', async () => {
    const { call, transport } = setUp(batch(ok('response-p0', 'x'), '--b--'), { quotaProjectId: 'proj' });
    await told(call([request('a')]));
    const [sent] = transport.requests;
    expect(sent).toMatchObject({
      method: 'POST',
      url: 'http://127.0.0.1:1/batch',
      headers: { authorization: `Bearer ${TOKEN}`, 'accept-encoding': 'gzip', 'x-goog-user-project': 'proj' },
    });
    expect(sent?.headers['user-agent']).toContain('gzip');
    const boundary = /boundary=(\S+)$/.exec(sent?.headers['content-type'] ?? '')?.[1];
    expect(sent?.body).toMatch(
      new RegExp(`^--${boundary}\r\n[^]*POST /a\\?x=y HTTP/1.1\r\n[^]*--${boundary}--\r\n$`),
    );
    expect(sent?.body).not.toContain(TOKEN);
  });

  it('is the request itself in plain mode', async () => {
    const { call, transport } = setUp({ chunks: ['{}'] });
    await told(call([request('a')], 'plain'));
    expect(transport.requests).toMatchObject([
      {
        method: 'POST',
        url: 'http://127.0.0.1:1/a?x=y',
        body: '{"n":"a"}',
        headers: { 'content-type': 'application/json' },
      },
    ]);
    expect(transport.requests[0]?.headers).not.toHaveProperty('x-goog-user-project');
  });

  it('never goes to a root that is neither https nor loopback', () => {
    expect(() => setUp('silence', { apiRoot: 'http://example.com/' })).toThrow(
      expect.objectContaining({ code: 'INSECURE_ROOT' }),
    );
  });

  it('is refused as wrong use when there are no requests, or too many for the mode', async () => {
    const { call } = setUp('silence');
    await expect(told(call([]))).rejects.toThrow('cannot hold 0');
    await expect(told(call(REQUESTS, 'plain'))).rejects.toThrow('cannot hold 3');
    await expect(told(call(Array.from({ length: 1001 }, () => request('a'))))).rejects.toThrow(
      'cannot hold 1001',
    );
  });
});

describe('a batch', () => {
  it('gives heads and answers as they come, in the order they come', async () => {
    const { call } = setUp(
      batch(ok('response-p2', 'x') + ok('response-p0', 'y'), `${ok('response-p1', 'z')}--b--`),
    );
    expect(await told(call())).toEqual([
      'sent',
      'head2:200',
      'ok2=x',
      'head0:200',
      'ok0=y',
      'head1:200',
      'ok1=z',
      ANSWERED,
    ]);
  });

  it('gives each part its own outcome', async () => {
    const requests = Array.from({ length: 8 }, (_, index) => request(String(index)));
    const { call } = setUp(
      batch(
        ok('response-p0', 'x'),
        answer(
          'response-p1',
          '403 Forbidden',
          error(403, 'Search Analytics load quota exceeded.', 'usageLimits', 'quotaExceeded'),
          'Retry-After: 9',
        ),
        answer('response-p2', '500 Internal', '{"error":{"code":500,"message":null}}'),
        answer('response-p3', '400 Bad Request', error(400, 'no such thing', 'global', 'invalidParameter')),
        answer('response-p4', '401 Unauthorized', error(401, `bad ${TOKEN}`, 'global', 'authError')),
        answer('response-p5', '403 Forbidden', error(403, 'no permission', 'global', 'forbidden')),
        answer('response-p6', '200 OK', '<html>'),
        answer(
          'response-p7',
          '403 Forbidden',
          error(403, 'not enabled', 'usageLimits', 'accessNotConfigured'),
        ),
        '--b--',
      ),
    );
    const lines = await told(call(requests));
    expect(lines.filter((line) => !line.startsWith('head'))).toEqual([
      'sent',
      'ok0=x',
      'quota1=load/9000',
      'retryable2=HTTP 500',
      'invalid3=HTTP 400 invalidParameter: no such thing',
      'unauthorized4=HTTP 401 authError: bad [secret]',
      'forbidden5=HTTP 403 forbidden: no permission',
      'retryable6=The answer is not whole JSON (6 bytes).',
      'fatal7=HTTP 403 accessNotConfigured: not enabled',
      ANSWERED,
    ]);
  });

  it('reports parts that are missing, takes the first of two, and counts strangers', async () => {
    const { call } = setUp(
      batch(
        `${ok('response-p1', 'first')}${ok('response-p1', 'second')}${ok('who', 'x')}${ok('response-p9', 'x')}--b--`,
      ),
    );
    expect(await told(call())).toEqual([
      'sent',
      'head1:200',
      'ok1=first',
      'retryable0=the answer left this part out',
      'retryable2=the answer left this part out',
      `${ANSWERED} stray 3`,
    ]);
  });

  it('fails as a whole when none of its parts came', async () => {
    const failed = (reason: string) => `end {"kind":"failed","reason":"${reason}","mayHaveArrived":true}`;
    expect(await told(setUp(batch('--b--')).call())).toEqual([
      'sent',
      failed('the answer left this part out'),
    ]);
    expect(await told(setUp(batch()).call())).toEqual([
      'sent',
      failed('the answer was cut off: it ended too early'),
    ]);
    expect(await told(setUp(batch(reset())).call())).toEqual([
      'sent',
      failed('the answer was cut off: read ECONNRESET'),
    ]);
    const half = ok('response-p0', 'x').slice(0, -20);
    expect(await told(setUp(batch(half, reset())).call())).toEqual([
      'sent',
      'head0:200',
      failed('the answer was cut off: read ECONNRESET'),
    ]);
  });

  it('keeps the parts that were whole before the answer broke off', async () => {
    const half = ok('response-p1', 'y').slice(0, -20);
    const { call, transport } = setUp(batch(ok('response-p0', 'x') + half, reset()));
    expect(await told(call())).toEqual([
      'sent',
      'head0:200',
      'ok0=x',
      'head1:200',
      // Those that did not come had no answer: it costs them nothing.
      'end {"kind":"failed","reason":"the answer was cut off: read ECONNRESET","mayHaveArrived":true}',
    ]);
    expect(transport.destroyed).toBe(true);
  });

  it('takes the last part without a final boundary when its JSON is whole', async () => {
    const text = ok('response-p0', 'x') + ok('response-p1', 'y');
    expect(await told(setUp(batch(text)).call())).toEqual([
      'sent',
      'head0:200',
      'ok0=x',
      'head1:200',
      'ok1=y',
      'end {"kind":"failed","reason":"the answer was cut off: it ended too early","mayHaveArrived":true}',
    ]);
    // Also of an error, and when the connection broke.
    const broken =
      ok('response-p0', 'x') + answer('response-p1', '400 Bad', error(400, 'no', 'global', 'invalid'));
    expect(await told(setUp(batch(broken, reset())).call())).toContain('invalid1=HTTP 400 invalid: no');
  });

  it('skips a part that is too large, and reads the rest', async () => {
    const { call } = setUp(
      batch(ok('response-p0', 'x'.repeat(300)), ok('response-p1', 'y'), ok('response-p2', 'z'), '--b--'),
      { maxPartBytes: 200 },
    );
    expect(await told(call())).toEqual([
      'sent',
      'head0:200',
      'retryable0=the answer is larger than 200 bytes',
      'head1:200',
      'ok1=y',
      'head2:200',
      'ok2=z',
      ANSWERED,
    ]);
  });

  it('gives up on an answer without end', async () => {
    const endless = Array.from({ length: 100 }, () => `preamble${'x'.repeat(92)}`);
    const { call, transport } = setUp(batch(...endless), { maxPartBytes: 200 });
    expect(await told(call())).toEqual([
      'sent',
      'end {"kind":"failed","reason":"the answer was cut off: the answer is larger than 800 bytes","mayHaveArrived":true}',
    ]);
    expect(transport.pulled).toBe(9);
    expect(transport.destroyed).toBe(true);
  });
});

describe('a batch that is refused as a whole', () => {
  it.each([
    [
      401,
      error(401, 'Invalid', 'global', 'authError'),
      { kind: 'unauthorized', reason: 'HTTP 401 authError: Invalid' },
    ],
    [
      403,
      error(403, 'Search Analytics QPS quota exceeded.', 'usageLimits', 'quotaExceeded'),
      { kind: 'quota', quota: 'qps', retryAfterMs: 5000 },
    ],
    [429, '', { kind: 'quota', quota: 'qps', retryAfterMs: 5000 }],
    [
      403,
      error(403, 'no', 'global', 'forbidden'),
      { kind: 'forbidden', code: 'FORBIDDEN', reason: 'HTTP 403 forbidden: no' },
    ],
    [
      403,
      error(403, 'no', 'usageLimits', 'accessNotConfigured'),
      {
        kind: 'fatal',
        reason: 'HTTP 403 accessNotConfigured: no',
        code: 'API_NOT_ENABLED',
        nextStep:
          'Enable the “Google Search Console API” for the project in the Google Cloud console, then run again.',
      },
    ],
    [503, '<title>Down</title>', { kind: 'failed', reason: 'HTTP 503 Down', mayHaveArrived: true }],
    [
      400,
      error(
        400,
        'Failed to parse batch request, error:  0 items. Received batch body: (49) bytes redacted',
        'global',
        'badRequest',
      ),
      {
        kind: 'failed',
        reason:
          'HTTP 400 badRequest: Failed to parse batch request, error: 0 items. Received batch body: (49) bytes redacted',
        mayHaveArrived: true,
      },
    ],
    [
      404,
      '<title>Not Found</title>',
      {
        kind: 'failed',
        reason: 'Google accepts no batches (HTTP 404 Not Found): sending single requests for 10 minutes',
        mayHaveArrived: true,
      },
    ],
    [302, '', { kind: 'failed', reason: 'HTTP 302', mayHaveArrived: true }],
  ])('with %i', async (status, body, outcome) => {
    const { call } = setUp({ status, headers: { 'retry-after': '5' }, chunks: [body] });
    expect(await told(call())).toEqual(['sent', `end ${JSON.stringify(outcome)}`]);
  });

  it('with a 200 that is no multipart', async () => {
    const { call } = setUp({ headers: { 'content-type': 'text/html' }, chunks: ['<html>Sign in</html>'] });
    expect(await told(call())).toEqual([
      'sent',
      'end {"kind":"failed","reason":"the answer to the batch is not multipart: <html>Sign in</html>","mayHaveArrived":true}',
    ]);
  });

  it('reads no more of an error than it needs', async () => {
    const { call, transport } = setUp({
      status: 500,
      chunks: Array.from({ length: 100 }, () => 'x'.repeat(10_000)),
    });
    await told(call());
    expect(transport.pulled).toBe(7);
    expect(transport.destroyed).toBe(true);
  });
});

describe('a plain call', () => {
  const plain = (given: Parameters<typeof setUp>[0], options: Partial<ClientOptions> = {}) =>
    told(setUp(given, options).call([request('a')], 'plain'));

  it('has the answer’s own status for its outcome', async () => {
    expect(await plain({ chunks: ['{"rows":[{"keys":["x"],', '"clicks":1,"impressions":2}]}'] })).toEqual([
      'sent',
      'head0:200',
      'ok0=x',
      ANSWERED,
    ]);
    expect(await plain({ status: 503, chunks: ['no'] })).toEqual([
      'sent',
      'head0:503',
      'retryable0=HTTP 503 no',
      ANSWERED,
    ]);
    expect(await plain({ status: 401, chunks: [''] })).toEqual([
      'sent',
      'head0:401',
      'unauthorized0=HTTP 401',
      ANSWERED,
    ]);
    expect(await plain({ status: 429, headers: { 'retry-after': '3' }, chunks: [] })).toEqual([
      'sent',
      'head0:429',
      'quota0=qps/3000',
      ANSWERED,
    ]);
    expect(await plain({ chunks: ['{"rows":'] })).toEqual([
      'sent',
      'head0:200',
      'retryable0=The answer is not whole JSON (8 bytes).',
      ANSWERED,
    ]);
  });

  it('fails as a whole when the answer breaks off, unless what came is whole', async () => {
    expect(await plain({ chunks: ['{"rows":', reset()] })).toEqual([
      'sent',
      'head0:200',
      'end {"kind":"failed","reason":"the answer was cut off: read ECONNRESET","mayHaveArrived":true}',
    ]);
    expect(await plain({ chunks: ['{}', reset()] })).toEqual(['sent', 'head0:200', 'ok0=', ANSWERED]);
  });

  it('reads no answer over its limit', async () => {
    expect(await plain({ chunks: ['{"rows":[', ' '.repeat(60)] }, { maxPartBytes: 50 })).toEqual([
      'sent',
      'head0:200',
      'retryable0=the answer is larger than 50 bytes',
      ANSWERED,
    ]);
  });
});

describe('no answer', () => {
  it('is a failure that says whether the request may have arrived', async () => {
    const refused = new TransportError('connect', 'connect', false, 'connect ECONNREFUSED');
    expect(await told(setUp(refused).call())).toEqual([
      'end {"kind":"failed","reason":"connect ECONNREFUSED","mayHaveArrived":false}',
    ]);
    const lost = new TransportError('reset', 'firstByte', true, 'socket hang up');
    expect(await told(setUp(lost).call())).toEqual([
      'sent',
      'end {"kind":"failed","reason":"socket hang up","mayHaveArrived":true}',
    ]);
  });

  it('is nothing sent at all when it was aborted before', async () => {
    const { call, controller } = setUp('silence');
    controller.abort();
    expect(await told(call())).toEqual(['end {"kind":"aborted","mayHaveArrived":false}']);
  });

  it('is an abort while waiting for the head', async () => {
    const { call, controller } = setUp('silence');
    const steps = call();
    expect(await steps.next()).toMatchObject({ value: { kind: 'sent' } });
    const next = steps.next();
    controller.abort();
    expect(await next).toMatchObject({
      value: { kind: 'end', outcome: { kind: 'aborted', mayHaveArrived: true } },
    });
    expect(await steps.next()).toEqual({ done: true, value: undefined });
  });

  it('is an abort in the body, which ends it at once and gives no more parts', async () => {
    const { call, controller, transport } = setUp(
      batch(ok('response-p0', 'x') + ok('response-p1', 'y'), '--b--'),
    );
    const lines: string[] = [];
    for await (const step of call()) {
      lines.push(short(step));
      if (step.kind === 'answer') controller.abort();
    }
    expect(lines).toEqual(['sent', 'head0:200', 'ok0=x', 'end {"kind":"aborted","mayHaveArrived":true}']);
    expect(transport.destroyed).toBe(true);
  });

  it('does not take an error of our own for one of the network', async () => {
    const { call, transport } = setUp('silence');
    transport.send = async () => {
      throw new TypeError('a bug');
    };
    await expect(told(call())).rejects.toThrow('a bug');
  });
});

describe('silence in the body', () => {
  it('ends the call after the idle time, and not before', async () => {
    const { call, clock, transport } = setUp(
      batch(ok('response-p0', 'x'), ok('response-p1', 'y'), 'silence'),
    );
    const lines = told(call());
    await until(() => transport.pulled === 3 && clock.pending.length === 1);
    clock.advance(999);
    expect(transport.destroyed).toBe(false);
    clock.advance(1);
    expect((await lines).slice(-2)).toEqual([
      'ok1=y',
      'end {"kind":"failed","reason":"the answer was cut off: no data for 1000 ms","mayHaveArrived":true}',
    ]);
    expect(transport.destroyed).toBe(true);
    expect(clock.pending.length).toBe(0);
  });

  it('is not counted while the consumer works, and nothing further is read', async () => {
    const { call, clock, transport } = setUp(
      batch(ok('response-p0', 'x'), `${ok('response-p1', 'y')}--b\r\n`, ok('response-p2', 'z'), '--b--'),
    );
    const lines: string[] = [];
    for await (const step of call()) {
      lines.push(short(step));
      const { pulled } = transport;
      expect(clock.pending.length).toBe(0);
      clock.advance(3_600_000);
      await new Promise((resolve) => setImmediate(resolve));
      expect(transport.pulled).toBe(pulled);
    }
    expect(lines.at(-1)).toBe(ANSWERED);
    expect(lines.filter((line) => line.startsWith('ok'))).toEqual(['ok0=x', 'ok1=y', 'ok2=z']);
  });
});

describe('a consumer that leaves', () => {
  it('drops the socket', async () => {
    const { call, transport, clock } = setUp(batch(`${ok('response-p0', 'x')}--b\r\n`, 'silence'));
    for await (const step of call()) if (step.kind === 'answer') break;
    expect(transport.destroyed).toBe(true);
    expect(clock.pending.length).toBe(0);
  });

  it('drops it also right after sending', async () => {
    const { call, transport } = setUp('silence');
    for await (const step of call()) if (step.kind === 'sent') break;
    expect(transport.destroyed).toBe(true);
  });
});
