import { asBuffer } from '../../rows/byte-arena.ts';
import type { Exchange } from '../http/exchange.ts';
import { type HttpAnswer, TransportError } from '../http/transport.ts';
import { indexOfContentId } from '../request/batch-request.ts';
import type { CallStep, HttpCallEnd, PageOutcome } from '../request/call.ts';
import type { ApiRequest } from '../request/query.ts';
import type { BatchAnswer } from './batch-endpoint.ts';
import { decodeRows } from './decode-rows.ts';
import { type MultipartEvent, MultipartReader } from './multipart.ts';
import { boundaryOf } from './multipart-head.ts';
import { oneLine } from './one-line.ts';
import { type Refusal, refusalOf, refusalOnTheWay, statusInside } from './outcome.ts';
import type { ReadingMemory } from './reading-memory.ts';

/** Maximum bytes read of an error's text. */
const MAX_ERROR_BYTES = 64 * 1024;
/** Reading stops at twice the requested parts and this many more. */
const SPARE_PARTS = 1_000;

export interface ReadingOptions {
  readonly requests: readonly ApiRequest[];
  readonly exchange: Exchange;
  readonly memory: ReadingMemory;
  readonly maxPartBytes: number;
  /** Removed from every reason. */
  readonly accessToken: string;
  readonly signal: AbortSignal;
  readonly now: () => number;
}

/** Reads one answer, and determines from it how the call ends. */
export class CallReading {
  readonly #options: ReadingOptions;
  readonly #secrets: readonly string[];
  readonly #headsSeen = new Set<number>();
  readonly #answersSeen = new Set<number>();
  /** The head of the current part. */
  #head: Head = { status: 0, headers: {} };
  end: HttpCallEnd = { kind: 'answered' };
  /** Parts that were not requested, or came twice. */
  strayParts = 0;
  /** What the answer reveals about the batch endpoint. */
  batchAnswer: BatchAnswer = 'none';

  constructor(options: ReadingOptions) {
    this.#options = options;
    this.#secrets = [options.accessToken];
  }

  /** Reads the answer to a single request. */
  async *plain({ status, headers }: HttpAnswer): AsyncGenerator<CallStep, void, void> {
    const { exchange, maxPartBytes } = this.#options;
    yield { kind: 'head', index: 0, status };
    if (!isSuccess(status)) {
      const body = await exchange.readSome(MAX_ERROR_BYTES);
      yield this.#answerStep(0, this.#refusal(status, body, headers['retry-after']));
      return;
    }
    const { arena } = this.#options.memory;
    let broken: TransportError | undefined;
    try {
      for (let chunk = await exchange.read(); chunk !== null; chunk = await exchange.read()) {
        if (arena.size + chunk.length > maxPartBytes) {
          yield this.#answerStep(0, tooLarge(maxPartBytes));
          return;
        }
        arena.append(asBuffer(chunk), 0, chunk.length);
      }
    } catch (error) {
      broken = expected(error);
    }
    const outcome = this.#outcome(0, { status, headers }, arena.view(0, arena.size), broken === undefined);
    // A network failure is not the page's fault.
    if (broken !== undefined && outcome.kind === 'retryable') this.end = failed(cutOff(broken));
    else yield this.#answerStep(0, outcome);
  }

  /** Reads the answer to a batch: a refusal of the whole, or one part for each request. */
  async *batch({ status, headers }: HttpAnswer): AsyncGenerator<CallStep, void, void> {
    const { exchange, requests, maxPartBytes } = this.#options;
    if (!isSuccess(status)) {
      const body = await exchange.readSome(MAX_ERROR_BYTES);
      this.end = this.#outerRefusal(status, this.#refusal(status, body, headers['retry-after']));
      return;
    }
    const boundary = boundaryOf(headers['content-type']);
    if (boundary === null) {
      const body = await exchange.readSome(MAX_ERROR_BYTES);
      // A proxy may answer 200 and put the API's error into the body.
      const inside = statusInside(body);
      if (inside !== undefined) {
        this.end = this.#outerRefusal(inside, this.#refusal(inside, body, headers['retry-after']));
        return;
      }
      const shown = oneLine(Buffer.from(body).toString('utf8', 0, 200), this.#secrets);
      this.batchAnswer = 'strange';
      this.end = failed(`the answer to the batch is not multipart: ${shown}`);
      return;
    }
    this.batchAnswer = 'fine';
    const reader = new MultipartReader({
      arena: this.#options.memory.arena,
      boundary,
      maxPartBytes,
      maxParts: 2 * requests.length + SPARE_PARTS,
      wants: (contentId) => this.#isAwaited(contentId),
    });
    let broken: TransportError | undefined;
    try {
      while (!reader.stopped) {
        const chunk = await exchange.read();
        if (chunk === null) break;
        // `yield*` would wrap each step in promises.
        for (const step of this.#parts(reader.feed(chunk))) yield step;
      }
    } catch (error) {
      broken = expected(error);
    }
    yield* this.#parts(reader.end());
    if (reader.closed) yield* this.#endOfParts('the answer left this part out');
    // A broken connection is not the fault of the missing pages: the call fails, and only the pages that arrived count.
    else if (this.#answersSeen.size < requests.length)
      this.end = failed(oneLine(cutOff(broken), this.#secrets));
  }

  *#parts(events: Iterable<MultipartEvent>): Generator<CallStep, void, void> {
    for (const event of events) {
      if (this.#options.signal.aborted) throw aborted();
      if (event.kind === 'tooManyParts') return;
      const index = indexOfContentId(event.contentId, this.#options.requests.length);
      if (index === null || event.kind === 'unwanted') this.strayParts++;
      else yield* this.#part(index, event);
    }
  }

  *#part(
    index: number,
    event: Exclude<MultipartEvent, { kind: 'unwanted' | 'tooManyParts' }>,
  ): Generator<CallStep, void, void> {
    switch (event.kind) {
      case 'head':
        this.#headsSeen.add(index);
        this.#head = event;
        yield { kind: 'head', index, status: event.status };
        return;
      case 'body': {
        const outcome = this.#outcome(index, this.#head, event.bytes, event.closed);
        // A truncated part is reported together with those that did not arrive.
        if (event.closed || outcome.kind !== 'retryable') yield this.#answerStep(index, outcome);
        return;
      }
      case 'tooLarge':
        if (this.#answersSeen.has(index)) this.strayParts++;
        else yield this.#answerStep(index, tooLarge(this.#options.maxPartBytes));
    }
  }

  /** Whether this part was requested and has not arrived yet. Of two parts with one ID, the first counts. */
  #isAwaited(contentId: string | null): boolean {
    const index = indexOfContentId(contentId, this.#options.requests.length);
    return index !== null && !this.#headsSeen.has(index) && !this.#answersSeen.has(index);
  }

  /** Reports each part that did not arrive. If none arrived, the whole call has failed. */
  *#endOfParts(why: string): Generator<CallStep, void, void> {
    if (this.#answersSeen.size === 0) {
      this.end = failed(oneLine(why, this.#secrets));
      return;
    }
    for (const index of this.#options.requests.keys()) {
      if (!this.#answersSeen.has(index))
        yield this.#answerStep(index, { kind: 'retryable', reason: oneLine(why) });
    }
  }

  /** The exchange broke before any part of the answer was read, or was aborted. */
  broken(error: TransportError): void {
    const { kind, message, mayHaveArrived } = error;
    const arrived = mayHaveArrived || this.#options.exchange.sent;
    const refusal = refusalOnTheWay(error);
    if (kind === 'aborted') this.end = { kind: 'aborted', mayHaveArrived: arrived };
    else if (refusal?.kind === 'fatal') this.end = refusal;
    else this.end = failed(oneLine(message, this.#secrets), arrived);
  }

  #answerStep(index: number, outcome: PageOutcome): CallStep {
    this.#answersSeen.add(index);
    return { kind: 'answer', index, outcome };
  }

  /** What one answer means. An answer that may be truncated counts only if its JSON is complete. */
  #outcome(index: number, { status, headers }: Head, bytes: Buffer, isWhole: boolean): PageOutcome {
    const request = this.#options.requests[index];
    if (request === undefined) throw new Error(`no request ${index}`);
    if (!isSuccess(status)) {
      if (!isWhole && !isWholeJson(bytes)) return { kind: 'retryable', reason: cutOff() };
      return this.#refusal(status, bytes.subarray(0, MAX_ERROR_BYTES), headers['retry-after']);
    }
    const decoded = decodeRows(bytes, request, this.#options.memory.scan);
    if ('answer' in decoded) return { kind: 'ok', answer: decoded.answer };
    if (!isWhole) return { kind: 'retryable', reason: cutOff() };
    const inside = statusInside(bytes);
    if (inside === undefined) return { kind: 'retryable', reason: decoded.problem };
    return this.#refusal(inside, bytes.subarray(0, MAX_ERROR_BYTES), headers['retry-after']);
  }

  #refusal(status: number, body: Uint8Array, retryAfter: string | undefined): Refusal {
    return refusalOf({ status, body, retryAfter, nowMs: this.#options.now(), secrets: this.#secrets });
  }

  #outerRefusal(status: number, refusal: Refusal): HttpCallEnd {
    switch (refusal.kind) {
      case 'retryable':
      case 'invalid':
        // Either the endpoint no longer exists, or the batch is at fault and a smaller one may succeed.
        if (GONE.has(status)) this.batchAnswer = 'gone';
        else if (refusal.kind === 'invalid' || STRANGE.has(status)) this.batchAnswer = 'strange';
        return failed(refusal.reason);
      default:
        return refusal;
    }
  }
}

/** The endpoint does not exist (any more) or does not accept POST. */
const GONE = new Set([404, 405, 410]);
/** These refuse the batch itself, even if a proxy sends them. */
const STRANGE = new Set([400, 406, 411, 415, 422]);

type Head = Pick<HttpAnswer, 'status' | 'headers'>;

const isSuccess = (status: number): boolean => status >= 200 && status < 300;

function failed(reason: string, mayHaveArrived = true): HttpCallEnd {
  return { kind: 'failed', reason, mayHaveArrived };
}

function tooLarge(maxPartBytes: number): PageOutcome {
  return { kind: 'retryable', reason: `the answer is larger than ${maxPartBytes} bytes` };
}

function isWholeJson(bytes: Buffer): boolean {
  try {
    JSON.parse(bytes.toString('utf8'));
    return true;
  } catch {
    return false;
  }
}

/** Returns an error that ends the body but keeps the pages that arrived. Throws an abort, which ends the call, and bugs. */
function expected(error: unknown): TransportError {
  if (!(error instanceof TransportError) || error.kind === 'aborted') throw error;
  return error;
}

function aborted(): TransportError {
  return new TransportError('aborted', 'body', true, 'the call was aborted');
}

function cutOff(error?: TransportError): string {
  return oneLine(`the answer was cut off: ${error?.message ?? 'it ended too early'}`);
}
