import { chmod, mkdtemp, rmdir, unlink } from 'node:fs/promises';
import { createServer, type Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { type ControlMessage, LEAVE, onLines, writeMessage } from './control.ts';
import { embeddedError } from './error.ts';
import { FALLBACK_PREFIX, FILES, isFallback } from './files.ts';
import { type Folder, TEMPORARY_FOLDERS } from './folder.ts';

/** A socket's path is limited to 104 bytes on macOS and 108 on Linux. */
const MAX_SOCKET_PATH_BYTES = 100;

/** The processes that use the server. */
export interface Clients {
  /** The socket to which new clients connect. */
  readonly controlPath: string;
  /** Resolves when the last client has gone. From then on no client is accepted. */
  readonly gone: Promise<void>;
  /** Sends a message to all clients. The latest `ready` or `failed` is also sent to each new client. */
  tell(message: ControlMessage): void;
  /** Tells waiting clients that the server has stopped, and removes the socket. */
  close(): Promise<void>;
}

/**
 * Listens on a socket in the folder, or, if the path is too long or the file system has no sockets, in a temporary folder.
 * `starter` is the standard input that the starting command holds open. It counts as a client until it is closed.
 * `starterGone` says that it was closed before this call.
 */
export async function openClients(
  directory: Folder,
  starter: Readable,
  starterGone: boolean,
): Promise<Clients> {
  const holders = new Set<Readable>([starter]);
  /** Clients that have left and wait to hear whether others remain or the server has stopped. */
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
  /** While only the starter is left, leavers get no answer yet: the starter either connects next or closes its input. */
  const dismissLeavers = (): void => {
    if (holders.size === 0 || (holders.size === 1 && holders.has(starter))) return;
    for (const socket of leavers) writeMessage(socket, { kind: 'left' });
    leavers.clear();
  };
  const onConnection = (socket: Socket): void => {
    // It connected during the shutdown. It sees its connection close and starts a supervisor itself.
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
      if (isFallback(path)) await removeFallback(path);
      else await removeSocket(directory.at(FILES.socket));
      // Their connections stay open: the system closes them when this process has really ended.
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
  folder: Folder,
  onConnection: (socket: Socket) => void,
): Promise<{ server: Server; path: string }> {
  const near = folder.shown(FILES.socket);
  if (Buffer.byteLength(near) <= MAX_SOCKET_PATH_BYTES) {
    // Whatever lies there is left over: this process holds the lock, and has checked that it is a socket.
    await removeSocket(folder.at(FILES.socket));
    try {
      return { server: await listenOn(folder.at(FILES.socket), onConnection), path: near };
    } catch {
      // Shared folders of containers and virtual machines do not support sockets.
    }
  }
  let reason: unknown;
  for (const parent of new Set([tmpdir(), ...TEMPORARY_FOLDERS])) {
    if (Buffer.byteLength(join(parent, `${FALLBACK_PREFIX}123456`, FILES.socket)) > MAX_SOCKET_PATH_BYTES)
      continue;
    let made: string | undefined;
    try {
      made = await mkdtemp(join(parent, FALLBACK_PREFIX));
      const far = join(made, FILES.socket);
      return { server: await listenOn(far, onConnection), path: far };
    } catch (error) {
      reason = error;
      if (made !== undefined) await rmdir(made).catch(() => undefined);
    }
  }
  throw embeddedError(
    `The path of ${folder.path} is too long for a socket, and no temporary folder is writable.`,
    'Set TMPDIR to a folder with a short path, or start longtail in one.',
    reason,
  );
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

/** Removes one of Longtail's sockets. */
async function removeSocket(path: string): Promise<void> {
  // Usually it is gone already: Node removes it when the server closes.
  await unlink(path).catch(() => undefined);
}

/** Removes one of Longtail's sockets, and its temporary folder if nothing else is in it. */
export async function removeFallback(path: string): Promise<void> {
  await removeSocket(path);
  await rmdir(dirname(path)).catch(() => undefined);
}
