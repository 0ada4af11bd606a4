/**
 * Undoes gzip on this thread, into one buffer that is used again.
 *
 * Node's stream takes a new buffer for every piece, 170 bytes of garbage a row: the collector then runs ten times a second,
 * for a quarter of all the time that a full page takes. So its machinery is driven directly, as `zlib.gunzipSync`
 * does it; where a probe finds that this Node has it otherwise, the stream itself is used.
 */
import { Buffer } from 'node:buffer';
import { pipeline, type Readable } from 'node:stream';
import { constants, createGunzip, type Gunzip, gzipSync } from 'node:zlib';
import type { PathChoice } from '../domain/path-choice.ts';
import { free } from '../rows/release.ts';
import { forcedPublic } from './forced-public.ts';

/** Fits the processor's cache; zlib's own 16 KiB means sixteen times as many pieces a megabyte. */
const PIECE_BYTES = 256 * 1024;
const NOTHING = Buffer.alloc(0);
/** Outputs of streams that were read to their end: an answer is small as a rule, and a quarter of a megabyte of garbage is not. */
const MAX_SPARE = 4;
const spare: Buffer[] = [];

/**
 * The plain bytes of `stream`, whose chunks are its own to use up. A piece is valid until the next one is asked for. Throws
 * the error of zlib (`Z_DATA_ERROR`, `Z_BUF_ERROR` for one that ends too early), or that of the stream.
 */
export function gunzip(stream: Readable): AsyncIterable<Uint8Array> {
  const zlib = createGunzip({ chunkSize: PIECE_BYTES });
  const drive = gunzipPath().kind === 'fast' ? driveOf(zlib) : undefined;
  // Errors reach the reader through the pipeline's end.
  return drive === undefined ? pipeline(stream, zlib, () => undefined) : inflate(stream, zlib, drive);
}

/** What of its input is left, and how much it has put out. */
interface Step {
  readonly left: number;
  readonly put: number;
}
type Drive = (flush: number, input: Uint8Array, from: number, output: Buffer) => Step;

async function* inflate(
  stream: Readable,
  zlib: Gunzip,
  drive: Drive,
): AsyncGenerator<Uint8Array, void, void> {
  const output = spare.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES);
  // Thrown from here as soon as it is known; the event comes later, to nobody.
  zlib.on('error', () => undefined);
  const step = (flush: number, input: Uint8Array, from: number): Step => {
    const taken = drive(flush, input, from, output);
    if (zlib.errored !== null) throw zlib.errored;
    return taken;
  };
  try {
    for await (const chunk of stream) {
      const input: Uint8Array = chunk;
      for (let from = 0; ; ) {
        const { left, put } = step(constants.Z_NO_FLUSH, input, from);
        from = input.length - left;
        if (put > 0) yield output.subarray(0, put);
        // A full output may hide more that is there already.
        if (put < output.length) break;
      }
      free(input);
    }
    for (;;) {
      const { put } = step(constants.Z_FINISH, NOTHING, 0);
      if (put > 0) yield output.subarray(0, put);
      if (put < output.length) break;
    }
    // The reader has asked for what comes after the last piece. Where it stops earlier it may still hold one.
    if (spare.length < MAX_SPARE) spare.push(output);
    else free(output);
  } finally {
    zlib.destroy();
  }
}

/** Node's handle behind the stream, if it has the shape that is used here. */
function driveOf(zlib: Gunzip): Drive | undefined {
  const handle: unknown = Reflect.get(zlib, '_handle');
  const state: unknown = Reflect.get(zlib, '_writeState');
  if (typeof handle !== 'object' || handle === null || !('writeSync' in handle)) return undefined;
  const { writeSync } = handle;
  if (typeof writeSync !== 'function' || !(state instanceof Uint32Array) || state.length < 2)
    return undefined;
  return (flush, input, from, output) => {
    Reflect.apply(writeSync, handle, [flush, input, from, input.length - from, output, 0, output.length]);
    const [outputLeft = 0, left = 0] = state;
    return { left, put: output.length - outputLeft };
  };
}

let probed: PathChoice | undefined;

/** How gzip is undone in this process. Probed once. */
export function gunzipPath(): PathChoice {
  probed ??= probeGunzip(createGunzip);
  return forcedPublic() ?? probed;
}

/** Longer than the probe's output buffer, so that one input takes several steps. */
const PROBE_TEXT = Buffer.from('a page of rows, '.repeat(40));
const PROBE_OUTPUT_BYTES = 256;

/**
 * Undoes a small body through the handle, then a broken and a truncated one: each must come to what Node's own
 * interface makes of it, the errors included. An error that came later than expected would let wrong rows pass.
 */
export function probeGunzip(make: () => Gunzip): PathChoice {
  const packed = gzipSync(PROBE_TEXT);
  const broken = Buffer.from(packed);
  // In the checksum at the end.
  broken[broken.length - 8] = (broken[broken.length - 8] ?? 0) ^ 0xff;
  try {
    const whole = tryHandle(make(), packed);
    if (whole === undefined) return usePublic('zlib has no such handle in this Node');
    if (!Buffer.isBuffer(whole) || !whole.equals(PROBE_TEXT))
      return usePublic('the handle of zlib gives back something else in this Node');
    const isStrict =
      tryHandle(make(), broken) === 'Z_DATA_ERROR' &&
      tryHandle(make(), packed.subarray(0, -20)) === 'Z_BUF_ERROR';
    return isStrict
      ? { kind: 'fast' }
      : usePublic('the handle of zlib reports errors differently in this Node');
  } catch {
    return usePublic('the handle of zlib fails in this Node');
  }
}

const usePublic = (reason: string): PathChoice => ({ kind: 'public', reason });

/** What the handle makes of a body: its bytes, or the code of its error. Undefined: there is no such handle. */
function tryHandle(zlib: Gunzip, packed: Buffer): Buffer | string | undefined {
  zlib.on('error', () => undefined);
  try {
    const drive = driveOf(zlib);
    if (drive === undefined) return undefined;
    const output = Buffer.alloc(PROBE_OUTPUT_BYTES);
    const pieces: Buffer[] = [];
    for (const [flush, input] of [
      [constants.Z_NO_FLUSH, packed],
      [constants.Z_FINISH, NOTHING],
    ] as const) {
      let from = 0;
      for (let put = output.length; put === output.length; ) {
        // One that never comes to an end would hang here.
        if (pieces.length > PROBE_TEXT.length) return 'no end';
        const step = drive(flush, input, from, output);
        if (zlib.errored !== null) return codeOf(zlib.errored);
        // A closed handle that is written to aborts the process.
        if (zlib.destroyed) return 'destroyed';
        from = input.length - step.left;
        put = step.put;
        pieces.push(Buffer.from(output.subarray(0, put)));
      }
    }
    return Buffer.concat(pieces);
  } finally {
    zlib.destroy();
  }
}

const codeOf = (error: Error): string => ('code' in error ? String(error.code) : error.message);
