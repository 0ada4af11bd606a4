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

/** An error's text is read no further. */
const MAX_ERROR_BYTES = 64 * 1024;
/** Parts beyond twice those asked for, after which an answer is given up. */
const SPARE_PARTS = 1_000;

export interface ReadingOptions {
  readonly requests: readonly ApiRequest[];
  readonly exchange: Exchange;
  readonly memory: ReadingMemory;
  readonly maxPartBytes: number;
  /** Kept out of every reason. */
  readonly accessToken: string;
  readonly signal: AbortSignal;
  readonly now: () => number;
}

/** Reads one answer: what has been had so far, and from it how the call ends. */
export class CallReading {
  readonly #options: ReadingOptions;
  readonly #secrets: readonly string[];
  readonly #headHad = new Set<number>();
  readonly #answerHad = new Set<number>();
  /** The head of the part under way. */
  #head: Head = { status: 0, headers: {} };
  end: HttpCallEnd = { kind: 'answered' };
  /** Parts that nobody asked for, or that came twice. */
  strayParts = 0;
  /** What the answer says of the endpoint for batches. */
  batchAnswer: BatchAnswer = 'none';

  constructor(options: ReadingOptions) {
    this.#options = options;
    this.#secrets = [options.accessToken];
  }

  /** One request, whose outcome is the HTTP answer's own. */
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
    // What the network did is not the page's fault.
    if (broken !== undefined && outcome.kind === 'retryable') this.end = failed(cutOff(broken));
    else yield this.#answerStep(0, outcome);
  }

  /** A batch: the outer answer refuses the whole, or holds a part for each request. */
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
      // 200 from whoever stands before the API, and an error of the API's own.
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
        // `yield*` would wrap each of them in promises.
        for (const step of this.#parts(reader.feed(chunk))) yield step;
      }
    } catch (error) {
      broken = expected(error);
    }
    yield* this.#parts(reader.end());
    if (reader.closed) yield* this.#endOfParts('the answer left this part out');
    // What the line cut off is not the fault of the pages that it hit: those that came count, the others had no answer.
    else if (this.#answerHad.size < requests.length)
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
        this.#headHad.add(index);
        this.#head = event;
        yield { kind: 'head', index, status: event.status };
        return;
      case 'body': {
        const outcome = this.#outcome(index, this.#head, event.bytes, event.closed);
        // A part that was cut off is told with all the others that did not come.
        if (event.closed || outcome.kind !== 'retryable') yield this.#answerStep(index, outcome);
        return;
      }
      case 'tooLarge':
        if (this.#answerHad.has(index)) this.strayParts++;
        else yield this.#answerStep(index, tooLarge(this.#options.maxPartBytes));
    }
  }

  /** A part that was asked for and has not come yet; of two with one id the first counts. */
  #isAwaited(contentId: string | null): boolean {
    const index = indexOfContentId(contentId, this.#options.requests.length);
    return index !== null && !this.#headHad.has(index) && !this.#answerHad.has(index);
  }

  /** No more parts: those that never came are told as such, unless none came at all. */
  *#endOfParts(why: string): Generator<CallStep, void, void> {
    if (this.#answerHad.size === 0) {
      this.end = failed(oneLine(why, this.#secrets));
      return;
    }
    for (const index of this.#options.requests.keys()) {
      if (!this.#answerHad.has(index))
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
    this.#answerHad.add(index);
    return { kind: 'answer', index, outcome };
  }

  /** What one answer means. One that may be cut off counts only if its JSON is whole. */
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
        // There may be no such endpoint any more; or it is this batch's own fault, which a smaller one has not.
        if (GONE.has(status)) this.batchAnswer = 'gone';
        else if (refusal.kind === 'invalid' || STRANGE.has(status)) this.batchAnswer = 'strange';
        return failed(refusal.reason);
      default:
        return refusal;
    }
  }
}

/** Not there; not for POST; no more; not made for it. */
const GONE = new Set([404, 405, 410]);
/** Said of a batch as such, whoever says it. */
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

/** What may break a body; an abort ends the call, all else leaves what was had. */
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
