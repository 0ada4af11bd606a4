/** Undoing gzip in memory that is used again: the same bytes and the same errors as Node's own stream. */
import { Buffer } from 'node:buffer';
import { Readable } from 'node:stream';
import { createGunzip, deflateSync, type Gunzip, gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { gunzip, gunzipPath, probeGunzip } from '../../src/internals/gunzip.ts';

/** What comes out, or the code of what goes wrong, of bytes that come in pieces of these sizes. */
async function undo(packed: Buffer, sizes: readonly number[] = [packed.length]): Promise<Buffer | string> {
  const pieces: Buffer[] = [];
  for (let at = 0, turn = 0; at < packed.length; turn += 1) {
    const size = Math.max(1, sizes[turn % sizes.length] ?? 1);
    pieces.push(packed.subarray(at, at + size));
    at += size;
  }
  const out: Buffer[] = [];
  try {
    for await (const piece of gunzip(Readable.from(pieces))) out.push(Buffer.from(piece));
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
  return Buffer.concat(out);
}

/** Well and badly compressible stretches. */
const anyText = fc
  .array(fc.tuple(fc.string({ maxLength: 40 }), fc.integer({ min: 1, max: 400 })), { maxLength: 12 })
  .map((parts) => Buffer.from(parts.map(([text, times]) => text.repeat(times)).join('')));

afterEach(() => {
  vi.unstubAllEnvs();
});

describe.each(['fast', 'public'])('gunzip on the %s path', (path) => {
  beforeEach(() => {
    if (path === 'public') vi.stubEnv('LONGTAIL_FAST_PATHS', 'off');
  });

  test('is the one that is meant', () => {
    expect(gunzipPath().kind).toBe(path);
  });

  test('gives back what was packed, in whatever pieces it comes', async () => {
    await fc.assert(
      fc.asyncProperty(
        anyText,
        fc.array(fc.integer({ min: 1, max: 5_000 }), { minLength: 1, maxLength: 5 }),
        async (text, sizes) => {
          expect(await undo(gzipSync(text), sizes)).toEqual(text);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('megabytes out of a few bytes, and several members behind each other', async () => {
    const large = Buffer.alloc(5_000_000, 'all work and no play ');
    expect(await undo(gzipSync(large), [1_000])).toEqual(large);
    const exact = Buffer.alloc(256 * 1024, 'x');
    expect(await undo(gzipSync(exact))).toEqual(exact);
    const two = Buffer.concat([gzipSync('one '), gzipSync('two')]);
    expect(await undo(two, [7])).toEqual(Buffer.from('one two'));
    expect(await undo(gzipSync(''))).toEqual(Buffer.alloc(0));
  });

  test('one that is cut off anywhere says so, and one that is broken is no less', async () => {
    const packed = gzipSync(Buffer.from('a page of rows, '.repeat(2_000)));
    for (let length = 0; length < packed.length; length += 9) {
      expect(await undo(packed.subarray(0, length), [50])).toBe('Z_BUF_ERROR');
    }
    for (let at = 0; at < packed.length; at += 5) {
      const broken = Buffer.from(packed);
      broken[at] = (broken[at] ?? 0) ^ 0x5a;
      let expected: Buffer | string;
      try {
        expected = gunzipSync(broken);
      } catch (error) {
        expected = error instanceof Error && 'code' in error ? String(error.code) : '';
      }
      expect(await undo(broken, [50])).toEqual(expected);
    }
    expect(await undo(Buffer.from('no gzip at all'))).toBe('Z_DATA_ERROR');
    expect(await undo(deflateSync('another format'))).toBe('Z_DATA_ERROR');
  });

  test('what ends the stream ends it, too', async () => {
    const failing = Readable.from(
      (function* () {
        yield gzipSync('half').subarray(0, 12);
        throw Object.assign(new Error('reset'), { code: 'ECONNRESET' });
      })(),
    );
    const read = async () => {
      for await (const _piece of gunzip(failing));
    };
    await expect(read()).rejects.toMatchObject({ code: 'ECONNRESET' });
  });
});

describe('the fast path of gunzip', () => {
  test('uses one buffer for all pieces on this Node', async () => {
    const memory = new Set<ArrayBufferLike>();
    let pieces = 0;
    for await (const piece of gunzip(Readable.from([gzipSync(Buffer.alloc(4_000_000, 'abc'))]))) {
      memory.add(piece.buffer);
      pieces += 1;
    }
    expect(pieces).toBeGreaterThan(10);
    expect(memory.size).toBe(1);
  });
});

/** Node's own, with its handle changed as another Node might have it. */
function changedZlib(change: (zlib: Gunzip, handle: object) => void): Gunzip {
  const zlib = createGunzip();
  const handle: unknown = Reflect.get(zlib, '_handle');
  if (typeof handle !== 'object' || handle === null) throw new Error('this Node has no handle');
  change(zlib, handle);
  return zlib;
}

/** Wraps the handle's `writeSync`. */
function writing(zlib: Gunzip, handle: object, after: (state: Uint32Array) => void): void {
  const state: unknown = Reflect.get(zlib, '_writeState');
  const write: unknown = Reflect.get(handle, 'writeSync');
  if (!(state instanceof Uint32Array) || typeof write !== 'function') throw new Error('no state');
  Reflect.set(handle, 'writeSync', (...args: unknown[]) => {
    Reflect.apply(write, handle, args);
    after(state);
  });
}

describe('the probe of gunzip', () => {
  test('takes this Node', () => {
    expect(probeGunzip(createGunzip)).toEqual({ kind: 'fast' });
  });

  test.each<[string, (zlib: Gunzip, handle: object) => void]>([
    ['no handle', (zlib) => Reflect.set(zlib, '_handle', undefined)],
    ['no state', (zlib) => Reflect.set(zlib, '_writeState', undefined)],
    ['no writeSync', (_, handle) => Reflect.set(handle, 'writeSync', 5)],
    ['a writeSync that does nothing', (_, handle) => Reflect.set(handle, 'writeSync', () => undefined)],
    [
      'a writeSync that throws',
      (_, handle) =>
        Reflect.set(handle, 'writeSync', () => {
          throw new TypeError('Illegal invocation');
        }),
    ],
    ['a state in another order', (zlib, handle) => writing(zlib, handle, (state) => state.reverse())],
    [
      'errors that are not there at once',
      (zlib) => Object.defineProperty(zlib, 'errored', { get: () => null }),
    ],
  ])('refuses a zlib with %s', (_, change) => {
    expect(probeGunzip(() => changedZlib(change)).kind).toBe('public');
  });
});
