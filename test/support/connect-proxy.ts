import http from 'node:http';
import https from 'node:https';
import net, { type AddressInfo, type Socket } from 'node:net';
import tls from 'node:tls';
import type { Certified } from './certificates.ts';

export interface ConnectProxyOptions {
  /** Where a tunnel to this `host:port` really leads: a port of this machine. Undefined: nowhere, 502. */
  readonly leadTo: (authority: string) => number | undefined;
  /** `user:password` that it wants. */
  readonly login?: string;
  /** Spoken to over TLS. */
  readonly certified?: Certified;
  /** In place of a tunnel: a whole answer, or silence; undefined for a tunnel after all. `before` tunnels have been asked for. */
  readonly instead?: string | 'silence' | ((before: number) => string | undefined);
}

/** An HTTP proxy that opens tunnels, as companies put them before the internet. */
export interface ConnectProxy extends AsyncDisposable {
  readonly port: number;
  /** `host:port` of each tunnel that was asked for. */
  readonly asked: readonly string[];
  /** Connections to it that are open now. */
  readonly open: number;
}

export async function startConnectProxy(options: ConnectProxyOptions): Promise<ConnectProxy> {
  const { leadTo, login, certified } = options;
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const server = certified === undefined ? http.createServer() : https.createServer(certified);
  server.on('connection', (socket: Socket) => keep(sockets, socket));
  server.on('connect', (request: http.IncomingMessage, socket: Socket, head: Buffer) => {
    const authority = request.url ?? '';
    const { instead: answer } = options;
    const instead = typeof answer === 'function' ? answer(asked.length) : answer;
    asked.push(authority);
    socket.on('error', () => undefined);
    if (instead === 'silence') {
      // Silent, and not deaf: it hears when the other side goes.
      socket.on('end', () => socket.destroy()).resume();
      return;
    }
    if (instead !== undefined) return void socket.end(instead);
    const wanted = login === undefined ? undefined : `Basic ${Buffer.from(login).toString('base64')}`;
    if (wanted !== undefined && request.headers['proxy-authorization'] !== wanted) {
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n');
      return;
    }
    const port = leadTo(authority);
    if (port === undefined) return void socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n<h1>Bad Gateway</h1>');
    const upstream = net.connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      upstream.write(head);
      upstream.pipe(socket).pipe(upstream);
    });
    keep(sockets, upstream);
    socket.on('close', () => upstream.destroy());
    upstream.on('close', () => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: portOf(server),
    asked,
    get open() {
      return sockets.size;
    },
    [Symbol.asyncDispose]: () => end(server, sockets),
  };
}

/** TLS before a server that speaks without: what it is told goes on to that port. */
export async function startTlsFront(
  certified: Certified,
  port: number,
): Promise<AsyncDisposable & { readonly port: number; readonly handshakes: number }> {
  const sockets = new Set<Socket>();
  let handshakes = 0;
  const server = tls.createServer(certified, (socket) => {
    handshakes++;
    const upstream = net.connect(port, '127.0.0.1');
    keep(sockets, upstream);
    upstream.pipe(socket).pipe(upstream);
    socket.on('error', () => upstream.destroy());
    socket.on('close', () => upstream.destroy());
    upstream.on('close', () => socket.destroy());
  });
  // A client that trusts nobody of ours breaks off.
  server.on('tlsClientError', () => undefined);
  server.on('connection', (socket: Socket) => keep(sockets, socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: portOf(server),
    get handshakes() {
      return handshakes;
    },
    [Symbol.asyncDispose]: () => end(server, sockets),
  };
}

// Listening on a port, its address is an object.
const portOf = (server: net.Server): number => (server.address() as AddressInfo).port;

function keep(sockets: Set<Socket>, socket: Socket): void {
  sockets.add(socket);
  socket.on('error', () => undefined);
  socket.on('close', () => sockets.delete(socket));
}

async function end(server: net.Server, sockets: ReadonlySet<Socket>): Promise<void> {
  for (const socket of sockets) socket.destroy();
  await new Promise<void>((resolve) => server.close(() => resolve()));
}
