import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { type ControlMessage, LEAVE, onLines, writeMessage } from './embedded-control.ts';

/** A socket's path may hold 104 bytes on macOS, 108 on Linux. */
const MAX_SOCKET_PATH_BYTES = 100;
const FALLBACK_PREFIX = 'longtail-control-';

/** Those for whom the server runs. */
export interface Clients {
  /** Where new ones connect. */
  readonly controlPath: string;
  /** Resolves when the last one is gone. From then on nobody is let in. */
  readonly gone: Promise<void>;
  /** Tells everyone who is there; the newest `ready` or `failed` also greets those who come. */
  tell(message: ControlMessage): void;
  /** Tells those who wait for it that the server has stopped, and takes the socket away. */
  close(): Promise<void>;
}

/**
 * Listens in `directory`, or where its path is too long for a socket (or its file system has none) in a folder of our own
 * below the system's temporary one. `starter` is the standard input that the command which started us holds open: it
 * counts as a client until it is closed (`starterGone`: it was, before we got here).
 */
export async function openClients(
  directory: string,
  starter: Readable,
  starterGone: boolean,
): Promise<Clients> {
  const holders = new Set<Readable>([starter]);
  /** Those that left, and want to hear whether others go on or it is over. */
  const leavers = new Set<Socket>();
  let greeting: ControlMessage | undefined;
  let closed = false;
  let onGone: () => void = () => undefined;
  const gone = new Promise<void>((resolve) => {
    onGone = resolve;
  });

  const drop = (holder: Readable): void => {
    if (!holders.delete(holder) || holders.size > 0) return;
    closed = true;
    onGone();
  };
  /** While the starter alone is left it is open how it goes on: it connects itself next, or closes what it holds. */
  const dismissLeavers = (): void => {
    if (holders.size === 0 || (holders.size === 1 && holders.has(starter))) return;
    for (const socket of leavers) writeMessage(socket, { kind: 'left' });
    leavers.clear();
  };
  const onConnection = (socket: Socket): void => {
    // It came while we were going: it sees its connection closed, and starts a supervisor of its own.
    if (closed) {
      socket.destroy();
      return;
    }
    holders.add(socket);
    dismissLeavers();
    socket.on('error', () => undefined);
    socket.on('close', () => {
      leavers.delete(socket);
      drop(socket);
    });
    onLines(socket, (line) => {
      if (`${line}\n` !== LEAVE || !holders.has(socket)) return;
      leavers.add(socket);
      drop(socket);
      dismissLeavers();
    });
    if (greeting !== undefined) writeMessage(socket, greeting);
  };

  const { server, path } = await listen(directory, onConnection);
  starter.on('close', () => drop(starter));
  if (starterGone || starter.destroyed) drop(starter);

  return {
    controlPath: path,
    gone,
    tell(message) {
      if (message.kind === 'ready' || message.kind === 'failed') greeting = message;
      for (const holder of holders) {
        if (holder instanceof Socket && holder !== starter) writeMessage(holder, message);
      }
    },
    async close() {
      closed = true;
      server.close();
      await removeSocket(path);
      // Their connections stay open: the system closes them when this process is really gone.
      await Promise.all([...leavers].map((socket) => flushed(socket, { kind: 'stopped' })));
    },
  };
}

function flushed(socket: Socket, message: ControlMessage): Promise<void> {
  return new Promise((resolve) => {
    if (!socket.writable) resolve();
    else socket.write(`${JSON.stringify(message)}\n`, () => resolve());
  });
}

async function listen(
  directory: string,
  onConnection: (socket: Socket) => void,
): Promise<{ server: Server; path: string }> {
  const near = join(directory, 'control.sock');
  if (Buffer.byteLength(near) <= MAX_SOCKET_PATH_BYTES) {
    // What lies there is left over: we hold the lock.
    await rm(near, { force: true });
    try {
      return { server: await listenOn(near, onConnection), path: near };
    } catch {
      // Shared folders of containers and of virtual machines have no sockets.
    }
  }
  const far = join(await mkdtemp(join(tmpdir(), FALLBACK_PREFIX)), 'control.sock');
  return { server: await listenOn(far, onConnection), path: far };
}

async function listenOn(path: string, onConnection: (socket: Socket) => void): Promise<Server> {
  const server = createServer(onConnection);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  await chmod(path, 0o600);
  return server;
}

/** Removes a socket, and the folder that was made for it alone. */
export async function removeSocket(path: string): Promise<void> {
  const folder = dirname(path);
  if (basename(folder).startsWith(FALLBACK_PREFIX)) await rm(folder, { recursive: true, force: true });
  else await rm(path, { force: true });
}
