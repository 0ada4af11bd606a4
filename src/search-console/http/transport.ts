/**
 * The port to HTTP. Its adapter (`got-transport.ts`) uses real sockets; the simulation replaces it.
 */

export interface HttpRequest {
  readonly method: 'GET' | 'POST';
  /** Absolute: `https:`, or `http:` to loopback. The caller has checked this (`root.ts`). */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

export interface HttpAnswer {
  readonly status: number;
  /** Names are in lower case. The values of a repeated header are joined by `, `. */
  readonly headers: Readonly<Record<string, string>>;
  /**
   * Decompressed bytes. The socket is read only on demand, apart from stream buffers. A chunk is valid until the next one
   * is requested. Throws a {@link TransportError} of phase `body` if the body ends early. `return` destroys the socket.
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
  /** Resolves when the answer's head is read. Rejects only with a {@link TransportError}. */
  send(request: HttpRequest, options: SendOptions): Promise<HttpAnswer>;
}

/**
 * `connect`: no connection (refused, no route, name not found). `timeout`: connecting, the first byte or the body took too
 * long. `reset`: the connection broke, or the body ended early. `tls`: the certificate or handshake failed. `proxySignIn`:
 * the proxy requires another sign-in. `malformed`: the answer is not HTTP, is too large, or its gzip data is corrupt.
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
  /** False only if it is certain that no byte of the request left this machine. */
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
