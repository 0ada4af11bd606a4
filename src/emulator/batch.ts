/**
 * The server side of the batch protocol: parses `multipart/mixed` with `application/http` parts as leniently as Google
 * does, because official clients differ: LF or CRLF, even mixed in one body; a quoted boundary that may contain `=`;
 * Content-IDs with spaces and `+`, or without angle brackets; no HTTP version; no Content-Length.
 */

export const MAX_CALLS = 1_000;

export interface BatchCall {
  readonly method: string;
  /** Path and query string, undecoded. */
  readonly target: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** As sent, without angle brackets. Undefined: the part has none. */
  readonly contentId: string | undefined;
}

/** The calls of a batch, or Google's message for an invalid body. */
export type BatchBody =
  | { readonly kind: 'calls'; readonly calls: readonly BatchCall[] }
  | { readonly kind: 'refused'; readonly message: string };

export function parseBatch(contentType: string | undefined, body: Buffer): BatchBody {
  const refused = (found: number): BatchBody => ({
    kind: 'refused',
    message: `Failed to parse batch request, error:  ${found} items. Received batch body: (${body.length}) bytes redacted`,
  });
  const boundary = boundaryOf(contentType ?? '');
  if (boundary === undefined) return refused(0);
  const calls: BatchCall[] = [];
  for (const part of partsOf(body.toString('utf8'), boundary)) {
    const call = parsePart(part);
    if (call === undefined) return refused(calls.length);
    calls.push(call);
  }
  if (calls.length === 0) return refused(0);
  if (calls.length > MAX_CALLS) {
    return {
      kind: 'refused',
      message: `The batch request holds ${calls.length} calls, more than the ${MAX_CALLS} allowed.`,
    };
  }
  return { kind: 'calls', calls };
}

function boundaryOf(contentType: string): string | undefined {
  if (!/^\s*multipart\/mixed\s*(;|$)/i.test(contentType)) return undefined;
  const match = /;\s*boundary\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;]+))/i.exec(contentType);
  const boundary = match?.[1]?.replace(/\\(.)/g, '$1') ?? match?.[2];
  return boundary === '' ? undefined : boundary;
}

/** The text between the delimiter lines. Ignores the preamble and whatever follows the last delimiter. */
function partsOf(text: string, boundary: string): string[] {
  const delimiter = `--${boundary}`;
  const parts: string[] = [];
  let partStart = -1;
  let lineStart = 0;
  while (lineStart <= text.length) {
    const newline = text.indexOf('\n', lineStart);
    const lineEnd = newline === -1 ? text.length : newline;
    const line = text.startsWith(delimiter, lineStart) ? text.slice(lineStart, lineEnd).trimEnd() : '';
    if (line === delimiter || line === `${delimiter}--`) {
      if (partStart >= 0) parts.push(text.slice(partStart, Math.max(partStart, lineStart)));
      if (line !== delimiter) return parts;
      partStart = lineEnd + 1;
    }
    if (newline === -1) break;
    lineStart = newline + 1;
  }
  // There is no closing delimiter: the rest is the last part.
  if (partStart >= 0 && partStart < text.length) parts.push(text.slice(partStart));
  return parts;
}

function parsePart(part: string): BatchCall | undefined {
  const outer = readHead(part);
  const type = outer.headers['content-type'];
  if (type !== undefined && !/^application\/http\b/i.test(type)) return undefined;
  // Some clients send an empty line before the request line.
  const http = part.slice(outer.end).replace(/^(?:[ \t]*\r?\n)+/, '');
  const firstLine = /^[^\n]*/.exec(http)?.[0] ?? '';
  const request = /^([A-Za-z]+)[ \t]+(\S+)(?:[ \t]+HTTP\/\d(?:\.\d)?)?\s*$/.exec(firstLine);
  const [, method, target] = request ?? [];
  if (method === undefined || target === undefined) return undefined;
  const rest = http.slice(firstLine.length + 1);
  const inner = readHead(rest);
  return {
    method: method.toUpperCase(),
    target: target.replace(/^https?:\/\/[^/]+/i, ''),
    headers: inner.headers,
    body: rest.slice(inner.end).trim(),
    contentId: outer.headers['content-id']?.replace(/^<(.*)>$/s, '$1'),
  };
}

/** Header lines up to the empty line that ends them. `end` is where the body begins. */
function readHead(text: string): { readonly headers: Record<string, string>; readonly end: number } {
  const headers: Record<string, string> = {};
  let at = 0;
  let name = '';
  while (at < text.length) {
    const newline = text.indexOf('\n', at);
    const end = newline === -1 ? text.length : newline;
    const line = text.slice(at, end).replace(/\r$/, '');
    at = end + 1;
    if (line.trim() === '') break;
    const colon = line.indexOf(':');
    if (/^[ \t]/.test(line) && name !== '') {
      headers[name] = `${headers[name] ?? ''} ${line.trim()}`;
    } else if (colon > 0) {
      name = line.slice(0, colon).trim().toLowerCase();
      headers[name] = line.slice(colon + 1).trim();
    }
  }
  return { headers, end: Math.min(at, text.length) };
}

export function partHead(
  boundary: string,
  contentId: string | undefined,
  status: number,
  phrase: string,
  retryAfterS: number | undefined,
): string {
  return [
    `--${boundary}`,
    'Content-Type: application/http',
    ...(contentId === undefined ? [] : [`Content-ID: <${contentId}>`]),
    '',
    `HTTP/1.1 ${status} ${phrase}`,
    'Content-Type: application/json; charset=UTF-8',
    ...(retryAfterS === undefined ? [] : [`Retry-After: ${retryAfterS}`]),
    '',
    '',
  ].join('\r\n');
}

export function partEnd(): string {
  return '\r\n';
}

export function batchEnd(boundary: string): string {
  return `--${boundary}--\r\n`;
}
