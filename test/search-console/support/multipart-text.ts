import { type MultipartOptions, MultipartReader } from '../../../src/search-console/answer/multipart.ts';

/** What a reader said, with bodies as text: they are views that do not last. */
export type Told =
  | { kind: 'head'; contentId: string | null; status: number; headers?: Record<string, string> }
  | { kind: 'body'; contentId: string | null; text: string; closed: boolean }
  | { kind: 'tooLarge'; contentId: string | null; what: 'head' | 'body' }
  | { kind: 'unwanted'; contentId: string | null }
  | { kind: 'tooManyParts' };

export function readChunks(chunks: Iterable<Uint8Array>, options: Partial<MultipartOptions> = {}): Told[] {
  const reader = new MultipartReader({ boundary: 'b', maxPartBytes: 1 << 20, maxParts: 1000, ...options });
  const told: Told[] = [];
  const note = (events: ReturnType<MultipartReader['feed']>) => {
    for (const event of events) {
      if (event.kind === 'head') {
        told.push({
          kind: 'head',
          contentId: event.contentId,
          status: event.status,
          headers: { ...event.headers },
        });
      } else if (event.kind === 'body') {
        const { contentId, closed, bytes } = event;
        told.push({ kind: 'body', contentId, text: bytes.toString('utf8'), closed });
      } else told.push(event);
    }
  };
  for (const chunk of chunks) {
    note(reader.feed(chunk));
    if (reader.stopped) break;
  }
  note(reader.end());
  return told;
}

export const readText = (text: string, options: Partial<MultipartOptions> = {}) =>
  readChunks([Buffer.from(text)], options);

/** Only which part had which body. */
export function bodies(told: readonly Told[]): string[] {
  return told.flatMap((event) =>
    event.kind === 'body' ? [`${event.contentId}=${event.text}${event.closed ? '' : ' (open)'}`] : [],
  );
}

/** Lines joined as HTTP does. */
export const crlf = (...lines: string[]): string => lines.join('\r\n');
export const lf = (...lines: string[]): string => lines.join('\n');
