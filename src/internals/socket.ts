import net, { type Socket } from 'node:net';
import tls from 'node:tls';

/** One place where a server may listen. */
export type Endpoint =
  | { readonly kind: 'tcp'; readonly host: string; readonly address?: string; readonly port: number }
  /** A Unix socket's whole path. */
  | { readonly kind: 'socket'; readonly path: string; readonly port: number };

/** Plain sockets made here that are open. */
const open = new Set<Socket>();

/** The one plain socket of ours to which `write` writes synchronously, exactly so many bytes; else why there is none. */
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
  /** `ifOffered`: without it where the server has none. */
  readonly need: 'always' | 'ifOffered';
  readonly negotiation: 'postgres' | 'direct';
  readonly options: tls.ConnectionOptions;
}

/** Where a socket comes from, and how it is encrypted. */
export interface Way {
  readonly endpoint: Endpoint;
  /** Undefined: in plain text. */
  readonly encryption: Encryption | undefined;
  /** The host's own way to make sockets (a connector, a tunnel). It may hand one over that is connecting. */
  readonly dial?: (() => unknown) | undefined;
}

/**
 * Opens a socket to a PostgreSQL, encrypted where that is asked for, ready for the driver's first word. Without Nagle's
 * algorithm: COPY's end is a small write after another, which would wait for an acknowledgement that the server delays
 * by 40 ms, on every page.
 *
 * Rejects with an error that has a `code`, also when `signal` ends it.
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
    // A machine that is gone without a word is noticed by the system some seconds later.
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
    throw lost('ECONNABORTED', "the pool's own `socket` function made something that is no socket");
  }
  if (endpoint.kind === 'socket') return net.connect({ path: endpoint.path });
  return net.connect({ host: endpoint.address ?? endpoint.host, port: endpoint.port, noDelay: true });
}

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
const YES = 0x53;

/** Asks whether the server speaks TLS, where that is asked. @throws when it has to and does not. */
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
  // More than the one byte would be somebody in between, who speaks before the encryption begins.
  if (answer?.length === 1 && answer[0] === YES) return true;
  if (answer?.length === 1 && need === 'ifOffered') return false;
  throw lost('LONGTAIL_NO_TLS', 'the server does not offer TLS, which the connection demands');
}

async function encrypted(socket: Socket, { endpoint }: Way, { negotiation, options }: Encryption) {
  const host = endpoint.kind === 'tcp' ? endpoint.host : 'localhost';
  const secure = tls.connect({
    socket,
    // Without a name of its own the certificate would be checked against none.
    ...(net.isIP(host) === 0 ? { servername: host } : { host }),
    ...(negotiation === 'direct' ? { ALPNProtocols: ['postgresql'] } : {}),
    ...options,
  });
  await settled(secure, 'secureConnect', () => false);
  return secure;
}

/** Waits until the socket says so. Rejects when it fails or ends first. */
function settled(socket: Socket, event: string, isThere: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const over = (): void => {
      for (const [name, listener] of listeners) socket.off(name, listener);
    };
    const fail = (error: unknown): void => {
      over();
      // What is still to come of a socket that has been given up is nobody's.
      socket.on('error', () => undefined);
      reject(error);
    };
    const hangUp = (): void => fail(lost('ECONNRESET', 'the server hung up before it answered'));
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
      fail(socket.errored ?? lost('ECONNRESET', 'the server hung up before it answered'));
      return;
    }
    for (const [name, listener] of listeners) socket.on(name, listener);
  });
}

/** An error as the system makes them. */
export function lost(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

/**
 * Mends two habits of the driver (postgres 3.4), each of which leaves somebody waiting for ever.
 *
 * - What takes connections and hangs up (a balancer or a tunnel whose server is away, something that is no PostgreSQL)
 *   makes no error, and the driver connects again and again without a word: the end is made an error.
 * - What it takes on between a socket's error and its close it forgets: it fails what is open at the close only where no
 *   error came before. So it is told of none. And the close is told when the immediates have run, in which it writes:
 *   a write to a socket that it has let go of throws where nobody catches.
 */
function outspoken(socket: Socket): Socket {
  socket.once('end', () => {
    const message = socket.bytesRead === 0 ? 'the server hung up before it answered' : 'the server hung up';
    socket.destroy(lost('ECONNRESET', message));
  });
  const emit = socket.emit.bind(socket);
  socket.emit = (event: string | symbol, ...about: unknown[]): boolean => {
    if (event !== 'close') return emit(event, ...about);
    // One for what was to be written when it closed, one for what that led to.
    inTurns(2, () => emit('close', false));
    return true;
  };
  return socket;
}

function inTurns(turns: number, work: () => void): void {
  setImmediate(() => (turns === 1 ? work() : inTurns(turns - 1, work)));
}
