/**
 * A pooler in transaction mode, as PgBouncer is one, in a few lines: clients log in to it, and each transaction is given a
 * session of the server's for as long as it lasts. So a client's next transaction may be in another session, which
 * others have used meanwhile; what they set there stays.
 */
import net, { type Socket } from 'node:net';

export interface FakePooler extends AsyncDisposable {
  /** The target's URL, through this. */
  readonly url: string;
  /** The most sessions that the server had at once, for work. */
  readonly mostSessions: number;
}

export interface FakePoolerOptions {
  /** Sessions at the server. A client whose transaction finds none waits. */
  readonly sessions?: number;
  /** Clients beyond it are refused, as PgBouncer does. */
  readonly maxClients?: number;
}

interface Session {
  readonly socket: Socket;
  client: Client | undefined;
  held: Buffer;
}

interface Client {
  readonly socket: Socket;
  session: Session | undefined;
  isWaiting: boolean;
  waiting: Buffer[];
}

/** Passes logins through: each client logs in over a session of its own, which then joins those that are shared. */
export async function startFakePooler(
  targetUrl: string,
  { sessions = 3, maxClients = 1_000 }: FakePoolerOptions = {},
): Promise<FakePooler> {
  const target = new URL(targetUrl);
  const all = new Set<Socket>();
  const free: Session[] = [];
  const queue: Client[] = [];
  let count = 0;
  let clients = 0;
  let most = 0;

  const lend = (): void => {
    while (queue.length > 0 && free.length > 0) {
      const client = queue.shift();
      if (client === undefined || client.socket.destroyed) continue;
      const session = free.shift();
      if (session === undefined) return void queue.unshift(client);
      session.client = client;
      client.session = session;
      client.isWaiting = false;
      most = Math.max(most, count - free.length);
      for (const bytes of client.waiting.splice(0)) session.socket.write(bytes);
    }
  };

  /** The server's answer to the client that has the session; it is free when a transaction is over. */
  const onServer = (session: Session, bytes: Buffer): void => {
    session.client?.socket.write(bytes);
    session.held = Buffer.concat([session.held, bytes]);
    for (;;) {
      if (session.held.length < 5) return;
      const length = session.held.readUInt32BE(1) + 1;
      if (session.held.length < length) return;
      const isOver = session.held[0] === 0x5a && session.held[5] === 0x49;
      session.held = session.held.subarray(length);
      if (!isOver || session.held.length > 0 || session.client === undefined) continue;
      session.client.session = undefined;
      session.client = undefined;
      free.push(session);
      lend();
    }
  };

  const server = net.createServer((socket) => {
    all.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => socket.destroy());
    clients += 1;
    if (clients > maxClients) {
      socket.once('data', () => socket.end(refusal('no more connections allowed (max_client_conn)')));
      socket.on('close', () => (clients -= 1));
      return;
    }
    const upstream = net.connect({ host: target.hostname, port: Number(target.port), noDelay: true });
    all.add(upstream);
    upstream.on('error', () => upstream.destroy());
    const client: Client = { socket, session: undefined, isWaiting: false, waiting: [] };
    let isIn = false;
    let login = Buffer.alloc(0);
    socket.on('data', (bytes: Buffer) => {
      if (!isIn) return void upstream.write(bytes);
      // Terminate: the client goes, the session stays.
      if (bytes.length === 5 && bytes[0] === 0x58) return void socket.end();
      if (client.session !== undefined) return void client.session.socket.write(bytes);
      client.waiting.push(bytes);
      if (client.isWaiting) return;
      client.isWaiting = true;
      queue.push(client);
      lend();
    });
    socket.on('close', () => {
      clients -= 1;
      // A transaction that a client leaves behind ends with its session.
      if (client.session !== undefined) client.session.socket.destroy();
      if (!isIn) upstream.destroy();
    });
    const onLogin = (bytes: Buffer): void => {
      login = Buffer.concat([login, forgeBackendPid(bytes)]);
      const ready = login.at(-6) === 0x5a && login.at(-1) === 0x49;
      socket.write(forgeBackendPid(bytes));
      if (!ready) return;
      isIn = true;
      upstream.off('data', onLogin);
      if (count >= sessions) return void upstream.destroy();
      count += 1;
      const session: Session = { socket: upstream, client: undefined, held: Buffer.alloc(0) };
      upstream.on('data', (answer: Buffer) => onServer(session, answer));
      upstream.on('close', () => {
        count -= 1;
        const place = free.indexOf(session);
        if (place !== -1) free.splice(place, 1);
        session.client?.socket.destroy();
      });
      free.push(session);
      lend();
    };
    upstream.on('data', onLogin);
    upstream.on('close', () => {
      if (!isIn) socket.destroy();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the pooler has no port');
  const url = new URL(targetUrl);
  url.hostname = '127.0.0.1';
  url.port = String(address.port);
  return {
    url: url.href,
    get mostSessions() {
      return most;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of all) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A key for cancelling that is the pooler's own. */
function forgeBackendPid(bytes: Buffer): Buffer {
  const at = bytes.indexOf(Buffer.from([0x4b, 0, 0, 0, 12]));
  if (at === -1) return bytes;
  const forged = Buffer.from(bytes);
  forged.writeUInt32BE(1_234_567_890, at + 5);
  return forged;
}

function refusal(message: string): Buffer {
  const text = `SFATAL\0VFATAL\0C08P01\0M${message}\0\0`;
  const head = Buffer.alloc(5);
  head.write('E');
  head.writeUInt32BE(Buffer.byteLength(text) + 4, 1);
  return Buffer.concat([head, Buffer.from(text)]);
}
