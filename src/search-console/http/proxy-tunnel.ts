import http from 'node:http';
import https from 'node:https';
import { isIP, type Socket } from 'node:net';
import tls from 'node:tls';
import { Agent, type AgentConnectOpts } from 'agent-base';
import type { Clock } from '../../domain/clock.ts';
import { type HttpProxy, nameOf, PROXY_SIGN_IN } from './proxy-settings.ts';

export interface ProxyTunnelOptions {
  readonly clock: Clock;
  /** From the connection to the proxy to the end of the handshake with the server behind it. */
  readonly connectTimeoutMs: number;
  readonly keepAlive?: boolean;
  readonly maxSockets?: number;
}

/**
 * Connections to https servers through an HTTP proxy. A request gets its connection when the tunnel is up and the
 * handshake at its end is done, so that none of its bytes has left before. What the proxy itself answers is an error: the
 * agents that are to be had for this pass it on as the server's own answer, and leave a tunnel that nobody wants any more open.
 */
export class ProxyTunnel extends Agent {
  readonly #proxy: HttpProxy;
  readonly #clock: Clock;
  readonly #connectTimeoutMs: number;
  /** Tunnels that are not up yet, by whom they are for. */
  readonly #opening = new Map<http.ClientRequest, AbortController>();

  constructor(proxy: HttpProxy, { clock, connectTimeoutMs, ...pool }: ProxyTunnelOptions) {
    super(pool);
    this.#proxy = proxy;
    this.#clock = clock;
    this.#connectTimeoutMs = connectTimeoutMs;
  }

  /** Nothing but https goes through it. */
  override isSecureEndpoint(): boolean {
    return true;
  }

  override async connect(request: http.ClientRequest, options: AgentConnectOpts): Promise<tls.TLSSocket> {
    if (!options.secureEndpoint) throw new Error('a tunnel is for https alone');
    const opening = new AbortController();
    this.#opening.set(request, opening);
    const late = () => opening.abort(new Error(`${nameOf(this.#proxy)} gave no connection in time`));
    const timer = this.#clock.setTimeout(late, this.#connectTimeoutMs);
    try {
      const socket = await openTunnel(this.#proxy, authorityOf(options), opening.signal);
      return await secure(socket, options, opening.signal);
    } finally {
      this.#clock.clearTimeout(timer);
      this.#opening.delete(request);
    }
  }

  /** The request is over before it had a connection: its tunnel is for nobody. Node tells an agent nothing of that. */
  abandon(request: http.ClientRequest): void {
    this.#opening.get(request)?.abort(new Error('the request was aborted'));
  }

  override destroy(): void {
    for (const opening of this.#opening.values()) opening.abort(new Error('the connections were closed'));
    super.destroy();
  }
}

function authorityOf({ host, port }: tls.ConnectionOptions): string {
  const name = host ?? 'localhost';
  return `${name.includes(':') ? `[${name}]` : name}:${port}`;
}

/** Asks the proxy for a line to `authority`; the socket carries whatever is said on it. */
function openTunnel(proxy: HttpProxy, authority: string, signal: AbortSignal): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const { request } = proxy.isTls ? https : http;
  const hostname = proxy.hostname.replace(/^\[|\]$/g, '');
  const asked = request({
    method: 'CONNECT',
    hostname,
    port: proxy.port,
    // Or the proxy's certificate would have to be for the server behind it, which the Host header names.
    servername: isIP(hostname) === 0 ? hostname : '',
    path: authority,
    headers: {
      host: authority,
      ...(proxy.authorization !== undefined && { 'proxy-authorization': proxy.authorization }),
    },
    // A connection of its own, and no proxy for the proxy.
    agent: false,
    signal,
  });
  // Node says this of every answer to a CONNECT, whatever its status.
  asked.once('connect', ({ statusCode = 0, headers }, socket, head) => {
    // A server with TLS never speaks first: bytes after the head are the proxy's.
    if (statusCode >= 200 && statusCode < 300 && head.length === 0) return resolve(socket);
    socket.destroy();
    reject(refusal(proxy, statusCode, headers['proxy-authenticate'] ?? ''));
  });
  asked.on('error', (error) => {
    reject(signal.aborted ? signal.reason : new Error(`${nameOf(proxy)} failed: ${codeAndText(error)}`));
  });
  asked.end();
  return promise;
}

/** TLS with the server at the tunnel's end. */
function secure(socket: Socket, options: tls.ConnectionOptions, signal: AbortSignal): Promise<tls.TLSSocket> {
  const { promise, resolve, reject } = Promise.withResolvers<tls.TLSSocket>();
  const secured = tls.connect({ ALPNProtocols: ['http/1.1'], ...options, socket });
  const abort = () => secured.destroy();
  const settle = () => {
    signal.removeEventListener('abort', abort);
    secured.off('error', fail);
    secured.off('close', fail);
  };
  const fail = (error: unknown) => {
    settle();
    secured.destroy();
    // Nobody listens any more, and it may have more to say.
    secured.on('error', () => undefined);
    if (signal.aborted) reject(signal.reason);
    else reject(error instanceof Error ? error : new Error('the tunnel broke off during the handshake'));
  };
  secured.once('error', fail);
  secured.once('close', fail);
  secured.once('secureConnect', () => {
    settle();
    resolve(secured);
  });
  if (signal.aborted) abort();
  else signal.addEventListener('abort', abort, { once: true });
  return promise;
}

function refusal(proxy: HttpProxy, status: number, ways: string): Error {
  if (status !== 407) return new Error(`${nameOf(proxy)} answered ${status} where it was to open a tunnel`);
  // By its code it is known again after a library has wrapped it.
  return Object.assign(new Error(`${nameOf(proxy)} ${whatItWants(proxy, ways)}`), { code: PROXY_SIGN_IN });
}

/** `ways` is what it says of how to sign in: `Basic realm="x"`, or `Negotiate, NTLM`. */
function whatItWants({ authorization, source }: HttpProxy, ways: string): string {
  const names = ways.split(',').flatMap((way) => /^\s*([a-z][a-z-]{0,20})(?:\s|$)/i.exec(way)?.[1] ?? []);
  if (names.length > 0 && !names.some((name) => /^basic$/i.test(name))) {
    return `wants a sign-in by ${names.join(' or ')}, and Longtail knows only the one by user and password (Basic)`;
  }
  return authorization === undefined
    ? `wants a sign-in: put user:password@ before its host in ${source}`
    : `does not accept the user and password in ${source}`;
}

function codeAndText(error: Error): string {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  // An AggregateError of several addresses has no text of its own.
  return [error.message, code].filter((part) => part !== '').join(' ');
}
