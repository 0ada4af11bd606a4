import net, { type Socket } from 'node:net';

/** What stands between a client and a server, to listen in and to break things. */
export interface TcpProxy extends AsyncDisposable {
  /** The target's URL, through this. */
  readonly url: string;
}

/** One connection through the proxy. */
export interface ProxiedConnection {
  /** Ends both sides at once, without a word. */
  destroy(): void;
  /** Sends bytes to the client, as if the server had just answered with them. */
  answer(bytes: Buffer): void;
}

export interface ProxyHooks {
  /** Called before bytes of the client are passed on. */
  readonly onRequest?: (bytes: Buffer, connection: ProxiedConnection) => void;
  /** Returns the bytes to pass on to the client in place of these; null: none. */
  readonly onAnswer?: (bytes: Buffer, connection: ProxiedConnection) => Buffer | null;
  /** Called once, when the client has gone or the connection is destroyed. */
  readonly onClose?: (connection: ProxiedConnection) => void;
}

/** Listens on a free port of 127.0.0.1 and passes on to the database of `targetUrl`. */
export async function startTcpProxy(targetUrl: string, hooks: ProxyHooks): Promise<TcpProxy> {
  const target = new URL(targetUrl);
  const sockets = new Set<Socket>();
  const server = net.createServer((client) => {
    const upstream = net.connect({ host: target.hostname, port: Number(target.port), noDelay: true });
    client.setNoDelay(true);
    let isOpen = true;
    const close = (): void => {
      if (!isOpen) return;
      isOpen = false;
      hooks.onClose?.(connection);
    };
    const connection = {
      destroy: (): void => {
        client.destroy();
        upstream.destroy();
        close();
      },
      answer: (bytes: Buffer): void => {
        if (!client.destroyed) client.write(bytes);
      },
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', connection.destroy);
      socket.on('close', () => {
        sockets.delete(socket);
        connection.destroy();
      });
    }
    client.on('end', close);
    client.on('data', (bytes: Buffer) => {
      hooks.onRequest?.(bytes, connection);
      if (!upstream.destroyed) upstream.write(bytes);
    });
    upstream.on('data', (bytes: Buffer) => {
      const passed = hooks.onAnswer === undefined ? bytes : hooks.onAnswer(bytes, connection);
      if (passed !== null && !client.destroyed) client.write(passed);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  const url = new URL(targetUrl);
  url.hostname = '127.0.0.1';
  url.port = String(address.port);
  return {
    url: url.href,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
