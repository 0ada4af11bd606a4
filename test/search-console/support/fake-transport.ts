import {
  type HttpRequest,
  type Transport,
  TransportError,
} from '../../../src/search-console/http/transport.ts';

export interface FakeAnswer {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  /** Given out one a pull; an error is thrown in its place, `silence` never comes. */
  readonly chunks: readonly (string | TransportError | 'silence')[];
}

export interface FakeTransport extends Transport {
  readonly requests: HttpRequest[];
  /** Chunks that were pulled. */
  pulled: number;
  /** Whether the socket was let go before the answer's end. */
  destroyed: boolean;
}

/** A transport that gives the answer it was told to, and keeps to the port's promises. */
export function fakeTransport(answer: FakeAnswer | TransportError | 'silence'): FakeTransport {
  const transport: FakeTransport = {
    requests: [],
    pulled: 0,
    destroyed: false,
    send: async (request, { signal, onFirstByteOut }) => {
      transport.requests.push(request);
      const aborted = () => new TransportError('aborted', 'body', true, 'the request was aborted');
      const { promise: never, reject } = Promise.withResolvers<never>();
      never.catch(() => undefined);
      if (signal.aborted) throw new TransportError('aborted', 'connect', false, 'the request was aborted');
      signal.addEventListener('abort', () => {
        transport.destroyed = true;
        reject(aborted());
      });
      if (answer instanceof TransportError) {
        if (answer.mayHaveArrived) onFirstByteOut?.();
        throw answer;
      }
      onFirstByteOut?.();
      if (answer === 'silence') return never;
      async function* body(chunks: FakeAnswer['chunks']) {
        for (const chunk of chunks) {
          transport.pulled++;
          if (chunk === 'silence') yield await never;
          else if (chunk instanceof TransportError) throw chunk;
          else yield Buffer.from(chunk);
        }
      }
      return { status: answer.status ?? 200, headers: answer.headers ?? {}, body: body(answer.chunks) };
    },
  };
  return transport;
}
