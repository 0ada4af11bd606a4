import type { ServerResponse } from 'node:http';
import { createGzip, type Gzip } from 'node:zlib';
import type { Clock } from '../domain/clock.ts';
import type { EncodedAnswers } from './encoded-answers.ts';

const ENCODED_CHUNK_BYTES = 128 * 1024;

/** How an answer is cut off. */
export interface Cut {
  readonly afterBytes: number;
  /** `reset`: RST. `close`: the connection ends before the answer does. `clean`: the answer ends as if complete. */
  readonly how: 'reset' | 'close' | 'clean';
}

export interface WriterOptions {
  readonly gzip: boolean;
  readonly gzipLevel: number;
  readonly cut: Cut | undefined;
  readonly trickle: { readonly chunkBytes: number; readonly everyMs: number } | undefined;
  readonly clock: Clock;
  /** Set when complete answers are encoded elsewhere. Then this writer compresses nothing. */
  readonly encoded: EncodedAnswers | undefined;
}

/**
 * Writes an answer's body no faster than the client reads it. Every method returns false once writing is pointless: the
 * client has disconnected, or the cut was reached.
 */
export class AnswerWriter {
  readonly #response: ServerResponse;
  readonly #options: WriterOptions;
  readonly #gzip: Gzip | undefined;
  #written = 0;
  #over = false;

  constructor(response: ServerResponse, options: WriterOptions) {
    this.#response = response;
    this.#options = options;
    response.once('close', () => {
      this.#over = true;
      this.#gzip?.destroy();
    });
    if (options.gzip && options.encoded === undefined) {
      this.#gzip = createGzip({ level: options.gzipLevel });
      this.#gzip.on('error', () => response.destroy());
      this.#gzip.pipe(response);
    }
  }

  /** Writes bytes made by {@link EncodedAnswers}. */
  async writeEncoded(bytes: Buffer): Promise<boolean> {
    for (let at = 0; at < bytes.length && !this.#over; at += ENCODED_CHUNK_BYTES) {
      await this.#send(bytes.subarray(at, at + ENCODED_CHUNK_BYTES));
    }
    return !this.#over;
  }

  async write(text: string): Promise<boolean> {
    if (this.#over) return false;
    const { cut, trickle, clock, encoded, gzip } = this.#options;
    if (encoded !== undefined) return this.writeEncoded(encoded.piece(text, gzip));
    let bytes: Buffer = Buffer.from(text, 'utf8');
    const room = (cut?.afterBytes ?? Number.POSITIVE_INFINITY) - this.#written;
    const isLast = bytes.length >= room;
    if (isLast) bytes = bytes.subarray(0, room);
    this.#written += bytes.length;
    if (trickle === undefined) {
      await this.#send(bytes);
    } else {
      for (let at = 0; at < bytes.length && !this.#over; at += trickle.chunkBytes) {
        await this.#send(bytes.subarray(at, at + trickle.chunkBytes));
        await pause(clock, trickle.everyMs, this.#response);
      }
    }
    if (isLast && cut !== undefined) await this.#breakOff(cut.how);
    return !this.#over;
  }

  async end(): Promise<void> {
    if (this.#over) return;
    // A cut beyond the end still applies: the answer must not arrive complete.
    if (this.#options.cut !== undefined) return this.#breakOff(this.#options.cut.how);
    this.#over = true;
    (this.#gzip ?? this.#response).end();
  }

  async #send(bytes: Buffer): Promise<void> {
    const stream = this.#gzip ?? this.#response;
    if (this.#over || bytes.length === 0 || stream.write(bytes)) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        stream.off('drain', done);
        this.#response.off('close', done);
        resolve();
      };
      stream.once('drain', done);
      this.#response.once('close', done);
    });
  }

  async #breakOff(how: Cut['how']): Promise<void> {
    this.#over = true;
    if (how === 'clean') {
      (this.#gzip ?? this.#response).end();
      return;
    }
    const gzip = this.#gzip;
    if (gzip !== undefined) await new Promise<void>((resolve) => gzip.flush(() => resolve()));
    const { socket } = this.#response;
    if (socket === null || socket.destroyed) return;
    // Flush everything written so far before the connection closes.
    if (!this.#response.headersSent) this.#response.flushHeaders();
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (how === 'reset') socket.resetAndDestroy();
    else socket.destroySoon();
  }
}

/** Waits until the time is over or the client disconnects. */
export async function pause(clock: Clock, ms: number, response: ServerResponse): Promise<void> {
  if (ms <= 0 || response.destroyed) return;
  await new Promise<void>((resolve) => {
    const gone = (): void => {
      clock.clearTimeout(timer);
      resolve();
    };
    const timer = clock.setTimeout(() => {
      response.off('close', gone);
      resolve();
    }, ms);
    response.once('close', gone);
  });
}
