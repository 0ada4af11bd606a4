import http from 'node:http';
import type { AddressInfo } from 'node:net';

/** An answer of the API's, as whoever stands before it sees it. */
export interface SeenAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What was asked, and how many of its kind came before. */
export interface SeenRequest {
  readonly kind: 'batch' | 'plain';
  readonly before: number;
}

export interface MeddlingServer extends AsyncDisposable {
  readonly url: string;
}

/** Stands before the API at `url` and hands its answers on, each as `meddle` makes it. */
export async function startMeddlingServer(
  url: string,
  meddle: (answer: SeenAnswer, request: SeenRequest) => SeenAnswer,
): Promise<MeddlingServer> {
  const counts = { batch: 0, plain: 0 };
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', async () => {
      const path = request.url ?? '/';
      const kind = path.startsWith('/batch') ? 'batch' : 'plain';
      const before = counts[kind];
      counts[kind] += 1;
      try {
        const answer = await fetch(new URL(path, url), {
          method: request.method ?? 'GET',
          headers: {
            authorization: request.headers.authorization ?? '',
            'content-type': request.headers['content-type'] ?? '',
          },
          ...(request.method === 'POST' && { body: Buffer.concat(chunks) }),
        });
        const body = await answer.text();
        const { 'content-length': _, ...headers } = Object.fromEntries(answer.headers);
        const told = meddle({ status: answer.status, headers, body }, { kind, before });
        response.writeHead(told.status, told.headers).end(told.body);
      } catch {
        response.destroy();
      }
    });
    request.on('error', () => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // Listening on a port, its address is an object.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
