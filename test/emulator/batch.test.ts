import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseBatch } from '../../src/emulator/batch.ts';
import { type Emulator, startEmulator } from '../../src/emulator/index.ts';
import { batch, httpText, parts, query, rawExchange, TODAY } from './support.ts';

const PATH = '/webmasters/v3/sites/sc-domain%3Aexample.com/searchAnalytics/query';
const DAY = { startDate: '2026-05-01', endDate: '2026-05-01' };
let emulator: Emulator;

beforeAll(async () => {
  emulator = await startEmulator({ today: TODAY, rowsPerDay: 50 });
});
afterAll(() => emulator.close());

function parsed(contentType: string, body: string): unknown {
  return parseBatch(contentType, Buffer.from(body));
}

describe('the forms that official clients send', () => {
  it("Python's: LF, quoted boundary with =, ids with spaces and plus, no Content-Length", () => {
    const body = [
      '--===============7330845974216740156==',
      'Content-Type: application/http',
      'MIME-Version: 1.0',
      'Content-Transfer-Encoding: binary',
      'Content-ID: <b29c5de2-0db4-490b-b421-6a51b598bd22 + 1>',
      '',
      `POST ${PATH}?alt=json HTTP/1.1`,
      'Content-Type: application/json',
      'MIME-Version: 1.0',
      'accept: application/json',
      'Host: searchconsole.googleapis.com',
      'content-length: 2',
      '',
      '{"a": "größe"}',
      '--===============7330845974216740156==--',
      '',
    ].join('\n');
    expect(parsed('multipart/mixed; boundary="===============7330845974216740156=="', body)).toMatchObject({
      kind: 'calls',
      calls: [
        {
          method: 'POST',
          target: `${PATH}?alt=json`,
          body: '{"a": "größe"}',
          contentId: 'b29c5de2-0db4-490b-b421-6a51b598bd22 + 1',
        },
      ],
    });
  });

  it('CRLF, a preamble, empty lines before the request line, no HTTP version, ids without brackets, header names in any case', () => {
    const body = [
      'preamble',
      '--b1',
      'content-type: Application/HTTP; msgtype=request',
      'CONTENT-ID: item:0 with space',
      '',
      '',
      'get /webmasters/v3/sites',
      '',
      '',
      '--b1  ',
      'Content-Type: application/http',
      '',
      `POST https://searchconsole.googleapis.com${PATH} HTTP/1.1`,
      'X-Long: one',
      '  two',
      '',
      '{}',
      '--b1--',
      'epilogue --b1',
    ].join('\r\n');
    expect(parsed('Multipart/Mixed; charset=utf-8; boundary=b1; type=x', body)).toEqual({
      kind: 'calls',
      calls: [
        {
          method: 'GET',
          target: '/webmasters/v3/sites',
          headers: {},
          body: '',
          contentId: 'item:0 with space',
        },
        { method: 'POST', target: PATH, headers: { 'x-long': 'one two' }, body: '{}', contentId: undefined },
      ],
    });
  });

  it('mixed line ends and no closing delimiter', () => {
    const body = `--b\nContent-Type: application/http\r\nContent-ID: <1>\n\r\nPOST ${PATH}\r\n\n{"x":1}\n--b\r\nContent-Type: application/http\n\nGET /webmasters/v3/sites HTTP/1.1\n\n`;
    expect(parsed('multipart/mixed; boundary=b', body)).toMatchObject({
      calls: [
        { body: '{"x":1}', contentId: '1' },
        { method: 'GET', body: '' },
      ],
    });
  });

  it('does not take a line that only begins like the delimiter for one', () => {
    const body = `--b\r\nContent-Type: application/http\r\n\r\nPOST ${PATH}\r\n\r\n{"x":\r\n--bb\r\n1}\r\n--b--`;
    expect(parsed('multipart/mixed; boundary=b', body)).toMatchObject({
      calls: [{ body: '{"x":\r\n--bb\r\n1}' }],
    });
  });
});

describe('bodies that cannot be read', () => {
  it.each([
    ['no boundary', 'multipart/mixed', '--b--'],
    ['another type', 'application/json', '{}'],
    ['nothing between the delimiters', 'multipart/mixed; boundary=b', '--b--'],
    [
      'a part of another type',
      'multipart/mixed; boundary=b',
      '--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b--',
    ],
    [
      'no request line',
      'multipart/mixed; boundary=b',
      '--b\r\nContent-Type: application/http\r\n\r\n\r\n--b--',
    ],
  ])('%s', async (_, contentType, body) => {
    const answer = await fetch(`${emulator.url}batch`, {
      method: 'POST',
      headers: { authorization: 'Bearer x', 'content-type': contentType },
      body,
    });
    expect(answer.status).toBe(400);
    const { error } = (await answer.json()) as { error: { message: string } };
    expect(error.message).toBe(
      `Failed to parse batch request, error:  0 items. Received batch body: (${body.length}) bytes redacted`,
    );
  });

  it('more than 1,000 calls; 1,000 are taken', async () => {
    const small = { ...DAY, rowLimit: 1 };
    expect(
      (
        await batch(
          emulator,
          Array.from({ length: 1_001 }, () => small),
        )
      ).status,
    ).toBe(400);
    await using roomy = await startEmulator({ today: TODAY, rowsPerDay: 50 });
    const answer = await batch(
      roomy,
      Array.from({ length: 1_000 }, () => small),
    );
    expect(answer.status).toBe(200);
    expect(answer.parts.filter((part) => part.status === 200)).toHaveLength(1_000);
  });
});

describe('the answer', () => {
  it('is, byte for byte, what Google writes', async () => {
    const body = `--b=1\r\nContent-Type: application/http\r\nContent-ID: <item 1 + 2>\r\n\r\nGET /webmasters/v3/sites?prettyPrint=false HTTP/1.1\r\n\r\n\r\n--b=1\r\nContent-Type: application/http\r\n\r\nGET /webmasters/v3/sites/x?prettyPrint=false\r\n\r\n--b=1--\r\n`;
    const { text } = await rawExchange(
      emulator.url,
      httpText('/batch/webmasters/v3', 'multipart/mixed; boundary="b=1"', body),
    );
    const boundary = /boundary=(batch_\S+)/.exec(text)?.[1];
    const message =
      "User does not have sufficient permission for site 'x'. See also: https://support.google.com/webmasters/answer/2451999.";
    const unchunked = dechunk(text.slice(text.indexOf('\r\n\r\n') + 4));
    expect(unchunked).toBe(
      [
        `--${boundary}`,
        'Content-Type: application/http',
        'Content-ID: <response-item 1 + 2>',
        '',
        'HTTP/1.1 200 OK',
        'Content-Type: application/json; charset=UTF-8',
        '',
        '{"siteEntry":[{"siteUrl":"sc-domain:example.com","permissionLevel":"siteOwner"}]}',
        `--${boundary}`,
        'Content-Type: application/http',
        '',
        'HTTP/1.1 403 Forbidden',
        'Content-Type: application/json; charset=UTF-8',
        '',
        `{"error":{"code":403,"message":"${message}","errors":[{"message":"${message}","domain":"global","reason":"forbidden"}]}}`,
        `--${boundary}--`,
        '',
      ].join('\r\n'),
    );
  });

  it('holds the same rows as the calls sent alone, in the order sent, on both paths', async () => {
    const bodies = ['page', 'query', 'country'].map((dimension) => ({ ...DAY, dimensions: [dimension] }));
    const alone = await Promise.all(bodies.map((body) => query(emulator, body)));
    for (const path of ['batch', 'batch/webmasters/v3']) {
      const answer = await batch(emulator, bodies, { path });
      expect(answer.parts.map(({ id }) => id)).toEqual(['item0', 'item1', 'item2']);
      expect(answer.parts.map(({ body }) => JSON.parse(body))).toEqual(alone.map(({ body }) => body));
    }
  });

  it('keeps one call’s error within its part', async () => {
    const answer = await batch(emulator, [DAY, { ...DAY, rowLimit: 0 }, DAY]);
    expect(answer.status).toBe(200);
    expect(answer.parts.map(({ status, phrase }) => `${status} ${phrase}`)).toEqual([
      '200 OK',
      '400 Bad Request',
      '200 OK',
    ]);
  });

  it('is pretty inside the parts by default, and compact where the part or the batch says so', async () => {
    const send = async (outer: string, inner: string): Promise<string> => {
      const body = `--b\r\nContent-Type: application/http\r\n\r\nPOST ${PATH}${inner}\r\n\r\n${JSON.stringify(DAY)}\r\n--b--`;
      const response = await fetch(`${emulator.url}batch${outer}`, {
        method: 'POST',
        headers: { authorization: 'Bearer x', 'content-type': 'multipart/mixed; boundary=b' },
        body,
      });
      return parts(await response.text(), response.headers.get('content-type') ?? '')[0]?.body ?? '';
    };
    expect(await send('', '')).toContain('\n  "rows": [');
    expect(await send('', '?prettyPrint=false')).toMatch(/^\{"rows":\[/);
    expect(await send('?prettyPrint=false', '')).toMatch(/^\{"rows":\[/);
  });

  it('takes a token in each part, and refuses only the parts without one', async () => {
    const part = (id: string, header: string): string =>
      `--b\r\nContent-Type: application/http\r\nContent-ID: <${id}>\r\n\r\nPOST ${PATH} HTTP/1.1\r\n${header}\r\n${JSON.stringify(DAY)}\r\n`;
    const response = await fetch(`${emulator.url}batch`, {
      method: 'POST',
      headers: { 'content-type': 'multipart/mixed; boundary=b' },
      body: `${part('1', 'Authorization: Bearer one\r\n')}${part('2', '')}--b--`,
    });
    const answer = parts(await response.text(), response.headers.get('content-type') ?? '');
    expect(answer.map(({ status }) => status)).toEqual([200, 401]);
  });

  it('counts each call, and remembers what it was', async () => {
    await using counted = await startEmulator({ today: TODAY, rowsPerDay: 50 });
    await batch(counted, [DAY, { ...DAY, startRow: 7 }]);
    expect(counted.counters).toMatchObject({
      httpCalls: 1,
      apiCalls: 2,
      maxInAnyWindow: 2,
      maxConcurrentCalls: 1,
    });
    expect(counted.requests).toMatchObject([
      {
        httpCall: 1,
        part: 0,
        batchSize: 2,
        batchId: 'item0',
        endpoint: 'query',
        siteUrl: 'sc-domain:example.com',
        body: DAY,
      },
      { httpCall: 1, part: 1, batchSize: 2, batchId: 'item1', body: { startRow: 7 }, status: 200 },
    ]);
  });
});

function dechunk(text: string): string {
  let rest = Buffer.from(text);
  let whole = '';
  for (;;) {
    const end = rest.indexOf('\r\n');
    const size = Number.parseInt(rest.subarray(0, end).toString(), 16);
    if (!(size > 0)) return whole;
    whole += rest.subarray(end + 2, end + 2 + size).toString();
    rest = rest.subarray(end + 2 + size + 2);
  }
}
