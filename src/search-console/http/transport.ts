/**
 * The port to HTTP. One adapter (`got-transport.ts`) speaks to real sockets; a simulation puts another in its place.
 */

export interface HttpRequest {
  readonly method: 'GET' | 'POST';
  /** Absolute, `https:` or `http:` to loopback: whoever builds it has checked that (`root.ts`). */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

export interface HttpAnswer {
  readonly status: number;
  /** Names in lower case; a header that came several times is joined by `, `. */
  readonly headers: Readonly<Record<string, string>>;
  /**
   * Decompressed bytes. Pulled: the socket is read only on demand, apart from stream buffers. A chunk is valid until
   * the next one is requested. Ends early by throwing a {@link TransportError} of phase `body`; its `return` drops the socket.
   */
  readonly body: AsyncIterable<Uint8Array>;
}

export interface SendOptions {
  /** Aborting destroys the socket in any phase; the call then fails with kind `aborted`. */
  readonly signal: AbortSignal;
  /** Called at most once, just before the first byte of the request may leave this machine. */
  readonly onFirstByteOut?: () => void;
}

export interface Transport {
  /** Resolves when the answer's head is read. Rejects with a {@link TransportError} and with nothing else. */
  send(request: HttpRequest, options: SendOptions): Promise<HttpAnswer>;
}

/**
 * `connect`: no connection (refused, no route, name not found). `timeout`: connect or first byte took too long, or the
 * body fell silent. `reset`: the connection broke, or the body ended before its announced end. `tls`: the certificate
 * or handshake failed. `proxySignIn`: the proxy on the way wants another sign-in. `malformed`: what came is not HTTP, its
 * gzip is broken, or there is no end to it.
 */
export type TransportErrorKind =
  | 'connect'
  | 'reset'
  | 'timeout'
  | 'aborted'
  | 'tls'
  | 'proxySignIn'
  | 'malformed';
export type TransportPhase = 'connect' | 'firstByte' | 'body';

/** Why there is no complete answer. The message is one line and contains no request header. */
export class TransportError extends Error {
  override readonly name = 'TransportError';
  readonly kind: TransportErrorKind;
  readonly phase: TransportPhase;
  /** False only when certainly no byte of the request left this machine. */
  readonly mayHaveArrived: boolean;

  constructor(
    kind: TransportErrorKind,
    phase: TransportPhase,
    mayHaveArrived: boolean,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.kind = kind;
    this.phase = phase;
    this.mayHaveArrived = mayHaveArrived;
  }
}
