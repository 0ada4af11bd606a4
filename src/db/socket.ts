import net, { type Socket } from 'node:net';

/** Where the driver means to connect; its own parsed options. */
interface SocketTarget {
  readonly host: readonly string[];
  readonly port: readonly number[];
  readonly path: unknown;
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
 * What takes connections and hangs up (a balancer or a tunnel whose server is away, something that is no PostgreSQL)
 * makes no error, and the driver then connects again and again without a word to whoever waits.
 */
function outspoken(socket: Socket): Socket {
  socket.once('end', () => {
    const message = socket.bytesRead === 0 ? 'the server hung up before it answered' : 'the server hung up';
    socket.destroy(Object.assign(new Error(message), { code: 'ECONNRESET' }));
  });
  return socket;
}
