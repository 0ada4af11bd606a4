import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import got, { type Request } from 'got';
import { type Clock, systemClock } from '../../domain/clock.ts';
import { LongtailError } from '../../domain/errors.ts';
import type { PathChoice } from '../../domain/path-choice.ts';
import { gunzip, gunzipPath } from '../../internals/gunzip.ts';
import { oneLine } from '../answer/one-line.ts';
import { type Environment, type HttpProxy, nameOf, PROXY_SIGN_IN, proxyFor } from './proxy-settings.ts';
import type { ProxyTunnel } from './proxy-tunnel.ts';
import {
  type HttpAnswer,
  type HttpRequest,
  type SendOptions,
  type Transport,
  TransportError,
  type TransportErrorKind,
  type TransportPhase,
} from './transport.ts';
import { adviceOnIssuer } from './unknown-issuer.ts';

export interface GotTransportOptions {
  readonly clock?: Clock;
  /**
   * Maximum time from `send` to the request's first byte, in milliseconds. Includes waiting for a free connection, DNS,
   * TCP and TLS. @default 10000
   */
  readonly connectTimeoutMs?: number;
  /** Maximum time from the request's first byte to the answer's head, in milliseconds. @default 120000 */
  readonly firstByteTimeoutMs?: number;
  /** Maximum connections to one host; further requests wait. @default 16 */
  readonly maxSockets?: number;
  /** Environment with `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`. @default process.env */
  readonly env?: Environment;
  /** Where requests will go. If given, the proxy setting for it is checked on creation, before the first request. */
  readonly root?: string;
}

export interface GotTransport extends Transport {
  /** How gzip is decompressed. */
  readonly gunzipPath: PathChoice;
  /** Destroys all connections, idle or in use. A later `send` opens new ones. */
  close(): void;
}

const DEFAULT_CONNECT_TIMEOUT_MS = 10_000;
const DEFAULT_FIRST_BYTE_TIMEOUT_MS = 120_000;
const DEFAULT_MAX_SOCKETS = 16;

/**
 * The transport over real sockets. got's retries, redirects and errors for statuses are off: the caller decides these.
 * got's timeouts are off, too: `socket` and `read` also run while no bytes are requested, and none can use `clock`.
 * @throws LongtailError `BAD_OPTION` if the proxy setting for `root` is invalid.
 */
export function createGotTransport(options: GotTransportOptions = {}): GotTransport {
  const pool = { keepAlive: true, maxSockets: options.maxSockets ?? DEFAULT_MAX_SOCKETS };
  const agents = { http: new http.Agent(pool), https: new https.Agent(pool) };
  const deadlines: Deadlines = {
    clock: options.clock ?? systemClock,
    connectMs: options.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS,
    firstByteMs: options.firstByteTimeoutMs ?? DEFAULT_FIRST_BYTE_TIMEOUT_MS,
  };
  const env = options.env ?? process.env;
  const tunnels = new Map<string, ProxyTunnel>();
  /** One agent per proxy. The environment may change while the process runs. */
  const tunnelThrough = async (proxy: HttpProxy): Promise<ProxyTunnel> => {
    // Loaded only if there is a proxy: a dependency needs `require`, which a bundle may not have.
    const { ProxyTunnel } = await import('./proxy-tunnel.ts');
    const key = JSON.stringify(proxy);
    const tunnel =
      tunnels.get(key) ??
      new ProxyTunnel(proxy, { ...pool, clock: deadlines.clock, connectTimeoutMs: deadlines.connectMs });
    tunnels.set(key, tunnel);
    return tunnel;
  };
  const proxyTo = (url: string): HttpProxy | undefined => {
    const parsed = URL.parse(url);
    return parsed === null ? undefined : proxyFor(parsed, env);
  };
  if (options.root !== undefined) proxyTo(options.root);
  return {
    gunzipPath: gunzipPath(),
    send: async (request, sendOptions) => {
      const { method, url, headers, body } = request;
      const proxy = proxyOrFailure(() => proxyTo(url));
      const route: Route =
        proxy === undefined
          ? DIRECT
          : { via: ` through ${nameOf(proxy)}`, tunnel: await tunnelThrough(proxy) };
      const stream = got.stream(url, {
        method,
        headers: { ...headers },
        ...(body !== undefined && { body }),
        agent: { http: agents.http, https: route.tunnel ?? agents.https },
        retry: { limit: 0 },
        throwHttpErrors: false,
        followRedirect: false,
        // Done here: in larger pieces, and without another stream that reads ahead.
        decompress: false,
      });
      return new GotExchange(stream, request, sendOptions, deadlines, route).answer();
    },
    close: () => {
      agents.http.destroy();
      agents.https.destroy();
      for (const tunnel of tunnels.values()) tunnel.destroy();
    },
  };
}

/** How a request reaches its server. */
interface Route {
  /** For messages: empty, or ` through the proxy …`. */
  readonly via: string;
  readonly tunnel?: ProxyTunnel;
}

/** Turns an invalid proxy setting into a TransportError, the only error that `send` rejects with. */
function proxyOrFailure(find: () => HttpProxy | undefined): HttpProxy | undefined {
  try {
    return find();
  } catch (error) {
    const reason = error instanceof LongtailError ? error.message : 'the proxy settings cannot be read';
    throw new TransportError('connect', 'connect', false, reason);
  }
}

const DIRECT: Route = { via: '' };

interface Deadlines {
  readonly clock: Clock;
  readonly connectMs: number;
  readonly firstByteMs: number;
}

/** One request by got, until the end of the answer's body. */
class GotExchange {
  readonly #stream: Request;
  readonly #isTls: boolean;
  readonly #options: SendOptions;
  readonly #deadlines: Deadlines;
  readonly #route: Route;
  #request: http.ClientRequest | undefined;
  #timer: unknown;
  #phase: TransportPhase = 'connect';
  /** Why the request failed: our own error, otherwise the first one from got. */
  #failure: TransportError | undefined;

  constructor(
    stream: Request,
    { url }: HttpRequest,
    options: SendOptions,
    deadlines: Deadlines,
    route: Route,
  ) {
    this.#stream = stream;
    this.#isTls = url.startsWith('https:');
    this.#options = options;
    this.#deadlines = deadlines;
    this.#route = route;
  }

  answer(): Promise<HttpAnswer> {
    const stream = this.#stream;
    const { signal } = this.#options;
    const answer = Promise.withResolvers<HttpAnswer>();
    const abort = () => this.#fail('aborted', 'the request was aborted');
    const settle = () => {
      signal.removeEventListener('abort', abort);
      this.#setDeadline(undefined);
    };
    stream.once('request', (request: http.ClientRequest) => this.#watch(request));
    // Never removed: an error without a listener would crash the process.
    stream.on('error', (error: Error) => {
      this.#failure ??= this.#translate(error);
      settle();
      answer.reject(this.#failure);
    });
    stream.once('end', settle);
    stream.once('close', settle);
    stream.once('response', (response: http.IncomingMessage) => {
      this.#phase = 'body';
      this.#setDeadline(undefined);
      const { statusCode: status = 0, headers } = response;
      const encoding = (headers['content-encoding'] ?? 'identity').trim().toLowerCase();
      if (encoding !== 'identity' && encoding !== 'gzip' && encoding !== 'x-gzip') {
        this.#fail(
          'malformed',
          oneLine(`the answer has the content encoding ${encoding}, which was not requested`),
        );
        return;
      }
      const body = this.#body(encoding === 'identity' ? stream : gunzip(stream));
      answer.resolve({ status, headers: flatHeaders(headers), body });
    });
    this.#setDeadline(this.#deadlines.connectMs);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
    return answer.promise;
  }

  /** Reports the moment from which bytes of the request may be on the wire. */
  #watch(request: http.ClientRequest): void {
    this.#request = request;
    const sent = () => {
      if (this.#phase !== 'connect' || this.#failure !== undefined) return;
      this.#phase = 'firstByte';
      this.#setDeadline(this.#deadlines.firstByteMs);
      this.#options.onFirstByteOut?.();
    };
    const watchSocket = (socket: Socket) => {
      if (!socket.connecting) sent();
      else socket.once(this.#isTls ? 'secureConnect' : 'connect', sent);
    };
    if (request.socket) watchSocket(request.socket);
    else request.once('socket', watchSocket);
  }

  #setDeadline(timeoutMs: number | undefined): void {
    const { clock } = this.#deadlines;
    if (this.#timer !== undefined) clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    if (timeoutMs === undefined) return;
    const waitedFor = this.#phase === 'connect' ? `no connection${this.#route.via}` : 'no answer';
    this.#timer = clock.setTimeout(
      () => this.#fail('timeout', `${waitedFor} within ${timeoutMs} ms`),
      timeoutMs,
    );
  }

  /** Fails the request with an error of our own, and destroys its socket immediately. */
  #fail(kind: TransportErrorKind, message: string): void {
    this.#failure ??= new TransportError(kind, this.#phase, this.#phase !== 'connect', message);
    this.#stream.destroy(this.#failure);
    if (this.#request !== undefined) this.#route.tunnel?.abandon(this.#request);
  }

  /** Reads on demand. Returning early or failing destroys the socket. Not a generator: that would double the cost of each chunk. */
  #body(stream: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    const chunks = stream[Symbol.asyncIterator]();
    const fail = (error: unknown): never => {
      this.#stream.destroy();
      throw this.#failure ?? this.#translate(error);
    };
    const body: AsyncIterator<Uint8Array> = {
      next: () => chunks.next().catch(fail),
      return: async () => {
        this.#stream.destroy();
        await chunks.return?.();
        return { done: true, value: undefined };
      },
    };
    return { [Symbol.asyncIterator]: () => body };
  }

  /** Converts got's error, without its options: they contain the token. */
  #translate(error: unknown): TransportError {
    const code = codeOf(error);
    const kind = this.#kind(code);
    const text = error instanceof Error ? error.message : String(error);
    const namesCode = code === '' || code === PROXY_SIGN_IN || text.includes(code);
    const full = namesCode ? text : `${text} (${code})`;
    const message = oneLine(`${full}${adviceOnIssuer(code)}`);
    return new TransportError(kind, this.#phase, this.#phase !== 'connect', message);
  }

  #kind(code: string): TransportErrorKind {
    if (code === 'ETIMEDOUT') return 'timeout';
    if (code === PROXY_SIGN_IN) return 'proxySignIn';
    if (/^(?:ERR_TLS|ERR_SSL|CERT_|UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|ERR_OSSL)|^EPROTO$/.test(code))
      return 'tls';
    // A compressed body that ends early is truncated, not corrupt.
    if (code === 'Z_BUF_ERROR') return 'reset';
    if (/^(?:HPE_|Z_)/.test(code)) return 'malformed';
    if (code === '' && this.#phase === 'body') return 'malformed';
    return this.#phase === 'connect' ? 'connect' : 'reset';
  }
}

function flatHeaders(from: http.IncomingHttpHeaders): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(from)) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return headers;
}

/** The code of the error or of its cause. got wraps errors. */
function codeOf(error: unknown): string {
  for (let at = error, depth = 0; at instanceof Error && depth < 4; at = at.cause, depth++) {
    if ('code' in at && typeof at.code === 'string' && !at.code.startsWith('ERR_GOT')) return at.code;
  }
  return '';
}
