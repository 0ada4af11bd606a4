/**
 * The way from an inspector to another process: a WebSocket on loopback, behind a token. `createWebSocketReceiver` of
 * `@statelyai/inspect` is the other end.
 *
 *   inspector ─► one queue for each reader, of at most `waiting` messages ─► its socket
 *
 * A reader that is slower than the machines loses the oldest messages and is told how many.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { isLoopback } from '../../domain/loopback.ts';
import { isOwnHost, serveLoopback } from '../loopback-server.ts';
import type { Inspector } from './inspector.ts';
import { type InspectorMessage, PROTOCOL_VERSION } from './messages.ts';

export interface BridgeOptions {
  /** @default 0, which picks a free one */
  readonly port?: number | undefined;
  /**
   * Messages that may wait for a slow reader. Beyond, the oldest are dropped.
   * @default 1000
   */
  readonly waiting?: number | undefined;
}

/** Created by {@link serveInspector}. */
export interface InspectorBridge extends AsyncDisposable {
  /** `ws://127.0.0.1:PORT/TOKEN`: whoever has it may read. */
  readonly url: string;
  readonly port: number;
  /** Messages that were dropped because a reader was too slow. */
  readonly dropped: () => number;
  /** Ends all connections and the server. */
  close(): Promise<void>;
}

const DEFAULT_WAITING = 1_000;
const MAX_READERS = 10;
/** As much may be on its way through a socket; what is beyond waits in the queue. */
const MAX_BUFFERED_BYTES = 256 * 1024;
/** A reader sends nothing but pongs and goodbyes. */
const MAX_INCOMING_BYTES = 1_024;
const RESUME_MS = 50;

/** @throws LongtailError `BAD_OPTION` if the port is taken. */
export async function serveInspector(
  inspector: Inspector,
  { port = 0, waiting = DEFAULT_WAITING }: BridgeOptions = {},
): Promise<InspectorBridge> {
  const token = randomBytes(16).toString('hex');
  const http = await serveLoopback(port, () =>
    Promise.resolve(
      new Response('This is a WebSocket.\n', { status: 426, headers: { upgrade: 'websocket' } }),
    ),
  );
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_INCOMING_BYTES,
    perMessageDeflate: false,
  });
  const readers = new Set<Reader>();
  let droppedBefore = 0;

  http.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const refusal = whyNot(request, token) ?? (readers.size >= MAX_READERS ? TOO_MANY : undefined);
    if (refusal !== undefined) {
      socket.end(`HTTP/1.1 ${refusal}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      const reader = new Reader(webSocket, waiting);
      readers.add(reader);
      const stop = inspector.watch((message) => reader.take(message));
      const leave = (): void => {
        stop();
        if (readers.delete(reader)) droppedBefore += reader.dropped;
        reader.end();
      };
      webSocket.on('close', leave);
      webSocket.on('error', leave);
    });
  });
  const close = async (): Promise<void> => {
    for (const reader of [...readers]) reader.end();
    for (const client of sockets.clients) client.terminate();
    sockets.close();
    await http.close();
  };
  return {
    url: `ws://127.0.0.1:${http.port}/${token}`,
    port: http.port,
    dropped: () => [...readers].reduce((sum, reader) => sum + reader.dropped, droppedBefore),
    close,
    [Symbol.asyncDispose]: close,
  };
}

const TOO_MANY = '503 Service Unavailable';

/** Why a connection is refused: a foreign host or page, or not the token. */
function whyNot({ headers, url = '' }: IncomingMessage, token: string): string | undefined {
  if (!isOwnHost(headers.host)) return '421 Misdirected Request';
  // Browsers say whose page asks. Programs say nothing.
  const { origin } = headers;
  if (origin !== undefined && !isLoopback(URL.parse(origin)?.hostname ?? '')) return '403 Forbidden';
  return isToken(url.slice(1), token) ? undefined : '401 Unauthorized';
}

function isToken(given: string, token: string): boolean {
  const [one, other] = [Buffer.from(given), Buffer.from(token)];
  return one.length === other.length && timingSafeEqual(one, other);
}

/** One connection and what waits for it. */
class Reader {
  readonly #socket: WebSocket;
  readonly #most: number;
  readonly #waiting: InspectorMessage[] = [];
  #timer: NodeJS.Timeout | undefined;
  #unreported = 0;
  #ended = false;
  dropped = 0;

  constructor(socket: WebSocket, most: number) {
    this.#socket = socket;
    this.#most = most;
  }

  take(message: InspectorMessage): void {
    if (this.#ended) return;
    this.#waiting.push(message);
    if (this.#waiting.length > this.#most) {
      this.#waiting.shift();
      this.dropped += 1;
      this.#unreported += 1;
    }
    this.#send();
  }

  end(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#waiting.length = 0;
  }

  #send(): void {
    while (!this.#ended && this.#socket.bufferedAmount < MAX_BUFFERED_BYTES) {
      if (this.#unreported > 0) this.#tellDropped();
      const message = this.#waiting.shift();
      if (message === undefined) return;
      this.#socket.send(JSON.stringify(message));
    }
    if (this.#ended || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#send();
    }, RESUME_MS).unref();
  }

  #tellDropped(): void {
    const first = this.#waiting[0];
    if (first === undefined) return;
    const message: InspectorMessage = {
      type: '@xstate.event',
      rootId: first.rootId,
      sessionId: first.rootId,
      id: `dropped ${this.dropped}`,
      createdAt: first.createdAt,
      _version: PROTOCOL_VERSION,
      sourceId: undefined,
      event: { type: 'longtail.inspector.dropped', messages: this.#unreported },
    };
    this.#unreported = 0;
    this.#socket.send(JSON.stringify(message));
  }
}
