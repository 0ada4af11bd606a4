/**
 * Decompresses gzip on this thread into one reusable buffer.
 *
 * Node's stream allocates a new buffer for every piece, 170 bytes of garbage per row. The collector then runs ten times
 * a second and takes a quarter of the time of a full page. So zlib's handle is used directly, as `zlib.gunzipSync`
 * does. If a probe finds that this Node version has it in another form, the stream is used.
 */
import { Buffer } from 'node:buffer';
import { pipeline, type Readable } from 'node:stream';
import { constants, createGunzip, type Gunzip, gzipSync } from 'node:zlib';
import type { PathChoice } from '../domain/path-choice.ts';
import { free } from '../rows/release.ts';
import { forcedPublic } from './forced-public.ts';

/** Fits the processor's cache. zlib's default of 16 KiB means sixteen times as many pieces per megabyte. */
const PIECE_BYTES = 256 * 1024;
const NOTHING = Buffer.alloc(0);
/**
 * Output buffers of finished streams, kept for reuse: most answers are small, and a quarter of a megabyte of garbage is
 * not.
 */
const MAX_SPARE = 4;
const spare: Buffer[] = [];

/**
 * The decompressed bytes of `stream`, whose chunks may be overwritten. A piece is valid until the next one is
 * requested. Throws zlib's errors (`Z_DATA_ERROR`, or `Z_BUF_ERROR` if the data ends too early) and errors of the
 * stream.
 */
export function gunzip(stream: Readable): AsyncIterable<Uint8Array> {
  const zlib = createGunzip({ chunkSize: PIECE_BYTES });
  const drive = gunzipPath().kind === 'fast' ? driveOf(zlib) : undefined;
  // Errors reach the reader through the pipeline's end.
  return drive === undefined ? pipeline(stream, zlib, () => undefined) : inflate(stream, zlib, drive);
}

/** How much input is left, and how much output was produced. */
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
  // Errors are thrown here as soon as they are known. The later event has no listener.
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
        // If the output is full, more may be available immediately.
        if (put < output.length) break;
      }
      free(input);
    }
    for (;;) {
      const { put } = step(constants.Z_FINISH, NOTHING, 0);
      if (put > 0) yield output.subarray(0, put);
      if (put < output.length) break;
    }
    // The reader has moved past the last piece. If it stops earlier, it may still use its piece.
    if (spare.length < MAX_SPARE) spare.push(output);
    else free(output);
  } finally {
    zlib.destroy();
  }
}

/** Node's internal handle, if this version has it in the form used here. */
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

/** How this process decompresses gzip. Probed once. */
export function gunzipPath(): PathChoice {
  probed ??= probeGunzip(createGunzip);
  return forcedPublic() ?? probed;
}

/** Larger than the probe's output buffer, so that one input takes several steps. */
const PROBE_TEXT = Buffer.from('a page of rows, '.repeat(40));
const PROBE_OUTPUT_BYTES = 256;

/**
 * Decompresses a small body through the handle, then a broken one and a truncated one. Results and errors must equal
 * those of Node's public interface. An error that comes later than expected would let wrong rows pass.
 */
export function probeGunzip(make: () => Gunzip): PathChoice {
  const packed = gzipSync(PROBE_TEXT);
  const broken = Buffer.from(packed);
  // Changes the checksum at the end.
  broken[broken.length - 8] = (broken[broken.length - 8] ?? 0) ^ 0xff;
  try {
    const whole = tryHandle(make(), packed);
    if (whole === undefined) return usePublic('zlib has no such handle in this Node');
    if (!Buffer.isBuffer(whole) || !whole.equals(PROBE_TEXT))
      return usePublic('the handle of zlib returns other bytes in this Node');
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

/** Decompresses a body through the handle. Returns its bytes or the code of the error; undefined without a handle. */
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
        // A handle that never reaches the end would hang here.
        if (pieces.length > PROBE_TEXT.length) return 'no end';
        const step = drive(flush, input, from, output);
        if (zlib.errored !== null) return codeOf(zlib.errored);
        // Writing to a closed handle aborts the process.
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
