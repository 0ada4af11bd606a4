import http from 'node:http';
import https from 'node:https';
import { isIP, type Socket } from 'node:net';
import tls from 'node:tls';
import { Agent, type AgentConnectOpts } from 'agent-base';
import type { Clock } from '../../domain/clock.ts';
import { type HttpProxy, nameOf, PROXY_SIGN_IN } from './proxy-settings.ts';

export interface ProxyTunnelOptions {
  readonly clock: Clock;
  /** Maximum time in milliseconds to connect to the proxy, open the tunnel and finish the TLS handshake with the server. */
  readonly connectTimeoutMs: number;
  readonly keepAlive?: boolean;
  readonly maxSockets?: number;
}

/**
 * Connections to https servers through an HTTP proxy. A request gets its connection only after the tunnel is open and the
 * TLS handshake with the server is done, so none of its bytes is sent before. An answer of the proxy itself becomes an
 * error. Existing packages pass it on as the server's answer, and do not close the tunnel of an aborted request.
 */
export class ProxyTunnel extends Agent {
  readonly #proxy: HttpProxy;
  readonly #clock: Clock;
  readonly #connectTimeoutMs: number;
  /** Tunnels that are being opened, by their request. */
  readonly #opening = new Map<http.ClientRequest, AbortController>();

  constructor(proxy: HttpProxy, { clock, connectTimeoutMs, ...pool }: ProxyTunnelOptions) {
    super(pool);
    this.#proxy = proxy;
    this.#clock = clock;
    this.#connectTimeoutMs = connectTimeoutMs;
  }

  /** Only https requests use the tunnel. */
  override isSecureEndpoint(): boolean {
    return true;
  }

  override async connect(request: http.ClientRequest, options: AgentConnectOpts): Promise<tls.TLSSocket> {
    if (!options.secureEndpoint) throw new Error('a tunnel is only for https');
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

  /** Closes the tunnel of a request that ended before it had a connection. Node does not tell an agent of this. */
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

/** Asks the proxy to connect to `authority`. Resolves to the socket that carries the tunnel. */
function openTunnel(proxy: HttpProxy, authority: string, signal: AbortSignal): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const { request } = proxy.isTls ? https : http;
  const hostname = proxy.hostname.replace(/^\[|\]$/g, '');
  const connecting = request({
    method: 'CONNECT',
    hostname,
    port: proxy.port,
    // By default, Node checks the certificate against the Host header, which names the server and not the proxy.
    servername: isIP(hostname) === 0 ? hostname : '',
    path: authority,
    headers: {
      host: authority,
      ...(proxy.authorization !== undefined && { 'proxy-authorization': proxy.authorization }),
    },
    // A separate connection, and no proxy for the proxy.
    agent: false,
    signal,
  });
  // Node emits this for every answer to CONNECT, whatever its status.
  connecting.once('connect', ({ statusCode = 0, headers }, socket, head) => {
    // A TLS server never sends first, so bytes after the head come from the proxy.
    if (statusCode >= 200 && statusCode < 300 && head.length === 0) return resolve(socket);
    socket.destroy();
    reject(refusal(proxy, statusCode, headers['proxy-authenticate'] ?? ''));
  });
  connecting.on('error', (error) => {
    reject(signal.aborted ? signal.reason : new Error(`${nameOf(proxy)} failed: ${codeAndText(error)}`));
  });
  connecting.end();
  return promise;
}

/** Starts TLS with the server at the end of the tunnel. */
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
    // A further error without a listener would crash the process.
    secured.on('error', () => undefined);
    if (signal.aborted) reject(signal.reason);
    else reject(error instanceof Error ? error : new Error('the tunnel closed during the TLS handshake'));
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

function refusal(proxy: HttpProxy, status: number, schemes: string): Error {
  if (status !== 407) return new Error(`${nameOf(proxy)} answered ${status} instead of opening a tunnel`);
  // The code identifies the error after a library has wrapped it.
  return Object.assign(new Error(`${nameOf(proxy)} ${signInProblem(proxy, schemes)}`), {
    code: PROXY_SIGN_IN,
  });
}

/** `schemes` is the proxy's `Proxy-Authenticate` header: `Basic realm="x"`, or `Negotiate, NTLM`. */
function signInProblem({ authorization, source }: HttpProxy, schemes: string): string {
  const names = schemes
    .split(',')
    .flatMap((scheme) => /^\s*([a-z][a-z-]{0,20})(?:\s|$)/i.exec(scheme)?.[1] ?? []);
  if (names.length > 0 && !names.some((name) => /^basic$/i.test(name))) {
    return `wants a sign-in by ${names.join(' or ')}, but Longtail supports only user and password (Basic)`;
  }
  return authorization === undefined
    ? `wants a sign-in: put user:password@ before its host in ${source}`
    : `does not accept the user and password in ${source}`;
}

function codeAndText(error: Error): string {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  // An AggregateError for several addresses has no message.
  return [error.message, code].filter((part) => part !== '').join(' ');
}
