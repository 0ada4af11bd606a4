import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Clock } from '../domain/clock.ts';
import { LongtailError } from '../domain/errors.ts';
import { withDefaults } from '../domain/options.ts';
import { pause } from './answer-writer.ts';
import type { Api } from './api.ts';
import { badRequest, unauthenticated } from './api-errors.ts';
import { type BatchCall, parseBatch } from './batch.ts';
import { answerControl } from './control.ts';
import { EncodedAnswers } from './encoded-answers.ts';
import {
  actionOf,
  answerBatch,
  answerError,
  answerOne,
  DEFAULT_GZIP_LEVEL,
  type DecidedCall,
  type ExchangeContext,
  encodedBody,
  errorOf,
  statusError,
  wantsGzip,
} from './exchange.ts';
import {
  type CallAction,
  checkFaults,
  FaultPlan,
  type FaultSubject,
  type Faults,
  NO_FAULTS,
} from './faults.ts';
import { fraction, mix } from './hash.ts';
import type { EmulatorOptions } from './options.ts';
import { Records } from './records.ts';
import { readOrThrow } from './served.ts';
import { DEFAULT_TOKEN_SETTINGS, TokenEndpoint } from './token-endpoint.ts';

const MAX_BODY_BYTES = 32 << 20;
const BATCH_PATHS: readonly string[] = ['/batch', '/batch/webmasters/v3'];
const DEFAULT_KEPT_REQUESTS = 20_000;
const QUOTA_REASONS: readonly string[] = [
  'quotaExceeded',
  'rateLimitExceeded',
  'servingLimitExceeded',
  'dailyLimitExceeded',
];

/** The API over HTTP, including faults. */
export class EmulatorServer {
  readonly api: Api;
  readonly records: Records;
  readonly tokens: TokenEndpoint;
  readonly #options: EmulatorOptions;
  readonly #clock: Clock;
  /** Cached answers. Undefined: none are cached. */
  readonly #encoded: EncodedAnswers | undefined;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #host: string;
  #port = 0;
  #faults: FaultPlan;
  #faultsSinceMs: number;
  #refusing: unknown;
  #closed = false;

  constructor(api: Api, options: EmulatorOptions, clock: Clock) {
    this.api = api;
    this.#options = options;
    this.#clock = clock;
    const { answerCacheBytes = 0, gzipLevel = DEFAULT_GZIP_LEVEL } = options;
    if (answerCacheBytes > 0) this.#encoded = new EncodedAnswers(answerCacheBytes, gzipLevel);
    this.#host = options.host ?? '127.0.0.1';
    this.records = new Records(options.keepRequests ?? DEFAULT_KEPT_REQUESTS);
    this.tokens = new TokenEndpoint(withDefaults(DEFAULT_TOKEN_SETTINGS, options.tokens));
    this.#faults = new FaultPlan(checkFaults(options.faults ?? NO_FAULTS));
    this.#faultsSinceMs = clock.now();
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        // A bug in the emulator must be visible to the client, never look like a valid answer.
        if (!response.headersSent) {
          const message = error instanceof Error ? error.message : String(error);
          response.writeHead(500, { 'content-type': 'text/plain', 'x-emulator-defect': '1' });
          response.end(message);
        } else {
          response.destroy();
        }
      });
    });
    // Longer than clients keep idle connections: closing one that is just being reused would look like a fault.
    this.#server.keepAliveTimeout = 120_000;
    this.#server.requestTimeout = 0;
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => socket.destroy());
    });
  }

  get url(): string {
    const host = this.#host.includes(':') ? `[${this.#host}]` : this.#host;
    return `http://${host}:${this.#port}/`;
  }

  /** Rejects with `BAD_OPTION` if the port is taken or the address is not one of this machine. */
  async listen(): Promise<void> {
    await this.#listen(this.#options.port ?? 0);
    this.#port = (this.#server.address() as AddressInfo).port; // a TCP address, because it listens on a port
  }

  setFaults(faults: Faults): void {
    this.#faults = new FaultPlan(checkFaults(faults));
    this.#faultsSinceMs = this.#clock.now();
  }

  /**
   * Caches the answer for a client with gzip and `prettyPrint=false`, so that requesting it costs next to nothing. Requires
   * {@link EmulatorOptions.answerCacheBytes}. Rejects with `BAD_OPTION` where the API would return an error.
   */
  async prepare(siteUrl: string, body: object): Promise<void> {
    if (this.#encoded === undefined) throw new Error('no answers are cached: see answerCacheBytes');
    const { api } = this;
    const context = { api, clock: this.#clock, options: this.#options, gzip: true };
    const asked = readOrThrow(api, siteUrl, body);
    await encodedBody(context, this.#encoded, { kind: 'rows', ...asked, tieSalt: 1 }, false);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#refusing !== undefined) this.#clock.clearTimeout(this.#refusing);
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const target = request.url ?? '/';
    const path = target.split('?', 1)[0] ?? '/';
    const asked = new URLSearchParams(target.slice(path.length + 1));
    if (path.startsWith('/__emulator/'))
      return answerControl(this.api, this.records, path, asked, this.#clock, response);

    const number = this.records.callBegan();
    response.once('close', () => this.records.callEnded());
    const body = await readBody(request);
    if (body === undefined) return;
    const nowMs = this.#clock.now();
    const isBatch = request.method === 'POST' && BATCH_PATHS.includes(path);
    const endpoint = isBatch
      ? 'batch'
      : path === '/token' || path === '/tokeninfo'
        ? 'token'
        : path.endsWith('/searchAnalytics/query')
          ? 'query'
          : 'sites';
    const subject: FaultSubject = { endpoint, call: number, sinceStartMs: nowMs - this.#faultsSinceMs };

    if (endpoint === 'token') {
      const actions = this.#faults.forCall(subject, []);
      if (await this.#brokeOff(actions, number, response)) return;
      if (request.method !== 'POST')
        return answerError(response, badRequest('The token endpoint accepts only POST.'));
      const form = body.toString('utf8');
      const answer =
        path === '/tokeninfo'
          ? this.tokens.info(request.headers.authorization, form, nowMs)
          : this.tokens.answer(form, nowMs);
      response.writeHead(answer.status, {
        'content-type': 'application/json; charset=utf-8',
        'cache-control': 'no-store',
      });
      response.end(`${JSON.stringify(answer.body, null, 2)}\n`);
      return;
    }

    const calls = isBatch
      ? parseBatch(request.headers['content-type'], body)
      : { kind: 'calls' as const, calls: [alone(request, target, body)] };
    // The batch's own token applies to parts without one.
    const outerUser = this.tokens.userOf(request.headers.authorization, nowMs);
    if (
      outerUser === undefined &&
      (!isBatch || request.headers.authorization !== undefined || calls.kind === 'refused')
    ) {
      return answerError(response, unauthenticated());
    }
    if (calls.kind === 'refused') return answerError(response, badRequest(calls.message, 'badRequest'));
    const pretty = asked.get('prettyPrint') === null || !/^(false|0)$/i.test(asked.get('prettyPrint') ?? '');
    const decided = this.#decide(calls.calls, subject, outerUser, nowMs, pretty);
    this.#record(decided, nowMs, number);
    const { actions } = decided;
    if (await this.#brokeOff(actions, number, response)) return;
    const context: ExchangeContext = {
      api: this.api,
      options: this.#options,
      clock: this.#clock,
      callNumber: number,
      countRows: (rows) => this.records.addRows(rows),
      gzip: wantsGzip(request),
      encoded: actions.length === 0 ? this.#encoded : undefined,
    };
    const [only] = decided.calls;
    if (isBatch) await answerBatch(context, response, decided.calls, actions);
    else if (only !== undefined) await answerOne(context, response, only, actions);
  }

  /** Parses and counts each call, in order, and determines its faults. */
  #decide(
    calls: readonly BatchCall[],
    subject: FaultSubject,
    outerUser: string | undefined,
    nowMs: number,
    pretty: boolean,
  ): Decision {
    const read = calls.map((call, part) => {
      const own = call.headers.authorization;
      const user = own === undefined ? outerUser : this.tokens.userOf(own, nowMs);
      const arrived = this.api.arrive(call, user, nowMs, pretty);
      const { query } = arrived;
      const partSubject: FaultSubject = {
        ...subject,
        part,
        identity: arrived.identity,
        seenBefore: arrived.seenBefore,
        site: arrived.siteUrl,
        type: query?.searchType,
        date: query?.startDate,
        startRow: query?.startRow,
        dimensions: query?.dimensions.join('+'),
      };
      return { ...arrived, call, user, partSubject };
    });
    const actions = this.#faults.forCall(
      subject,
      read.map((entry) => entry.partSubject),
    );
    return {
      actions,
      users: read.map(({ user }) => user ?? 'nobody'),
      calls: read.map(({ call, user: _, partSubject, ...rest }) => {
        return { ...rest, contentId: call.contentId, fault: this.#faults.forPart(partSubject) };
      }),
    };
  }

  #record({ calls, users, actions }: Decision, nowMs: number, httpCall: number): void {
    const status = actionOf(actions, 'status');
    for (const [part, call] of calls.entries()) {
      const error = status === undefined ? errorOf(call) : statusError(status);
      const { endpoint, siteUrl, body, contentId: batchId, fault } = call;
      this.records.add(
        {
          arrivedAtMs: nowMs,
          httpCall,
          batchId,
          part,
          batchSize: calls.length,
          endpoint,
          siteUrl,
          user: users[part] ?? 'nobody',
          body,
          status: error?.status ?? 200,
          reason: error?.reason,
          faults: [...actions.map(({ kind }) => kind), ...(fault === undefined ? [] : [fault.kind])],
        },
        QUOTA_REASONS.includes(error?.reason ?? ''),
      );
    }
  }

  /** Waits for the latency and for delay faults. Returns true if a fault has ended the call. */
  async #brokeOff(
    actions: readonly CallAction[],
    callNumber: number,
    response: ServerResponse,
  ): Promise<boolean> {
    if (actionOf(actions, 'expireTokens') !== undefined) this.tokens.expireAll();
    const refuse = actionOf(actions, 'refuse');
    if (refuse !== undefined) {
      this.#refuseConnections(refuse.forMs);
      return true;
    }
    const { latencyMs = 0, latencyJitter = 0 } = this.#options;
    const swing = 1 + latencyJitter * (2 * fraction(mix(callNumber, 99)) - 1);
    await pause(this.#clock, latencyMs * swing + (actionOf(actions, 'delay')?.ms ?? 0), response);
    if (response.destroyed) return true;
    const reset = actionOf(actions, 'reset');
    if (reset !== undefined && reset.afterBytes === undefined) {
      response.socket?.resetAndDestroy();
      return true;
    }
    const status = actionOf(actions, 'status');
    if (status !== undefined) {
      answerError(response, statusError(status), status.body);
      return true;
    }
    if (actionOf(actions, 'emptyBody') !== undefined) {
      response.writeHead(200, { 'content-type': 'application/json; charset=UTF-8' });
      response.end();
      return true;
    }
    if (actionOf(actions, 'garbage') !== undefined) {
      response.writeHead(200, { 'content-type': 'application/json; charset=UTF-8' });
      response.end('{"rows":[{"keys":["\\u00');
      return true;
    }
    return false;
  }

  /** Resets all connections and accepts none for a while. */
  #refuseConnections(forMs: number): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
    if (this.#refusing !== undefined) return;
    this.#server.close();
    this.#refusing = this.#clock.setTimeout(() => {
      this.#refusing = undefined;
      if (this.#closed) return;
      // Another program may have taken the port meanwhile. Then clients stay refused, which makes it visible.
      this.#listen(this.#port).catch(() => {});
    }, forMs);
  }

  #listen(port: number): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const failed = (error: NodeJS.ErrnoException): void => reject(listenProblem(error, this.#host, port));
      // Node treats an empty host name as all addresses of this machine.
      if (this.#host === '') throw listenProblem(new Error('no address'), '""', port);
      this.#server.once('error', failed);
      try {
        this.#server.listen({ port, host: this.#host, exclusive: true }, () => {
          this.#server.off('error', failed);
          resolve();
        });
      } catch (error) {
        // An invalid port number.
        this.#server.off('error', failed);
        throw listenProblem(error instanceof Error ? error : new Error(String(error)), this.#host, port);
      }
    });
  }
}

interface Decision {
  readonly calls: readonly DecidedCall[];
  /** One per call. */
  readonly users: readonly string[];
  readonly actions: readonly CallAction[];
}

function alone(request: IncomingMessage, target: string, body: Buffer): BatchCall {
  return {
    method: request.method ?? 'GET',
    target,
    headers: {},
    body: body.toString('utf8'),
    contentId: undefined,
  };
}

/** The whole body. Undefined: the client disconnected early, or sent more than any call needs. */
async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > MAX_BODY_BYTES) {
        request.destroy();
        return undefined;
      }
      chunks.push(chunk);
    }
  } catch {
    return undefined;
  }
  return Buffer.concat(chunks);
}

function listenProblem(error: NodeJS.ErrnoException, host: string, port: number): LongtailError {
  if (error.code === 'EADDRINUSE') {
    return new LongtailError(
      'BAD_OPTION',
      `Port ${port} on ${host} is used by another program.`,
      'Choose another port with --port N, or any free one with --port 0.',
      { cause: error },
    );
  }
  return new LongtailError(
    'BAD_OPTION',
    `The emulator cannot listen on ${host}, port ${port} (${error.code ?? error.message}).`,
    'Choose another address with --host and --port; 127.0.0.1 is always available.',
    { cause: error },
  );
}
