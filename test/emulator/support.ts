import { connect } from 'node:net';
import type { Emulator } from '../../src/emulator/index.ts';

export const SITE = 'sc-domain:example.com';
/** Days up to 2026-05-29 are final. */
export const TODAY = '2026-06-01';

export interface Row {
  readonly keys?: readonly string[];
  readonly clicks: number;
  readonly impressions: number;
  readonly ctr: number;
  readonly position?: number;
}
export interface QueryAnswer {
  readonly rows?: readonly Row[];
  readonly responseAggregationType?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly error?: {
    readonly code: number;
    readonly message: string;
    readonly errors?: readonly {
      readonly message: string;
      readonly domain: string;
      readonly reason: string;
    }[];
    readonly status?: string;
  };
}

export function queryUrl(emulator: Pick<Emulator, 'url'>, site = SITE, search = ''): string {
  return `${emulator.url}webmasters/v3/sites/${encodeURIComponent(site)}/searchAnalytics/query${search}`;
}

export async function query(
  emulator: Emulator,
  body: unknown,
  { site = SITE, token = 'anything', search = '' } = {},
): Promise<{ status: number; headers: Headers; body: QueryAnswer; text: string }> {
  const response = await fetch(queryUrl(emulator, site, search), {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, body: JSON.parse(text) as QueryAnswer };
}

export interface Part {
  readonly id: string | undefined;
  readonly status: number;
  readonly phrase: string;
  readonly body: string;
}

/** Reads a batch answer strictly, as Google writes it: CRLF, ids in brackets, a reason phrase. */
export function parts(text: string, contentType: string): Part[] {
  const boundary = /boundary=(\S+)$/.exec(contentType)?.[1] ?? 'none';
  return text
    .split(`--${boundary}`)
    .slice(1)
    .filter((piece) => piece.startsWith('\r\n'))
    .map((piece) => {
      const [outer = '', head = '', ...body] = piece.slice(2).replace(/\r\n$/, '').split('\r\n\r\n');
      const [, status, phrase] = /^HTTP\/1\.1 (\d+) (.+?)\r\n/.exec(`${head}\r\n`) ?? [];
      return {
        id: /^Content-ID: <response-(.*)>$/m.exec(outer.replaceAll('\r', ''))?.[1],
        status: Number(status),
        phrase: phrase ?? '',
        body: body.join('\r\n\r\n'),
      };
    });
}

export async function batch(
  emulator: Emulator,
  bodies: readonly unknown[],
  { path = 'batch', site = SITE } = {},
): Promise<{ status: number; text: string; parts: Part[] }> {
  const target = `/webmasters/v3/sites/${encodeURIComponent(site)}/searchAnalytics/query?prettyPrint=false`;
  const text = bodies
    .map(
      (body, index) =>
        `--b\r\nContent-Type: application/http\r\nContent-ID: <item${index}>\r\n\r\nPOST ${target} HTTP/1.1\r\nContent-Type: application/json\r\n\r\n${JSON.stringify(body)}\r\n`,
    )
    .join('');
  const response = await fetch(emulator.url + path, {
    method: 'POST',
    headers: { authorization: 'Bearer anything', 'content-type': 'multipart/mixed; boundary=b' },
    body: `${text}--b--\r\n`,
  });
  const answer = await response.text();
  return {
    status: response.status,
    text: answer,
    parts: parts(answer, response.headers.get('content-type') ?? ''),
  };
}

/** Sends bytes as they are and gives back all that comes until the connection ends, and how it ended. */
export function rawExchange(
  url: string,
  bytes: string,
): Promise<{ text: string; error: string | undefined }> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    const chunks: Buffer[] = [];
    let problem: string | undefined;
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      problem = error.code ?? error.message;
    });
    socket.on('close', () => resolve({ text: Buffer.concat(chunks).toString('utf8'), error: problem }));
    socket.write(bytes);
  });
}

/** The text of an HTTP request that closes its connection. */
export function httpText(
  path: string,
  contentType: string,
  body: string,
  extra: readonly string[] = [],
): string {
  return [
    `POST ${path} HTTP/1.1`,
    'Host: 127.0.0.1',
    'Authorization: Bearer anything',
    `Content-Type: ${contentType}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
    ...extra,
    '',
    body,
  ].join('\r\n');
}
