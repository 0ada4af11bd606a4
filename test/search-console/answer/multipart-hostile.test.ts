// Holds invariants 8 of SPEC.md.
import { describe, expect, it } from 'vitest';
import { MultipartReader } from '../../../src/search-console/answer/multipart.ts';
import { bodies, crlf, readChunks, readText } from '../support/multipart-text.ts';

const head = (id: number) => crlf('--b', `Content-ID: ${id}`, '', 'HTTP/1.1 200 OK', '', '');

function* repeated(chunk: Buffer, times: number) {
  for (let count = 0; count < times; count++) yield chunk;
}

function* joined<T>(...parts: Iterable<T>[]) {
  for (const part of parts) yield* part;
}

/** Memory outside the heap that reading costs at most: buffers live there. */
function peakExternalBytes(
  chunks: Iterable<Uint8Array>,
  options: ConstructorParameters<typeof MultipartReader>[0],
) {
  const before = process.memoryUsage().arrayBuffers;
  const reader = new MultipartReader(options);
  const kinds: Record<string, number> = {};
  let peak = 0;
  let read = 0;
  for (const chunk of chunks) {
    for (const { kind } of reader.feed(chunk)) kinds[kind] = (kinds[kind] ?? 0) + 1;
    if (++read % 64 === 0) peak = Math.max(peak, process.memoryUsage().arrayBuffers - before);
    if (reader.stopped) break;
  }
  for (const { kind } of reader.end()) kinds[kind] = (kinds[kind] ?? 0) + 1;
  return { peak, kinds, read };
}

describe('limits', () => {
  it('skips a part over its size, says so once, and reads those after it', () => {
    const text = `${head(0)}${'x'.repeat(11)}\r\n${head(1)}${'y'.repeat(10)}\r\n--b--`;
    for (const size of [1, 3, 1000]) {
      const bytes = Buffer.from(text);
      const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
        bytes.subarray(at * size, at * size + size),
      );
      const told = readChunks(chunks, { maxPartBytes: 10 });
      expect(told.filter(({ kind }) => kind !== 'head')).toEqual([
        { kind: 'tooLarge', contentId: '0', what: 'body' },
        { kind: 'body', contentId: '1', text: 'y'.repeat(10), closed: true },
      ]);
    }
  });

  it('skips a part over its size when the answer stops in it', () => {
    const told = readText(`${head(0)}${'x'.repeat(5000)}`, { maxPartBytes: 10 });
    expect(told.map(({ kind }) => kind)).toEqual(['head', 'tooLarge']);
  });

  it('skips a part whose head is over its size', () => {
    const long = crlf(
      '--b',
      'Content-ID: 0',
      `X: ${'x'.repeat(200)}`,
      '',
      'HTTP/1.1 200 OK',
      '',
      'no',
      head(1),
    );
    const told = readText(`${long}yes\r\n--b--`, { maxHeadBytes: 100 });
    expect(told.filter(({ kind }) => kind !== 'head')).toEqual([
      { kind: 'tooLarge', contentId: '0', what: 'head' },
      { kind: 'body', contentId: '1', text: 'yes', closed: true },
    ]);
  });

  it('reads no more parts than it was told to expect', () => {
    const told = readText(`${head(0)}a\r\n${head(1)}b\r\n${head(2)}c\r\n--b--`, { maxParts: 2 });
    expect(bodies(told)).toEqual(['0=a', '1=b']);
    expect(told.at(-1)).toEqual({ kind: 'tooManyParts' });
  });
});

describe('memory stays bounded', () => {
  const MB = 1024 * 1024;
  const chunk = Buffer.alloc(64 * 1024, 'x');

  it('for a part that never ends', () => {
    const chunks = joined([Buffer.from(head(0))], repeated(chunk, 8192));
    const { peak, kinds } = peakExternalBytes(chunks, { boundary: 'b', maxPartBytes: 4 * MB, maxParts: 9 });
    expect(kinds).toEqual({ head: 1, tooLarge: 1 });
    expect(peak).toBeLessThan(24 * MB);
  });

  it('for a part of single bytes', () => {
    const chunks = joined([Buffer.from(head(0))], repeated(chunk.subarray(0, 1), 1_200_000));
    const { peak, kinds } = peakExternalBytes(chunks, { boundary: 'b', maxPartBytes: MB, maxParts: 9 });
    expect(kinds).toEqual({ head: 1, tooLarge: 1 });
    expect(peak).toBeLessThan(24 * MB);
  });

  it.each([
    ['one line', chunk],
    ['many lines', Buffer.from('X: y\r\n'.repeat(10_000))],
  ])('for a head that never ends, of %s', (_name, piece) => {
    const chunks = joined([Buffer.from('--b\r\n')], repeated(piece, 2048));
    const { peak, kinds } = peakExternalBytes(chunks, { boundary: 'b', maxPartBytes: MB, maxParts: 9 });
    expect(kinds).toEqual({ tooLarge: 1 });
    expect(peak).toBeLessThan(24 * MB);
  });

  it('for a preamble that never ends', () => {
    const { peak, kinds } = peakExternalBytes(repeated(chunk, 4096), {
      boundary: 'b',
      maxPartBytes: MB,
      maxParts: 9,
    });
    expect(kinds).toEqual({});
    expect(peak).toBeLessThan(24 * MB);
  });

  it('for 200,000 tiny parts, and stops where it was told to', () => {
    const tiny = Buffer.from(`${head(7)}{}\r\n`.repeat(1000));
    const all = peakExternalBytes(repeated(tiny, 200), {
      boundary: 'b',
      maxPartBytes: MB,
      maxParts: 1_000_000,
    });
    expect(all.kinds).toEqual({ head: 200_000, body: 200_000 });
    expect(all.peak).toBeLessThan(24 * MB);
    const bounded = peakExternalBytes(repeated(tiny, 200), {
      boundary: 'b',
      maxPartBytes: MB,
      maxParts: 1_500,
    });
    expect(bounded.kinds.tooManyParts).toBe(1);
    expect(bounded.read).toBe(2);
  });

  it('for an epilogue that never ends: reading stops', () => {
    const chunks = joined([Buffer.from(`${head(0)}{}\r\n--b--\r\n`)], repeated(chunk, 1000));
    const { read, kinds } = peakExternalBytes(chunks, { boundary: 'b', maxPartBytes: MB, maxParts: 9 });
    expect(kinds).toEqual({ head: 1, body: 1 });
    expect(read).toBeLessThan(5);
  });

  it('for delimiters that are none, over and over, in a part that is skipped', () => {
    const almost = Buffer.from('\r\n--bX'.repeat(10_000));
    const chunks = joined([Buffer.from(head(0))], repeated(almost, 40));
    const { peak, kinds } = peakExternalBytes(chunks, {
      boundary: 'b',
      maxPartBytes: MB,
      maxParts: 9,
      wants: () => false,
    });
    expect(kinds).toEqual({ unwanted: 1 });
    expect(peak).toBeLessThan(24 * MB);
  });
});
