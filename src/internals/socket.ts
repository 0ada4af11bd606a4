import net, { type Socket } from 'node:net';
import tls from 'node:tls';

/** An address where a server may listen. */
export type Endpoint =
  | { readonly kind: 'tcp'; readonly host: string; readonly address?: string; readonly port: number }
  /** The full path of a Unix socket. */
  | { readonly kind: 'socket'; readonly path: string; readonly port: number };

/** Open plain sockets created here. */
const open = new Set<Socket>();

/**
 * Finds our only plain socket to which `write` has synchronously written exactly this many bytes. Otherwise returns the
 * reason why there is none.
 */
export function socketWrittenTo(bytes: number, write: () => void): Socket | { readonly missing: string } {
  const before = new Map([...open].map((socket) => [socket, socket.bytesWritten]));
  write();
  const written = [...before].filter(([socket, had]) => socket.bytesWritten !== had);
  const [only] = written;
  if (only === undefined) return { missing: 'the connection is encrypted, or its socket is not one of ours' };
  const [socket, had] = only;
  return written.length === 1 && socket.bytesWritten === had + bytes
    ? socket
    : { missing: 'the driver writes COPY data in another form' };
}

/** How a connection is encrypted. */
export interface Encryption {
  /** `ifOffered`: unencrypted if the server does not support encryption. */
  readonly need: 'always' | 'ifOffered';
  readonly negotiation: 'postgres' | 'direct';
  readonly options: tls.ConnectionOptions;
}

/** How to get a socket, and how to encrypt it. */
export interface Way {
  readonly endpoint: Endpoint;
  /** Undefined: plain text. */
  readonly encryption: Encryption | undefined;
  /** The host's own socket factory (a connector, a tunnel). The socket may still be connecting. */
  readonly dial?: (() => unknown) | undefined;
}

/**
 * Opens a socket to PostgreSQL, encrypted if requested, ready for the driver's first message. Nagle's algorithm is off:
 * COPY ends with several small writes, and each page would wait for an acknowledgement that the server delays by 40 ms.
 *
 * Rejects with an error that has a `code`, also when `signal` is aborted.
 */
export async function openSocket(way: Way, signal: AbortSignal): Promise<Socket> {
  const socket = await plainSocket(way);
  const stop = (): void => {
    socket.destroy(lost('ECONNABORTED', 'given up'));
  };
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    await settled(socket, 'connect', () => !socket.connecting);
    // The system notices within seconds that the other machine has disappeared.
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    if (way.encryption === undefined || !(await offersTls(socket, way.encryption))) {
      open.add(socket);
      socket.once('close', () => open.delete(socket));
      return outspoken(socket);
    }
    return outspoken(await encrypted(socket, way, way.encryption));
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

const KEEP_ALIVE_MS = 60_000;

async function plainSocket({ endpoint, dial }: Way): Promise<Socket> {
  if (dial !== undefined) {
    const made: unknown = await dial();
    if (made instanceof net.Socket) return made;
    throw lost('ECONNABORTED', "the pool's `socket` function did not return a socket");
  }
  if (endpoint.kind === 'socket') return net.connect({ path: endpoint.path });
  return net.connect({ host: endpoint.address ?? endpoint.host, port: endpoint.port, noDelay: true });
}

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
const YES = 0x53;

/** Asks whether the server supports TLS, if required. @throws if TLS is mandatory and not offered. */
async function offersTls(socket: Socket, { need, negotiation }: Encryption): Promise<boolean> {
  if (negotiation === 'direct') return true;
  let answer: Buffer | undefined;
  const listen = (bytes: Buffer): void => {
    answer = bytes;
    socket.emit('answered');
  };
  socket.once('data', listen);
  socket.write(SSL_REQUEST);
  await settled(socket, 'answered', () => answer !== undefined);
  // More than one byte would come from an attacker in between, who injects data before encryption begins.
  if (answer?.length === 1 && answer[0] === YES) return true;
  if (answer?.length === 1 && need === 'ifOffered') return false;
  throw lost('LONGTAIL_NO_TLS', 'the server does not offer TLS, which the connection requires');
}

async function encrypted(socket: Socket, { endpoint }: Way, { negotiation, options }: Encryption) {
  const host = endpoint.kind === 'tcp' ? endpoint.host : 'localhost';
  const secure = tls.connect({
    socket,
    // Without a server name the certificate would not be checked against any.
    ...(net.isIP(host) === 0 ? { servername: host } : { host }),
    ...(negotiation === 'direct' ? { ALPNProtocols: ['postgresql'] } : {}),
    ...options,
  });
  await settled(secure, 'secureConnect', () => false);
  return secure;
}

/** Waits for the socket's event. Rejects if the socket fails or ends first. */
function settled(socket: Socket, event: string, isThere: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const over = (): void => {
      for (const [name, listener] of listeners) socket.off(name, listener);
    };
    const fail = (error: unknown): void => {
      over();
      // Later errors of an abandoned socket are ignored.
      socket.on('error', () => undefined);
      reject(error);
    };
    const hangUp = (): void =>
      fail(lost('ECONNRESET', 'the server closed the connection before it answered'));
    const done = (): void => {
      over();
      resolve();
    };
    const listeners = [
      [event, done],
      ['error', fail],
      ['end', hangUp],
      ['close', hangUp],
    ] as const;
    if (isThere()) {
      resolve();
      return;
    }
    if (socket.destroyed) {
      fail(socket.errored ?? lost('ECONNRESET', 'the server closed the connection before it answered'));
      return;
    }
    for (const [name, listener] of listeners) socket.on(name, listener);
  });
}

/** An error in the form of a system error. */
export function lost(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

/**
 * Works around two faults of the driver (postgres 3.4). Each leaves a caller waiting forever.
 *
 * - If the other side accepts connections and hangs up (a balancer or tunnel whose server is down, or a program other
 *   than PostgreSQL), the driver gets no error and reconnects again and again. Here the end becomes an error.
 * - The driver loses queries that it accepts between a socket's error and its close: at the close it fails them only if
 *   no error came before. So it is not told of errors. And it hears of the close only after the pending immediates, in
 *   which it writes: writing to a socket that it has released throws an uncaught error.
 */
function outspoken(socket: Socket): Socket {
  socket.once('end', () => {
    const message =
      socket.bytesRead === 0
        ? 'the server closed the connection before it answered'
        : 'the server closed the connection';
    socket.destroy(lost('ECONNRESET', message));
  });
  const emit = socket.emit.bind(socket);
  socket.emit = (event: string | symbol, ...about: unknown[]): boolean => {
    if (event !== 'close') return emit(event, ...about);
    // One turn for pending writes at the time of the close, one for what they cause.
    inTurns(2, () => emit('close', false));
    return true;
  };
  return socket;
}

function inTurns(turns: number, work: () => void): void {
  setImmediate(() => (turns === 1 ? work() : inTurns(turns - 1, work)));
}
