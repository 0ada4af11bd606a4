import net, { type Socket } from 'node:net';

/** Where the driver means to connect; its own parsed options. */
interface SocketTarget {
  readonly host: readonly string[];
  readonly port: readonly number[];
  readonly path: unknown;
}

/** Sockets made here that are open. */
const open = new Set<Socket>();

/** The one socket of ours to which `write` has written, at once, as many bytes as that; undefined when there is none. */
export function socketWrittenTo(bytes: number, write: () => void): Socket | undefined {
  const before = new Map([...open].map((socket) => [socket, socket.bytesWritten]));
  write();
  const written = [...before].filter(([socket, had]) => socket.bytesWritten !== had);
  const [only] = written;
  if (only === undefined || written.length > 1) return undefined;
  const [socket, had] = only;
  return socket.bytesWritten === had + bytes ? socket : undefined;
}

/**
 * Makes the driver's sockets, without Nagle's algorithm: COPY's end is a small write after another, which would wait
 * for an acknowledgement that the server delays by 40 ms, on every page.
 *
 * The socket is handed over while it connects. Its failure then reaches the driver as an event; one that this function
 * threw would cost the pool a connection for good.
 */
export function socketFactory(): (target: SocketTarget) => Socket {
  let turn = 0;
  return ({ host, port, path }) => {
    if (typeof path === 'string') return outspoken(net.connect(path));
    // Several hosts are tried one after another, as the driver does.
    const place = turn % host.length;
    turn += 1;
    const name = host[place] ?? 'localhost';
    const socket = net.connect({ host: name, port: port[place] ?? 5432, noDelay: true });
    // The driver names it to TLS.
    return Object.assign(outspoken(socket), { host: name });
  };
}

/**
 * Mends three habits of the driver (postgres 3.4), each of which leaves somebody waiting for ever.
 *
 * - What takes connections and hangs up (a balancer or a tunnel whose server is away, something that is no PostgreSQL)
 *   makes no error, and the driver connects again and again without a word: the end is made an error.
 * - It gathers small writes for its next immediate, and forgets, when the socket closes first, that this one was
 *   cancelled: its next connection says nothing. So the close is told when the immediates have run, and a socket on which
 *   the driver is silent all the same is failed at once, until what has gathered is large enough to be sent.
 * - What it takes on between a socket's error and its close it forgets: it fails what is open at the close only where no
 *   error came before. So it is told of none.
 */
function outspoken(socket: Socket): Socket {
  open.add(socket);
  socket.once('close', () => open.delete(socket));
  socket.once('end', () => {
    const message = socket.bytesRead === 0 ? 'the server hung up before it answered' : 'the server hung up';
    socket.destroy(Object.assign(new Error(message), { code: 'ECONNRESET' }));
  });
  const emit = socket.emit.bind(socket);
  socket.emit = (event: string | symbol, ...about: unknown[]): boolean => {
    if (event !== 'close') return emit(event, ...about);
    // One for what was to be written when it closed, one for what that led to.
    inTurns(2, () => emit('close', false));
    return true;
  };
  inTurns(SILENT_TURNS, () => {
    if (socket.bytesWritten === 0 && !socket.destroyed) {
      socket.destroy(Object.assign(new Error('the driver says nothing'), { code: 'ECONNRESET' }));
    }
  });
  return socket;
}

/** Turns of the event loop in which the driver has long begun to speak: it does in the next. */
const SILENT_TURNS = 4;

function inTurns(turns: number, work: () => void): void {
  setImmediate(() => (turns === 1 ? work() : inTurns(turns - 1, work)));
}
