/**
 * Decompresses gzip on this thread into one reusable buffer.
 *
 * Node's stream allocates a new buffer for every piece, 170 bytes of garbage per row. The collector then runs ten times
 * a second and takes a quarter of the time of a full page. So zlib's handle is used directly, as `zlib.gunzipSync`
 * does. If this Node version lacks it in that form, the stream is used.
 */
import { Buffer } from 'node:buffer';
import { pipeline, type Readable } from 'node:stream';
import { constants, createGunzip, type Gunzip } from 'node:zlib';
import { free } from '../rows/release.ts';

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
  const drive = driveOf(zlib);
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

/** Node's internal handle, if this version has it. */
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
