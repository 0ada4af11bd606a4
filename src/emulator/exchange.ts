import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../domain/clock.ts';
import { answerText } from './answer-text.ts';
import { AnswerWriter, type Cut, pause } from './answer-writer.ts';
import type { Answer, Api, ReadCall } from './api.ts';
import { type ApiError, apiError, NAMED_ERRORS, reasonPhrase } from './api-errors.ts';
import { batchEnd, partEnd, partHead } from './batch.ts';
import { withChangedRow } from './changed-row.ts';
import type { EncodedAnswer, EncodedAnswers } from './encoded-answers.ts';
import { type CallAction, faultError, type PartAction } from './faults.ts';
import { mix } from './hash.ts';
import type { EmulatorOptions } from './options.ts';

/** Fast rather than small: the emulator shares the machine with the software under test. */
export const DEFAULT_GZIP_LEVEL = 1;

/** An API call and the fault that applies to it. */
export interface DecidedCall extends ReadCall {
  readonly contentId: string | undefined;
  readonly fault: PartAction | undefined;
}

/** What an answer needs besides the calls. */
export interface ExchangeContext {
  readonly api: Api;
  readonly options: EmulatorOptions;
  readonly clock: Clock;
  readonly callNumber: number;
  readonly countRows: (rows: number) => void;
  /** Whether the client accepts gzip. */
  readonly gzip: boolean;
  /** Set if answers are cached and no fault applies to this one. */
  readonly encoded: EncodedAnswers | undefined;
}

type Action<K extends CallAction['kind']> = Extract<CallAction, { readonly kind: K }>;

export function actionOf<K extends CallAction['kind']>(
  actions: readonly CallAction[],
  kind: K,
): Action<K> | undefined {
  return actions.find((action): action is Action<K> => action.kind === kind);
}

/** The call's error, its own or a fault's. */
export function errorOf(call: DecidedCall): ApiError | undefined {
  if (call.fault?.kind === 'error') return faultError(call.fault);
  return call.answer.kind === 'error' ? call.answer : undefined;
}

/** Answers a call that was sent alone. */
export async function answerOne(
  context: ExchangeContext,
  response: ServerResponse,
  call: DecidedCall,
  actions: readonly CallAction[],
): Promise<void> {
  const error = errorOf(call);
  response.writeHead(error?.status ?? 200, {
    'content-type': 'application/json; charset=UTF-8',
    vary: 'Origin, X-Origin, Referer',
    ...(error?.retryAfterS === undefined ? {} : { 'retry-after': String(error.retryAfterS) }),
    ...encodingHeader(context),
  });
  const writer = new AnswerWriter(response, writerOptions(context, actions));
  if (await writeBody(context, writer, call)) await writer.end();
}

/** Answers the calls of a batch, each in a separate part. */
export async function answerBatch(
  context: ExchangeContext,
  response: ServerResponse,
  calls: readonly DecidedCall[],
  actions: readonly CallAction[],
): Promise<void> {
  const boundary = `batch_${mix(context.callNumber, 1).toString(36)}_${mix(context.callNumber, 2).toString(36)}`;
  response.writeHead(200, {
    'content-type': `multipart/mixed; boundary=${boundary}`,
    vary: 'Origin, X-Origin, Referer',
    ...encodingHeader(context),
  });
  const writer = new AnswerWriter(response, writerOptions(context, actions));
  const { clock, options } = context;
  const startedMs = clock.now();
  let parts = 0;
  for (const call of inOrder(calls, actions, context.callNumber)) {
    if (call.fault?.kind === 'dropPart') continue;
    const copies = call.fault?.kind === 'doublePart' ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      // Measured from the first part: with separate waits, small delays would add up.
      parts += 1;
      await pause(clock, startedMs + parts * (options.perPartMs ?? 0) - clock.now(), response);
      const error = errorOf(call);
      const status = error?.status ?? 200;
      const id = call.fault?.kind === 'unknownId' ? `unknown-${context.callNumber}` : call.contentId;
      const contentId = id === undefined ? undefined : `response-${id}`;
      if (
        !(await writer.write(partHead(boundary, contentId, status, reasonPhrase(status), error?.retryAfterS)))
      )
        return;
      if (!(await writeBody(context, writer, call))) return;
      if (!(await writer.write(partEnd()))) return;
    }
  }
  if (actionOf(actions, 'noFinalBoundary') === undefined && !(await writer.write(batchEnd(boundary)))) return;
  await writer.end();
}

/** Answers the whole HTTP call with an error. */
export function answerError(response: ServerResponse, error: ApiError, body?: string): void {
  const text = body ?? `${JSON.stringify(error.body, null, 2)}\n`;
  response.writeHead(error.status, {
    'content-type': body === undefined ? 'application/json; charset=UTF-8' : 'text/html; charset=UTF-8',
    ...(error.retryAfterS === undefined ? {} : { 'retry-after': String(error.retryAfterS) }),
  });
  response.end(text);
}

/** The error of a `status` fault. */
export function statusError(action: Action<'status'>): ApiError {
  if (action.error !== undefined) return { ...NAMED_ERRORS[action.error](), status: action.status };
  const message = reasonPhrase(action.status);
  return apiError({
    status: action.status,
    message,
    reason: action.status >= 500 ? 'backendError' : 'badRequest',
  });
}

async function writeBody(
  context: ExchangeContext,
  writer: AnswerWriter,
  call: DecidedCall,
): Promise<boolean> {
  const { fault } = call;
  if (fault?.kind === 'emptyPart') return writer.write('');
  if (fault?.kind === 'garblePart') return writer.write('<html>502. That\u2019s an error.</html>');
  if (fault?.kind === 'noRows') return writer.write('{"responseAggregationType":"byPage"}');
  if (fault?.kind === 'cutPart') return writeCut(context, writer, call, fault.afterBytes);
  if (fault?.kind === 'changeRow' && call.answer.kind === 'rows') {
    let text = '';
    for await (const piece of bodyText(context, call.answer, call.pretty)) text += piece;
    return writer.write(jsonText(withChangedRow(text, call.answer.request.dimensions, fault), call.pretty));
  }
  const error = errorOf(call);
  if (error !== undefined) return writer.write(jsonText(error.body, call.pretty));
  if (context.encoded !== undefined && call.answer.kind === 'rows') {
    const { bytes, rows } = await encodedBody(context, context.encoded, call.answer, call.pretty);
    context.countRows(rows);
    return writer.writeEncoded(bytes);
  }
  for await (const text of bodyText(context, call.answer, call.pretty)) {
    if (!(await writer.write(text))) return false;
  }
  return true;
}

async function writeCut(
  context: ExchangeContext,
  writer: AnswerWriter,
  call: DecidedCall,
  afterBytes: number,
): Promise<boolean> {
  let room = afterBytes;
  for await (const text of bodyText(context, call.answer, call.pretty)) {
    const piece = text.slice(0, room);
    room -= piece.length;
    if (!(await writer.write(piece))) return false;
    if (room === 0) break;
  }
  return true;
}

async function* bodyText(
  context: Pick<ExchangeContext, 'api' | 'clock' | 'options' | 'countRows'>,
  answer: Answer,
  pretty: boolean,
): AsyncGenerator<string> {
  if (answer.kind === 'error') {
    yield jsonText(answer.body, pretty);
    return;
  }
  if (answer.kind === 'json') {
    yield jsonText(answer.value, pretty);
    return;
  }
  const { api, clock, options } = context;
  const { property, request, tieSalt } = answer;
  const nowMs = clock.now();
  const table = await api.table(property, request, tieSalt, nowMs);
  context.countRows(Math.max(0, Math.min(request.rowLimit, table.order.length - request.startRow)));
  const style = {
    pretty,
    withPosition: api.withPosition(request),
    totalsKeys: options.totalsKeys ?? 'absent',
    metadataNames: options.metadataNames ?? 'camel',
  } as const;
  yield* answerText(table, request, style, api.firstIncompleteDay(property, request, nowMs));
}

/** The encoded answer, from the cache or newly made. */
export function encodedBody(
  context: Pick<ExchangeContext, 'api' | 'clock' | 'options' | 'gzip'>,
  encoded: EncodedAnswers,
  answer: Extract<Answer, { readonly kind: 'rows' }>,
  pretty: boolean,
): Promise<EncodedAnswer> {
  const { api, clock, gzip } = context;
  const today = api.today(clock.now());
  const key = JSON.stringify([answer.property.siteUrl, answer.request, answer.tieSalt, today, pretty]);
  return encoded.get(key, gzip, async () => {
    let [text, rows] = ['', 0];
    const making = { ...context, countRows: (count: number) => (rows = count) };
    for await (const piece of bodyText(making, answer, pretty)) text += piece;
    return { text, rows };
  });
}

function jsonText(value: unknown, pretty: boolean): string {
  return pretty ? `${JSON.stringify(value, null, 2)}\n` : JSON.stringify(value);
}

function inOrder(
  calls: readonly DecidedCall[],
  actions: readonly CallAction[],
  callNumber: number,
): readonly DecidedCall[] {
  if (actionOf(actions, 'shuffleParts') === undefined) return calls;
  return calls
    .map((call, index) => ({ call, place: mix(callNumber, index) }))
    .sort((a, b) => a.place - b.place)
    .map(({ call }) => call);
}

/** Google compresses only if both Accept-Encoding and User-Agent contain `gzip`. */
export function wantsGzip(request: IncomingMessage): boolean {
  const { 'accept-encoding': encodings = '', 'user-agent': agent = '' } = request.headers;
  return /\bgzip\b/i.test(String(encodings)) && agent.includes('gzip');
}

function encodingHeader({ gzip }: ExchangeContext): Readonly<Record<string, string>> {
  return gzip ? { 'content-encoding': 'gzip' } : {};
}

function writerOptions(
  context: ExchangeContext,
  actions: readonly CallAction[],
): ConstructorParameters<typeof AnswerWriter>[1] {
  const { clock, options, gzip, encoded } = context;
  return {
    gzip,
    encoded,
    gzipLevel: options.gzipLevel ?? DEFAULT_GZIP_LEVEL,
    cut: cutOf(actions),
    trickle: actionOf(actions, 'trickle'),
    clock,
  };
}

function cutOf(actions: readonly CallAction[]): Cut | undefined {
  const reset = actionOf(actions, 'reset');
  if (reset?.afterBytes !== undefined) return { afterBytes: reset.afterBytes, how: 'reset' };
  const truncate = actionOf(actions, 'truncate');
  if (truncate === undefined) return undefined;
  return { afterBytes: truncate.afterBytes, how: truncate.clean === true ? 'clean' : 'close' };
}
