import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readMultipart } from '../../../src/search-console/answer/multipart.ts';
import { boundaryOf } from '../../../src/search-console/answer/multipart-head.ts';
import { bodies, crlf, lf, readChunks, readText } from '../support/multipart-text.ts';

/** As an answer of Google's was seen on the wire. */
const CAPTURED = crlf(
  '--batch_oDhHTEnhq18_AAT3kiqGBoA',
  'Content-Type: application/http',
  'Content-ID: <response-p0>',
  '',
  'HTTP/1.1 200 OK',
  'Content-Type: application/json; charset=UTF-8',
  'Vary: Origin',
  '',
  '{"rows":[{"keys":["https://x/"],"clicks":1,"impressions":2,"ctr":0.5,"position":1}]}',
  '--batch_oDhHTEnhq18_AAT3kiqGBoA',
  'Content-Type: application/http',
  'Content-ID: <response-p1>',
  '',
  'HTTP/1.1 503 Service Unavailable',
  'Retry-After: 7',
  '',
  '{"error":{"code":503,"message":"try later"}}',
  '--batch_oDhHTEnhq18_AAT3kiqGBoA--',
  '',
);
const BOUNDARY = 'batch_oDhHTEnhq18_AAT3kiqGBoA';

describe('an answer as Google sends it', () => {
  it('gives each part its head, then its body', () => {
    expect(readText(CAPTURED, { boundary: BOUNDARY })).toEqual([
      {
        kind: 'head',
        contentId: 'response-p0',
        status: 200,
        headers: { 'content-type': 'application/json; charset=UTF-8', vary: 'Origin' },
      },
      {
        kind: 'body',
        contentId: 'response-p0',
        text: '{"rows":[{"keys":["https://x/"],"clicks":1,"impressions":2,"ctr":0.5,"position":1}]}',
        closed: true,
      },
      { kind: 'head', contentId: 'response-p1', status: 503, headers: { 'retry-after': '7' } },
      {
        kind: 'body',
        contentId: 'response-p1',
        text: '{"error":{"code":503,"message":"try later"}}',
        closed: true,
      },
    ]);
  });

  it('gives the same parts wherever it is cut in two', () => {
    const whole = readText(CAPTURED, { boundary: BOUNDARY });
    const bytes = Buffer.from(CAPTURED);
    for (let cut = 0; cut <= bytes.length; cut++) {
      const told = readChunks([bytes.subarray(0, cut), bytes.subarray(cut)], { boundary: BOUNDARY });
      expect(told, `cut at ${cut}`).toEqual(whole);
    }
  });

  it('says a part’s head before its body has come', async () => {
    const at = CAPTURED.indexOf('{"rows"');
    let pulls = 0;
    async function* source() {
      pulls++;
      yield Buffer.from(CAPTURED.slice(0, at));
      pulls++;
      yield Buffer.from(CAPTURED.slice(at));
    }
    const events = readMultipart(source(), { boundary: BOUNDARY, maxPartBytes: 1000, maxParts: 9 });
    const first = await events.next();
    expect(first.value).toMatchObject({ kind: 'head', contentId: 'response-p0', status: 200 });
    // Nothing was read ahead of what was asked for.
    expect(pulls).toBe(1);
    await events.return();
  });
});

describe('what is tolerated', () => {
  const part = (id: string, body: string) => [
    'Content-Type: application/http',
    `Content-ID: ${id}`,
    '',
    'HTTP/1.1 200 OK',
    'Content-Type: application/json',
    '',
    body,
  ];

  it.each([
    ['CRLF', crlf('--b', ...part('<response-p0>', '{}'), '--b--', '')],
    ['LF alone', lf('--b', ...part('<response-p0>', '{}'), '--b--', '')],
    ['a preamble', crlf('This is a preamble.', '--', 'b', '--b', ...part('<response-p0>', '{}'), '--b--')],
    ['an empty first line', crlf('', '--b', ...part('<response-p0>', '{}'), '--b--')],
    [
      'an epilogue',
      crlf('--b', ...part('<response-p0>', '{}'), '--b--', 'bye', '--b', ...part('x', 'no'), '--b--'),
    ],
    ['padding after the boundary', crlf('--b \t', ...part('<response-p0>', '{}'), '--b--  ', '')],
    ['no line end at the very end', crlf('--b', ...part('<response-p0>', '{}'), '--b--')],
    ['an id without brackets', crlf('--b', ...part('response-p0', '{}'), '--b--')],
    [
      'a header in other case',
      crlf('--b', 'content-id:<response-p0>', '', 'HTTP/1.1 200 OK', '', '{}', '--b--'),
    ],
    ['no reason phrase', crlf('--b', 'Content-ID: <response-p0>', '', 'HTTP/1.1 200', '', '{}', '--b--')],
    [
      'HTTP/2 in the status line',
      crlf('--b', 'Content-ID: <response-p0>', '', 'HTTP/2 200 ', '', '{}', '--b--'),
    ],
    [
      'empty lines before the status',
      crlf('--b', 'Content-ID: <response-p0>', '', '', '', 'HTTP/1.1 200 OK', '', '{}', '--b--'),
    ],
    [
      'empty lines before the head',
      crlf('--b', '', 'Content-ID: <response-p0>', '', 'HTTP/1.1 200 OK', '', '{}', '--b--'),
    ],
    [
      'no empty line after the outer head',
      crlf('--b', 'Content-ID: <response-p0>', 'HTTP/1.1 200 OK', '', '{}', '--b--'),
    ],
    [
      'a line that is no header',
      crlf('--b', 'rubbish', 'Content-ID: <response-p0>', '', 'HTTP/1.1 200 OK', '', '{}', '--b--'),
    ],
  ])('%s', (_name, text) => {
    const bytes = Buffer.from(text);
    expect(readText(text).filter(({ kind }) => kind !== 'tooLarge')).toMatchObject([
      { kind: 'head', contentId: 'response-p0', status: 200 },
      { kind: 'body', contentId: 'response-p0', text: '{}', closed: true },
    ]);
    // Byte by byte is no different.
    expect(readChunks(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(readText(text));
  });

  it('takes the boundary from a quoted parameter that holds "="', () => {
    expect(boundaryOf('multipart/mixed; boundary="===============7330845974216740156=="')).toBe(
      '===============7330845974216740156==',
    );
    expect(boundaryOf('multipart/mixed; charset=UTF-8; Boundary=abc;x=y')).toBe('abc');
    expect(boundaryOf('Multipart/Mixed;boundary="a\\"b"')).toBe('a"b');
    expect(boundaryOf('application/json')).toBeNull();
    expect(boundaryOf('multipart/mixed')).toBeNull();
    expect(boundaryOf(undefined)).toBeNull();
    const text = crlf('--===1==', ...part('response-p0', '{}'), '--===1==--');
    expect(bodies(readText(text, { boundary: '===1==' }))).toEqual(['response-p0={}']);
  });

  it('takes parts in any order, and says those that come twice', () => {
    const text = crlf(
      '--b',
      ...part('2', 'two'),
      '--b',
      ...part('0', 'zero'),
      '--b',
      ...part('2', 'again'),
      '--b--',
    );
    expect(bodies(readText(text))).toEqual(['2=two', '0=zero', '2=again']);
  });

  it('passes over the bodies of parts that are not wanted', () => {
    const text = crlf(
      '--b',
      ...part('x', 'no'),
      '--b',
      ...part('1', 'yes'),
      '--b',
      ...part('y', 'no'),
      '--b--',
    );
    const told = readText(text, { wants: (id) => id === '1' });
    expect(told.map(({ kind }) => kind)).toEqual(['unwanted', 'head', 'body', 'unwanted']);
    expect(bodies(told)).toEqual(['1=yes']);
  });

  it('takes for content what only looks like a delimiter', () => {
    const body = ['{"a":"--b", "c":"x--b--"', '--bX', '--b-', '--b -', ' --b', '--', '--b--x', '}'].join(
      '\r\n',
    );
    const text = crlf('--b', ...part('0', body), '--b', ...part('1', '--c'), '--b--');
    expect(bodies(readText(text))).toEqual([`0=${body}`, '1=--c']);
    expect(readChunks(Array.from(Buffer.from(text), (byte) => Uint8Array.of(byte)))).toEqual(readText(text));
    const unwanted = readText(text, { wants: (id) => id === '1' });
    expect(bodies(unwanted)).toEqual(['1=--c']);
  });

  it('gives a part without a body, or with an empty one, an empty body', () => {
    const text = crlf(
      '--b',
      'Content-ID: 0',
      '',
      'HTTP/1.1 204 No Content',
      '',
      '--b',
      'Content-ID: 1',
      '',
      'HTTP/1.1 204 No Content',
      '',
      '',
      '--b',
      'Content-ID: 2',
      '',
      'HTTP/1.1 204 No Content',
      '--b--',
    );
    expect(bodies(readText(text))).toEqual(['0=', '1=', '2=']);
  });

  it('says nothing of parts without an answer', () => {
    const text = crlf(
      '--b',
      '--b',
      'Content-ID: 1',
      '',
      '--b',
      'Content-ID: 2',
      '--b',
      ...part('3', 'x'),
      '--b--',
    );
    expect(bodies(readText(text))).toEqual(['3=x']);
  });

  it('says status 0 where the status line cannot be read', () => {
    const text = crlf('--b', 'Content-ID: 0', '', 'what is this', 'X: y', '', '{}', '--b--');
    expect(readText(text)[0]).toMatchObject({ kind: 'head', contentId: '0', status: 0 });
  });

  it('keeps headers with names of Object’s own', () => {
    const text = crlf(
      '--b',
      'Content-ID: 0',
      '',
      'HTTP/1.1 200 OK',
      'constructor: x',
      '__proto__: y',
      '',
      '{}',
      '--b--',
    );
    const [head] = readText(text);
    if (head?.kind !== 'head') throw new Error('no head');
    expect(Object.entries(head.headers ?? {})).toEqual([
      ['constructor', 'x'],
      ['__proto__', 'y'],
    ]);
  });
});

describe('an answer that stops too early', () => {
  const TEXT = crlf(
    '--b',
    'Content-ID: 0',
    '',
    'HTTP/1.1 200 OK',
    '',
    '{"a":1}',
    '--b',
    'Content-ID: 1',
    '',
    'HTTP/1.1 200 OK',
    '',
    '{"b":2}',
    '--b--',
    '',
  );

  it('says of the part under way that it is open, and gives no part that is not there', () => {
    const end = TEXT.indexOf('\r\n--b--');
    expect(bodies(readText(TEXT.slice(0, end)))).toEqual(['0={"a":1}', '1={"b":2} (open)']);
    expect(bodies(readText(TEXT.slice(0, end - 1)))).toEqual(['0={"a":1}', '1={"b":2 (open)']);
    expect(bodies(readText(TEXT.slice(0, TEXT.indexOf('{"b"') - 2)))).toEqual(['0={"a":1}']);
  });

  it('takes no half delimiter for content, wherever it stops', () => {
    const first = TEXT.indexOf('{"a":1}') + '{"a":1}'.length;
    for (let cut = first; cut <= TEXT.length; cut++) {
      const told = readText(TEXT.slice(0, cut));
      const body = told.find((event) => event.kind === 'body');
      if (body?.kind !== 'body') throw new Error(`no body at ${cut}`);
      expect(body.text.trim(), `cut at ${cut}`).toBe('{"a":1}');
    }
  });
});

describe('random answers', () => {
  const bodyText = fc.oneof(
    fc.string(),
    fc.json(),
    fc.string({ unit: fc.constantFrom('-', 'b', '\r', '\n', ' ', 'é', '--b', '\r\n--b', '\n--bb') }),
  );
  const parts = fc.array(
    fc.record({ id: fc.nat(99), status: fc.integer({ min: 100, max: 599 }), body: bodyText }),
    { maxLength: 6 },
  );

  it('are read back as they were written, in whatever pieces they come', () => {
    fc.assert(
      fc.property(parts, fc.array(fc.nat(40), { maxLength: 200 }), fc.boolean(), (written, cuts, useCrlf) => {
        const eol = useCrlf ? '\r\n' : '\n';
        const boundary = 'bound_ary';
        const text = `${written
          .map(({ id, status, body }) =>
            [`--${boundary}`, `Content-ID: <${id}>`, '', `HTTP/1.1 ${status} X`, 'A: b', '', body, ''].join(
              eol,
            ),
          )
          .join('')}--${boundary}--${eol}`;
        const bytes = Buffer.from(text);
        const chunks: Buffer[] = [];
        let at = 0;
        for (const size of cuts) {
          chunks.push(bytes.subarray(at, at + size));
          at += size;
        }
        chunks.push(bytes.subarray(at));
        const told = readChunks(chunks, { boundary });
        const expected = written.flatMap(({ id, status, body }) => [
          { kind: 'head', contentId: String(id), status },
          // With LF alone, a CR before it cannot be told from a part of the line's end.
          {
            kind: 'body',
            contentId: String(id),
            text: !useCrlf && body.endsWith('\r') ? body.slice(0, -1) : body,
            closed: true,
          },
        ]);
        expect(told).toMatchObject(expected);
        expect(told).toHaveLength(expected.length);
      }),
      { numRuns: 500 },
    );
  });

  it('never make the reader throw, and never cost more than their limits', () => {
    const alphabet = fc.constantFrom(
      '--b',
      '--b--',
      '\r\n',
      '\n',
      '\r',
      ':',
      'HTTP/1.1 200 OK',
      'Content-ID: 1',
      ' ',
      'x',
      '\u0000',
    );
    fc.assert(
      fc.property(fc.array(alphabet, { maxLength: 80 }), fc.nat(7), (tokens, size) => {
        const bytes = Buffer.from(tokens.join(''));
        const chunks: Buffer[] = [];
        for (let at = 0; at < bytes.length; at += size + 1) chunks.push(bytes.subarray(at, at + size + 1));
        const options = { maxPartBytes: 10, maxHeadBytes: 30, maxParts: 5 };
        const told = readChunks(chunks, options);
        expect(told).toEqual(readChunks([bytes], options));
        for (const event of told)
          if (event.kind === 'body') expect(Buffer.byteLength(event.text)).toBeLessThanOrEqual(10);
      }),
      { numRuns: 1000 },
    );
  });
});
