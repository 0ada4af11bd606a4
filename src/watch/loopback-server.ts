/** An HTTP server for this machine alone, around a handler of web-standard requests. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { LongtailError } from '../domain/errors.ts';
import { isLoopback } from '../domain/loopback.ts';

const MAX_CONNECTIONS = 100;
const REQUEST_TIMEOUT_MS = 10_000;

export interface LoopbackServer {
  readonly port: number;
  /** `http://127.0.0.1:9465` */
  readonly url: string;
  readonly server: Server;
  close(): Promise<void>;
}

/**
 * Listens on 127.0.0.1. A request whose Host is not this machine's gets 421: a page of a foreign name that was made to lead
 * here (DNS rebinding) reads nothing.
 * @param port 0 picks a free one.
 * @throws LongtailError `BAD_OPTION` if the port is taken.
 */
export async function serveLoopback(
  port: number,
  handle: (request: Request) => Promise<Response>,
): Promise<LoopbackServer> {
  const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS });
  server.maxConnections = MAX_CONNECTIONS;
  server.on('request', (request, response) => {
    void answer(request, response, handle);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(listenError(error, port)));
    server.listen(port, '127.0.0.1', resolve);
  });
  const address = server.address();
  const bound = typeof address === 'object' && address !== null ? address.port : port;
  return {
    port: bound,
    url: `http://127.0.0.1:${bound}`,
    server,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Whether the Host header names this machine. */
export function isOwnHost(host: string | undefined): boolean {
  const url = URL.parse(`http://${host ?? ''}/`);
  return url !== null && host !== undefined && isLoopback(url.hostname) && url.pathname === '/';
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  handle: (request: Request) => Promise<Response>,
): Promise<void> {
  // Nothing that is served here takes a body.
  request.resume();
  if (!isOwnHost(request.headers.host)) {
    response.writeHead(421, { 'content-type': 'text/plain' }).end('Ask for 127.0.0.1 or localhost.\n');
    return;
  }
  const url = URL.parse(request.url ?? '/', `http://${request.headers.host}`);
  if (url === null) {
    response.writeHead(400).end();
    return;
  }
  try {
    const answered = await handle(new Request(url, { method: request.method ?? 'GET' }));
    response.writeHead(answered.status, Object.fromEntries(answered.headers));
    response.end(Buffer.from(await answered.arrayBuffer()));
  } catch {
    if (!response.headersSent) response.writeHead(500);
    response.end();
  }
}

function listenError(error: NodeJS.ErrnoException, port: number): Error {
  if (error.code !== 'EADDRINUSE' && error.code !== 'EACCES') return error;
  return new LongtailError(
    'BAD_OPTION',
    error.code === 'EACCES'
      ? `Port ${port} may not be used by this user.`
      : `Port ${port} is used by another program.`,
    'Give another one with --port; 0 picks a free one.',
  );
}
