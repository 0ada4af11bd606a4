import { chmod, mkdtemp, rmdir, unlink } from 'node:fs/promises';
import { createServer, type Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { type ControlMessage, LEAVE, onLines, writeMessage } from './control.ts';
import { embeddedError } from './error.ts';
import { FALLBACK_PREFIX, FILES, isFallback } from './files.ts';
import { type Folder, TEMPORARY_FOLDERS } from './folder.ts';

/** A socket's path may hold 104 bytes on macOS, 108 on Linux. */
const MAX_SOCKET_PATH_BYTES = 100;

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
 * Listens in the folder, or where its path is too long for a socket (or its file system has none) in one of our own below
 * the system's temporary one. `starter` is the standard input that the command which started us holds open: it
 * counts as a client until it is closed (`starterGone`: it was, before we got here).
 */
export async function openClients(
  directory: Folder,
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
      if (isFallback(path)) await removeFallback(path);
      else await removeSocket(directory.at(FILES.socket));
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
  folder: Folder,
  onConnection: (socket: Socket) => void,
): Promise<{ server: Server; path: string }> {
  const near = folder.shown(FILES.socket);
  if (Buffer.byteLength(near) <= MAX_SOCKET_PATH_BYTES) {
    // What lies there is left over, and a socket: we hold the lock, and looked.
    await removeSocket(folder.at(FILES.socket));
    try {
      return { server: await listenOn(folder.at(FILES.socket), onConnection), path: near };
    } catch {
      // Shared folders of containers and of virtual machines have no sockets.
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
    `The path of ${folder.path} is too long for a socket, and no temporary folder can be written to.`,
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

/** Removes a socket of ours. */
async function removeSocket(path: string): Promise<void> {
  // Gone already, most often: Node takes it away when the server closes.
  await unlink(path).catch(() => undefined);
}

/** Removes a socket of ours and the temporary folder that was made for it, when it holds nothing else. */
export async function removeFallback(path: string): Promise<void> {
  await removeSocket(path);
  await rmdir(dirname(path)).catch(() => undefined);
}
