import type { Clock } from '../../domain/clock.ts';
import { type HttpAnswer, type HttpRequest, type Transport, TransportError } from './transport.ts';

export interface ExchangeOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  /** Maximum time without data while waiting for the body. */
  readonly idleTimeoutMs: number;
  /** Maximum total wait for the body. Needed because a slow but steady body never triggers the idle timeout. */
  readonly maxWaitMs: number;
  /** Maximum decompressed size of the body. A larger answer is rejected. */
  readonly maxAnswerBytes: number;
  readonly signal: AbortSignal;
}

/** A `read` in progress. */
interface Reading {
  readonly resolve: (bytes: Uint8Array | null) => void;
  readonly reject: (error: unknown) => void;
  readonly timer: unknown;
  readonly since: number;
}

/**
 * One HTTP request and its answer. Every failure is a {@link TransportError}; the idle timer runs only inside `read`,
 * so it never fires while the consumer processes what it has read.
 */
export class Exchange {
  readonly #options: ExchangeOptions;
  readonly #socket = new AbortController();
  readonly #firstByteOut = Promise.withResolvers<void>();
  readonly #abort = (): void => this.#cut(this.#aborted());
  #sent = false;
  #answer: Promise<HttpAnswer> | undefined;
  #body: AsyncIterator<Uint8Array> | undefined;
  #readBytes = 0;
  #waitedMs = 0;
  #isComplete = false;
  #reading: Reading | undefined;

  constructor(options: ExchangeOptions) {
    this.#options = options;
    if (options.signal.aborted) this.#abort();
    else options.signal.addEventListener('abort', this.#abort, { once: true });
  }

  /** Whether a byte of the request may have been sent. */
  get sent(): boolean {
    return this.#sent;
  }

  /** Sends the request. Resolves to true once bytes may have been sent, or to false if it failed before that. */
  async start(request: HttpRequest): Promise<boolean> {
    const onFirstByteOut = () => {
      this.#sent = true;
      this.#firstByteOut.resolve();
    };
    const { transport } = this.#options;
    const answer = transport.send(request, { signal: this.#socket.signal, onFirstByteOut });
    this.#answer = answer;
    // `head` reports the rejection. This only keeps it from being unhandled.
    const settled = answer.then(
      () => onFirstByteOut(),
      (error: unknown) => {
        if (!(error instanceof TransportError) || error.mayHaveArrived) onFirstByteOut();
      },
    );
    await Promise.race([this.#firstByteOut.promise, settled]);
    return this.#sent;
  }

  /** The answer's status and headers. */
  async head(): Promise<HttpAnswer> {
    if (this.#answer === undefined) throw new Error('head before start');
    const answer = await this.#answer;
    this.#body = answer.body[Symbol.asyncIterator]();
    return answer;
  }

  /** The next bytes of the body, valid until the next call; null at its end. */
  read(): Promise<Uint8Array | null> {
    const body = this.#body;
    if (body === undefined) throw new Error('read before head');
    if (this.#options.signal.aborted) return Promise.reject(this.#aborted());
    return new Promise((resolve, reject) => {
      const { clock } = this.#options;
      const timer = clock.setTimeout(this.#onTimeout, this.#maxReadMs());
      this.#reading = { resolve, reject, timer, since: clock.now() };
      // No closures or `Promise.race` per chunk: a page has dozens of chunks.
      body.next().then(this.#onChunk, this.#onError);
    });
  }

  /** How long a `read` may wait now. */
  #maxReadMs(): number {
    const { idleTimeoutMs, maxWaitMs } = this.#options;
    return Math.min(Math.max(0, maxWaitMs - this.#waitedMs), idleTimeoutMs);
  }

  readonly #onChunk = ({ done, value }: IteratorResult<Uint8Array, unknown>): void => {
    const reading = this.#endWait();
    if (reading === undefined) return;
    if (done === true) {
      this.#isComplete = true;
      reading.resolve(null);
      return;
    }
    const { maxAnswerBytes } = this.#options;
    this.#readBytes += value.length;
    if (this.#readBytes <= maxAnswerBytes) reading.resolve(value);
    else {
      const why = `the answer is larger than ${maxAnswerBytes} bytes`;
      reading.reject(new TransportError('malformed', 'body', true, why));
    }
  };

  readonly #onError = (error: unknown): void => this.#endWait()?.reject(error);

  readonly #onTimeout = (): void => {
    const { idleTimeoutMs, maxWaitMs } = this.#options;
    const isTotal = this.#maxReadMs() < idleTimeoutMs;
    const why = isTotal ? `it took longer than ${maxWaitMs} ms` : `no data for ${idleTimeoutMs} ms`;
    this.#cut(new TransportError('timeout', 'body', true, why));
  };

  /** Ends the `read` in progress. What its body returns later is ignored. */
  #endWait(): Reading | undefined {
    const reading = this.#reading;
    if (reading === undefined) return undefined;
    this.#reading = undefined;
    const { clock } = this.#options;
    this.#waitedMs += Math.max(0, clock.now() - reading.since);
    clock.clearTimeout(reading.timer);
    return reading;
  }

  /** The rest of the body. */
  async readAll(): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for (let chunk = await this.read(); chunk !== null; chunk = await this.read())
      chunks.push(Buffer.from(chunk));
    return Buffer.concat(chunks);
  }

  /** At most about `maxBytes` of the body, for an error's text. If reading fails, returns what arrived before. */
  async readSome(maxBytes: number): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    try {
      for (let size = 0; size < maxBytes; size += chunks.at(-1)?.length ?? 0) {
        const chunk = await this.read();
        if (chunk === null) break;
        chunks.push(Buffer.from(chunk));
      }
    } catch (error) {
      if (!(error instanceof TransportError) || error.kind === 'aborted') throw error;
    }
    return Buffer.concat(chunks);
  }

  /** Ends the exchange. Unless the body was read to its end, the socket is destroyed. Never throws. */
  close(): void {
    this.#options.signal.removeEventListener('abort', this.#abort);
    if (this.#isComplete) return;
    this.#socket.abort();
    this.#answer?.catch(() => undefined);
    void this.#body?.return?.()?.catch(() => undefined);
  }

  #aborted(): TransportError {
    return new TransportError('aborted', this.#phase(), this.#sent, 'the call was aborted');
  }

  #phase(): 'connect' | 'firstByte' | 'body' {
    if (this.#body !== undefined) return 'body';
    return this.#sent ? 'firstByte' : 'connect';
  }

  #cut(error: TransportError): void {
    // Reject with the cause first: the transport would report `aborted`.
    this.#endWait()?.reject(error);
    this.#socket.abort();
  }
}
