import net, { type Socket } from 'node:net';
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.ts';

/** A database that falls silent in the middle: connections stay open, nothing comes back any more. */
export interface FreezingProxy extends TcpProxy {
  /** Falls silent when a request with these words comes. `answering`: once it has been answered. */
  freezeAt(words: string, when?: 'asked' | 'answering'): void;
  isFrozen(): boolean;
  thaw(): void;
}

export async function startFreezingProxy(targetUrl: string): Promise<FreezingProxy> {
  let words: string | undefined;
  let when: 'asked' | 'answering' = 'asked';
  let isDue = false;
  let isFrozen = false;
  const proxy = await startTcpProxy(targetUrl, {
    onRequest: (bytes) => {
      if (words === undefined || !bytes.includes(words)) return;
      if (when === 'asked') isFrozen = true;
      else isDue = true;
    },
    onAnswer: (bytes) => {
      if (isFrozen) return null;
      // The answer that is asked for still comes, whole.
      if (isDue && endsTheAnswer(bytes)) isFrozen = true;
      return bytes;
    },
  });
  return {
    ...proxy,
    freezeAt(at, how = 'asked') {
      words = at;
      when = how;
    },
    isFrozen: () => isFrozen,
    thaw() {
      words = undefined;
      isDue = false;
      isFrozen = false;
    },
  };
}

/** `ReadyForQuery` comes last. */
const endsTheAnswer = (bytes: Buffer): boolean => bytes.length >= 6 && bytes.at(-6) === 0x5a;

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
