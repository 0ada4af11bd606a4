import http from 'node:http';
import net, { type AddressInfo, type Socket } from 'node:net';

export interface TestHost extends AsyncDisposable {
  readonly port: number;
  /** `http://127.0.0.1:PORT/` */
  readonly root: string;
  /** Connections that are open now. */
  readonly open: number;
  /** Connections there ever were. */
  readonly accepted: number;
}

export interface HttpHost extends TestHost {
  readonly requests: readonly SeenRequest[];
}
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** A server whose answers the test writes; it knows what it was asked. */
export async function httpHost(
  answer: (request: SeenRequest, response: http.ServerResponse) => void | Promise<void>,
): Promise<HttpHost> {
  const requests: SeenRequest[] = [];
  const server = http.createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString('utf8');
    const seen = { method: request.method ?? '', path: request.url ?? '', headers: request.headers, body };
    requests.push(seen);
    await answer(seen, response);
  });
  const host = await hosted(server);
  return Object.assign(host, { requests });
}

/** A server of bare sockets: what it says need not be HTTP. */
export function socketHost(onConnection: (socket: Socket) => void): Promise<TestHost> {
  return hosted(net.createServer(onConnection));
}

async function hosted(server: net.Server): Promise<TestHost> {
  const sockets = new Set<Socket>();
  let accepted = 0;
  server.on('connection', (socket: Socket) => {
    accepted++;
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    root: `http://127.0.0.1:${port}/`,
    get open() {
      return sockets.size;
    },
    get accepted() {
      return accepted;
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** A port on which nobody listens. */
export async function deadPort(): Promise<number> {
  const host = await socketHost(() => undefined);
  await host[Symbol.asyncDispose]();
  return host.port;
}
