import type { ApiRequest } from './query.ts';

/** Maximum requests per batch. */
export const MAX_BATCH_SIZE = 1_000;

/** The body of a batch call: HTTP requests as multipart/mixed, with the ids `p0`, `p1`, … in the order given. */
export function batchBody(requests: readonly ApiRequest[], boundary: string): string {
  const parts = requests.map(
    (request, index) =>
      `--${boundary}\r\n` +
      'Content-Type: application/http\r\n' +
      'Content-Transfer-Encoding: binary\r\n' +
      `Content-ID: <p${index}>\r\n` +
      '\r\n' +
      `${request.method} ${request.path} HTTP/1.1\r\n` +
      'Content-Type: application/json\r\n' +
      `Content-Length: ${Buffer.byteLength(request.body)}\r\n` +
      'Accept: application/json\r\n' +
      '\r\n' +
      `${request.body}\r\n`,
  );
  return `${parts.join('')}--${boundary}--\r\n`;
}

/** The index of the request that a Content-ID answers, or null for an unknown id. */
export function indexOfContentId(contentId: string | null, count: number): number | null {
  const match = /^(?:response-)?p(0|[1-9]\d{0,3})$/.exec(contentId ?? '');
  if (match === null) return null;
  const index = Number(match[1]);
  return index < count ? index : null;
}

/** The URL of the batch endpoint: the older root has a different path. */
export function batchUrl(apiRoot: string): string {
  const older = new URL(apiRoot).hostname === 'www.googleapis.com';
  return `${apiRoot}${older ? 'batch/webmasters/v3' : 'batch'}`;
}
