/** Sends prepared bytes to every client that connects, as many as its first message says, and then ends the connection. */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';

export interface LoopbackTask {
  readonly bytes: number;
}

process.on('disconnect', () => process.exit());
// Only loopback.ts starts this, with such a task.
const [{ bytes }] = (await once(process, 'message')) as [LoopbackTask];
const chunk = Buffer.alloc(256 * 1024, 'x');
const server = createServer(async (socket) => {
  socket.on('error', () => undefined);
  for (let left = bytes; left > 0; left -= chunk.length) {
    if (!socket.write(chunk.subarray(0, left))) await once(socket, 'drain');
  }
  socket.end();
});
server.listen(0, '127.0.0.1', () => {
  // Not a pipe: it listens on a port.
  process.send?.((server.address() as AddressInfo).port);
});
