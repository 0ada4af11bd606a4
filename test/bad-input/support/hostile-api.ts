import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** One request of the API, as the client wrote it. */
export interface Asked {
  readonly startDate: string;
  readonly endDate: string;
  readonly dimensions: readonly string[];
  /** How often this very request has come before. */
  readonly seenBefore: number;
}

/** The body of an answer to one request; undefined: the honest one. */
export type Answers = (asked: Asked) => string | Buffer | PartAnswer | undefined;

/** An answer that is hostile in more than its body. `head` and `body` are written as they stand. */
export interface PartAnswer {
  readonly head: string;
  readonly body: string | Buffer | Iterable<Buffer>;
}

/** Takes a whole HTTP call. Returns false to leave it to {@link Answers}. */
export type Takes = (request: IncomingMessage, response: ServerResponse, call: number) => boolean;

export interface HostileApi extends AsyncDisposable {
  readonly url: string;
  /** HTTP calls so far. */
  readonly calls: () => number;
  /** Sockets that are open. */
  readonly sockets: () => number;
}

const BOUNDARY = 'a_boundary';

/** Rows that an honest server gives: three a day, other ones each day. */
export function honestRows({ startDate, dimensions }: Pick<Asked, 'startDate' | 'dimensions'>): object[] {
  return [1, 2, 3].map((index) => ({
    keys: dimensions.map((dimension) => `${dimension} ${index} of ${startDate}`),
    clicks: index,
    impressions: 10 * index,
    ctr: 0.1,
    position: index + 0.5,
  }));
}

/** Every day from the first to `lastDay`: a calendar in which all is published. */
function calendarOf(asked: Asked, lastDay: string): string {
  const days: string[] = [];
  for (let at = Date.parse(`${asked.startDate}T00:00:00Z`); ; at += 86_400_000) {
    const day = new Date(at).toISOString().slice(0, 10);
    if (day > asked.endDate || day > lastDay) break;
    days.push(day);
  }
  return JSON.stringify({
    rows: days.map((day) => ({ keys: [day], clicks: 0, impressions: 60, ctr: 0, position: 1 })),
    responseAggregationType: 'byProperty',
  });
}

/** A server that speaks the API's protocol, and is hostile where it is told to be. */
export async function startHostileApi(options: {
  readonly lastDay: string;
  readonly answers?: Answers;
  readonly takes?: Takes;
}): Promise<HostileApi> {
  const { lastDay, answers = () => undefined, takes = () => false } = options;
  const seen = new Map<string, number>();
  const sockets = new Set<Socket>();
  let calls = 0;

  const answerTo = (body: string): string | Buffer | PartAnswer => {
    const query = JSON.parse(body) as Omit<Asked, 'seenBefore'>; // the client's own
    const seenBefore = seen.get(body) ?? 0;
    seen.set(body, seenBefore + 1);
    const asked = { ...query, seenBefore };
    const hostile = answers(asked);
    if (hostile !== undefined) return hostile;
    return asked.dimensions.join() === 'date' && asked.startDate !== asked.endDate
      ? calendarOf(asked, lastDay)
      : JSON.stringify({ rows: honestRows(asked), responseAggregationType: 'byPage' });
  };

  const server = createServer((request, response) => {
    calls += 1;
    const call = calls;
    const chunks: Buffer[] = [];
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      if (takes(request, response, call)) return;
      const body = Buffer.concat(chunks).toString('utf8');
      if (!request.url?.startsWith('/batch')) {
        const answer = answerTo(body);
        const isPlain = typeof answer === 'string' || Buffer.isBuffer(answer);
        response.writeHead(200, { 'content-type': 'application/json' });
        void write(response, isPlain ? [Buffer.from(answer)] : pieces(answer.body)).then(() =>
          response.end(),
        );
        return;
      }
      response.writeHead(200, { 'content-type': `multipart/mixed; boundary=${BOUNDARY}` });
      const parts = [...body.matchAll(/Content-ID: <(p\d+)>[\s\S]*?\r\n\r\n[\s\S]*?\r\n\r\n(\{.*\})\r\n/g)];
      void write(
        response,
        batchPieces(parts.map(([, id = '', query = '']) => ({ id, answer: answerTo(query) }))),
      ).then(() => response.end(`--${BOUNDARY}--\r\n`));
    });
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('clientError', (_error, socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo; // listening on a port, not on a pipe
  return {
    url: `http://127.0.0.1:${port}/`,
    calls: () => calls,
    sockets: () => sockets.size,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const pieces = (body: PartAnswer['body']): Iterable<Buffer> =>
  typeof body === 'string' || Buffer.isBuffer(body) ? [Buffer.from(body)] : body;

function* batchPieces(
  parts: readonly { readonly id: string; readonly answer: string | Buffer | PartAnswer }[],
) {
  for (const { id, answer } of parts) {
    const part: PartAnswer =
      typeof answer === 'string' || Buffer.isBuffer(answer)
        ? { head: 'HTTP/1.1 200 OK\r\nContent-Type: application/json', body: answer }
        : answer;
    yield Buffer.from(
      `--${BOUNDARY}\r\nContent-Type: application/http\r\nContent-ID: <response-${id}>\r\n\r\n${part.head}\r\n\r\n`,
      'latin1',
    );
    yield* pieces(part.body);
    yield Buffer.from('\r\n');
  }
}

/** Writes at the pace at which the client reads; ends when it is gone. */
export async function write(response: ServerResponse, chunks: Iterable<Buffer>): Promise<void> {
  for (const chunk of chunks) {
    if (response.destroyed) return;
    if (response.write(chunk)) continue;
    await new Promise<void>((resolve) => {
      const go = (): void => {
        response.off('drain', go);
        response.off('close', go);
        resolve();
      };
      response.on('drain', go);
      response.on('close', go);
    });
  }
}

/** The same bytes again and again. */
export function* repeated(text: string, bytes: number): Generator<Buffer, void, undefined> {
  const chunk = Buffer.from(text.repeat(Math.max(1, Math.floor(65_536 / text.length))));
  for (let sent = 0; sent < bytes; sent += chunk.length) yield chunk;
}

export function* joined(...parts: readonly Iterable<Buffer>[]): Generator<Buffer, void, undefined> {
  for (const part of parts) yield* part;
}
