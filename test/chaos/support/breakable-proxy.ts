import net, { type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** What the network does to every connection, until it is told otherwise. */
export type Weather =
  | { readonly kind: 'fair' }
  /** Nothing passes, and nobody is told. */
  | { readonly kind: 'stalled' }
  /** A few bytes at a time. */
  | { readonly kind: 'trickling'; readonly chunkBytes: number; readonly everyMs: number }
  /** New connections are refused at once. */
  | { readonly kind: 'cut' };

/** Stands between a process and a server, at an address that stays the same. */
export interface BreakableProxy extends AsyncDisposable {
  readonly url: string;
  /** Connections that have been made through it. */
  readonly connections: () => number;
  turn(weather: Weather): void;
  /** Ends every connection under way, without a word. */
  cut(): void;
}

export async function startBreakableProxy(targetUrl: string): Promise<BreakableProxy> {
  const target = new URL(targetUrl);
  const sockets = new Set<Socket>();
  let weather: Weather = { kind: 'fair' };
  let turned = Promise.withResolvers<void>();
  let connections = 0;
  let isOver = false;

  /** One direction, at the pace that the weather allows. */
  const pass = async (from: Socket, to: Socket): Promise<void> => {
    for await (const bytes of from as AsyncIterable<Buffer>) {
      for (let sent = 0; sent < bytes.length; ) {
        while (weather.kind === 'stalled' && !isOver) await turned.promise;
        const now: Weather = weather;
        const most = now.kind === 'trickling' ? now.chunkBytes : bytes.length;
        const chunk = bytes.subarray(sent, sent + most);
        sent += chunk.length;
        if (to.destroyed) return;
        if (!to.write(chunk))
          await new Promise((resolve) => to.once('drain', resolve).once('close', resolve));
        if (now.kind === 'trickling') await sleep(now.everyMs);
      }
    }
    to.end();
  };

  const server = net.createServer((client) => {
    if (weather.kind === 'cut') {
      client.on('error', () => undefined);
      client.resetAndDestroy();
      return;
    }
    connections += 1;
    const upstream = net.connect({ host: target.hostname, port: Number(target.port), noDelay: true });
    client.setNoDelay(true);
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
      pass(socket, other).catch(() => other.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  const url = new URL(targetUrl);
  url.hostname = '127.0.0.1';
  url.port = String(address.port);
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: url.href,
    connections: () => connections,
    turn(next) {
      weather = next;
      turned.resolve();
      turned = Promise.withResolvers();
    },
    cut,
    async [Symbol.asyncDispose]() {
      isOver = true;
      turned.resolve();
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
