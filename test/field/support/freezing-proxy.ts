import net, { type Socket } from 'node:net';
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.ts';

/** A database that falls silent in the middle: connections stay open, nothing comes back any more. */
export interface FreezingProxy extends TcpProxy {
  /** Falls silent when a request with these words comes. */
  freezeAt(words: string): void;
  isFrozen(): boolean;
  thaw(): void;
}

export async function startFreezingProxy(targetUrl: string): Promise<FreezingProxy> {
  let words: string | undefined;
  let isFrozen = false;
  const proxy = await startTcpProxy(targetUrl, {
    onRequest: (bytes) => {
      if (words !== undefined && bytes.includes(words)) isFrozen = true;
    },
    onAnswer: (bytes) => (isFrozen ? null : bytes),
  });
  return {
    ...proxy,
    freezeAt(at) {
      words = at;
    },
    isFrozen: () => isFrozen,
    thaw() {
      words = undefined;
      isFrozen = false;
    },
  };
}

/** A server that takes connections and never says a word. */
export interface SilentServer extends AsyncDisposable {
  readonly port: number;
  connections(): number;
}

export async function startSilentServer(): Promise<SilentServer> {
  const sockets = new Set<Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    socket.resume();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the silent server has no port');
  return {
    port: address.port,
    connections: () => sockets.size,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
