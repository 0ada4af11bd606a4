import type { Clock } from '../domain/clock.ts';
import { BatchEndpoint } from './answer/batch-endpoint.ts';
import { CallReading } from './answer/call-reading.ts';
import { type ReadingMemoryPool, sharedReadingMemory } from './answer/reading-memory.ts';
import { Exchange } from './http/exchange.ts';
import { type HttpRequest, type Transport, TransportError } from './http/transport.ts';
import { batchBody, batchUrl, MAX_BATCH_SIZE } from './request/batch-request.ts';
import type { CallOptions, CallStep, Client, HttpCallEnd } from './request/call.ts';
import type { ApiRequest } from './request/query.ts';
import { secureApiRoot } from './request/root.ts';

export interface ClientOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  /** `https:`, or `http:` to loopback; anything else throws `INSECURE_ROOT`. */
  readonly apiRoot: string;
  /** Maximum silence while waiting for the body, in milliseconds. @default 60000 */
  readonly idleTimeoutMs?: number;
  /** Maximum total wait for a body in milliseconds, our own work excluded. @default 1800000 */
  readonly maxWaitMs?: number;
  /** Maximum decompressed size of one answer in bytes; a full page is about 4 MiB. @default 67108864 */
  readonly maxPartBytes?: number;
  /** The project whose quota is used: sent as `x-goog-user-project`. */
  readonly quotaProjectId?: string | null;
  /** Appended to the User-Agent. */
  readonly userAgent?: string;
}

export const DEFAULT_IDLE_TIMEOUT_MS = 60_000;
const DEFAULT_MAX_WAIT_MS = 30 * 60_000;
const DEFAULT_MAX_PART_BYTES = 64 * 1024 * 1024;

/** @throws LongtailError `BAD_OPTION` or `INSECURE_ROOT` for the root. */
export function createClient(options: ClientOptions): Client {
  const settings: Settings = {
    ...options,
    apiRoot: secureApiRoot(options.apiRoot),
    idleTimeoutMs: options.idleTimeoutMs ?? DEFAULT_IDLE_TIMEOUT_MS,
    maxWaitMs: options.maxWaitMs ?? DEFAULT_MAX_WAIT_MS,
    maxPartBytes: options.maxPartBytes ?? DEFAULT_MAX_PART_BYTES,
    memory: sharedReadingMemory(),
    batches: new BatchEndpoint(),
  };
  return { call: (requests, callOptions) => call(settings, requests, callOptions) };
}

interface Settings extends ClientOptions {
  readonly idleTimeoutMs: number;
  readonly maxWaitMs: number;
  readonly maxPartBytes: number;
  readonly memory: ReadingMemoryPool;
  readonly batches: BatchEndpoint;
}

/** Headers of every API request. Google compresses only if the User-Agent contains `gzip`. */
export function commonHeaders(
  accessToken: string,
  options: Pick<ClientOptions, 'quotaProjectId' | 'userAgent'>,
) {
  return {
    authorization: `Bearer ${accessToken}`,
    accept: '*/*',
    'accept-encoding': 'gzip',
    'user-agent': `longtail (gzip)${options.userAgent === undefined ? '' : ` ${options.userAgent}`}`,
    ...(typeof options.quotaProjectId === 'string' && { 'x-goog-user-project': options.quotaProjectId }),
  };
}

async function* call(
  settings: Settings,
  requests: readonly ApiRequest[],
  options: CallOptions,
): AsyncGenerator<CallStep, void, void> {
  const { mode } = options;
  if (
    requests.length === 0 ||
    requests.length > MAX_BATCH_SIZE ||
    (mode === 'plain' && requests.length !== 1)
  ) {
    throw new Error(`a ${mode} call cannot hold ${requests.length} requests`);
  }
  if (mode === 'batch' && settings.batches.isResting(settings.clock.now())) {
    yield* oneByOne(settings, requests, options);
    return;
  }
  const reading = yield* exchangeOf(settings, requests, options);
  yield { kind: 'end', outcome: endOf(settings, reading), strayParts: reading.strayParts };
}

/** One HTTP exchange, without its `end` step. */
async function* exchangeOf(
  settings: Settings,
  requests: readonly ApiRequest[],
  { accessToken, signal, mode }: CallOptions,
): AsyncGenerator<CallStep, CallReading, void> {
  const exchange = new Exchange({
    transport: settings.transport,
    clock: settings.clock,
    idleTimeoutMs: settings.idleTimeoutMs,
    maxWaitMs: settings.maxWaitMs,
    maxAnswerBytes: requests.length * settings.maxPartBytes + settings.maxPartBytes,
    signal,
  });
  const memory = settings.memory.take();
  const reading = new CallReading({
    requests,
    exchange,
    memory,
    maxPartBytes: settings.maxPartBytes,
    accessToken,
    signal,
    now: () => settings.clock.now(),
  });
  try {
    const sent = await exchange.start(
      mode === 'plain'
        ? plainRequest(settings, requests, accessToken)
        : batchRequest(settings, requests, accessToken),
    );
    if (sent) yield { kind: 'sent' };
    const answer = await exchange.head();
    yield* mode === 'plain' ? reading.plain(answer) : reading.batch(answer);
  } catch (error) {
    if (!(error instanceof TransportError)) throw error;
    reading.broken(error);
  } finally {
    exchange.close();
    settings.memory.give(memory);
  }
  return reading;
}

/** The end of a call. The first call that finds no batch endpoint fails; concurrent ones end as aborted. */
function endOf({ batches, clock }: Settings, { end, batchAnswer }: CallReading): HttpCallEnd {
  const restMs = batches.note(batchAnswer, clock.now());
  if (end.kind !== 'failed') return end;
  if (restMs !== undefined) {
    const minutes = Math.round(restMs / 60_000);
    return {
      ...end,
      reason: `Google accepts no batches (${end.reason}): sending single requests for ${minutes} minutes`,
    };
  }
  const isKnown = batchAnswer === 'gone' || batchAnswer === 'strange';
  return isKnown && batches.isResting(clock.now()) ? { kind: 'aborted', mayHaveArrived: true } : end;
}

/** Consecutive failures after which the rest is not sent: the server is in trouble. */
const MAX_CONSECUTIVE_FAILURES = 3;

/** Sends the requests of a batch one after another, so that the number of concurrent calls stays the same. */
async function* oneByOne(
  settings: Settings,
  requests: readonly ApiRequest[],
  options: CallOptions,
): AsyncGenerator<CallStep, void, void> {
  let outcome: HttpCallEnd = { kind: 'answered' };
  let wasSent = false;
  let failures = 0;
  for (const [index, request] of requests.entries()) {
    for await (const step of call(settings, [request], { ...options, mode: 'plain' })) {
      switch (step.kind) {
        case 'sent':
          if (!wasSent) yield step;
          wasSent = true;
          break;
        case 'head':
          yield { ...step, index };
          break;
        case 'answer':
          yield { ...step, index };
          failures = step.outcome.kind === 'retryable' ? failures + 1 : 0;
          // After a quota refusal, this page and the unsent rest are returned.
          if (step.outcome.kind === 'quota') outcome = { kind: 'aborted', mayHaveArrived: false };
          if (step.outcome.kind === 'retryable' && failures === MAX_CONSECUTIVE_FAILURES) {
            outcome = { kind: 'failed', reason: step.outcome.reason, mayHaveArrived: false };
          }
          break;
        case 'end':
          if (step.outcome.kind !== 'answered') outcome = step.outcome;
      }
    }
    if (outcome.kind !== 'answered') break;
  }
  yield { kind: 'end', outcome, strayParts: 0 };
}

function plainRequest(settings: Settings, requests: readonly ApiRequest[], accessToken: string): HttpRequest {
  const { method, path, body } = requests[0] ?? { method: 'POST', path: '/', body: '' };
  const headers = { ...commonHeaders(accessToken, settings), 'content-type': 'application/json' };
  return { method, url: `${settings.apiRoot}${path.slice(1)}`, headers, body };
}

function batchRequest(settings: Settings, requests: readonly ApiRequest[], accessToken: string): HttpRequest {
  const { clock, apiRoot } = settings;
  const boundary = `longtail_${Math.floor(clock.random() * 2 ** 48).toString(36)}`;
  const headers = {
    ...commonHeaders(accessToken, settings),
    'content-type': `multipart/mixed; boundary=${boundary}`,
  };
  return { method: 'POST', url: batchUrl(apiRoot), headers, body: batchBody(requests, boundary) };
}
