/** `multipart/mixed; boundary="a=b"` → `a=b`; null when the header is not multipart or names no boundary. */
export function boundaryOf(contentType: string | undefined): string | null {
  if (contentType === undefined || !/^\s*multipart\//i.test(contentType)) return null;
  const match = /;\s*boundary\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))/i.exec(contentType);
  const boundary = match?.[1]?.replace(/\\(.)/g, '$1') ?? match?.[2];
  return boundary === undefined || boundary === '' ? null : boundary;
}

/** A Content-ID without its angle brackets, if it has any. */
export function contentIdOf(value: string): string {
  const trimmed = value.trim();
  return trimmed.startsWith('<') && trimmed.endsWith('>') ? trimmed.slice(1, -1) : trimmed;
}

/** The status of `HTTP/1.1 200 OK`, with or without a reason phrase; 0 when it cannot be read. */
export function parseStatus(line: string): number {
  const match = /^HTTP\/\d+(?:\.\d+)?\s+(\d{3})(?:\s|$)/i.exec(line);
  return match === null ? 0 : Number(match[1]);
}
