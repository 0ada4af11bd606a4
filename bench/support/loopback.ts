import { once } from 'node:events';
import { connect } from 'node:net';
import { startChild } from './child.ts';

/** How long this number of bytes takes from one process to another on this machine, in milliseconds. */
export async function measureLoopback(bytes: number): Promise<number> {
  await using child = await startChild(new URL('./loopback-process.ts', import.meta.url), { bytes });
  const port = Number(await child.next());
  const startedMs = performance.now();
  const socket = connect({ port, host: '127.0.0.1' });
  socket.resume();
  await once(socket, 'end');
  const tookMs = performance.now() - startedMs;
  socket.destroy();
  return tookMs;
}
