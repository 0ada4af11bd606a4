// @module-tag long
import { createServer, type Socket } from 'node:net';
import { afterAll, describe, expect, it } from 'vitest';
import { expectRefusal, runInProcess, SITE, useEmptyFolder } from './support/command.ts';

const { left } = useEmptyFolder();
afterAll(() => expect(left()).toEqual([]));

/** Something that listens where a PostgreSQL should. */
async function listener(answer: (socket: Socket) => void) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    answer(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `postgres://someone:geheim1@127.0.0.1:${address.port}/nothing`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const http =
  'HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n400 Bad Request';

/** Those that neither answer nor hang up take as long as connecting may. */
describe.concurrent('a database that is', () => {
  it.each<readonly [string, (socket: Socket) => void]>([
    ['something that hangs up at once', (socket) => socket.end()],
    ['something that resets', (socket) => socket.resetAndDestroy()],
    [
      'something that resets when it is spoken to',
      (socket) => socket.once('data', () => socket.resetAndDestroy()),
    ],
    ['something that hangs up when it is spoken to', (socket) => socket.once('data', () => socket.end())],
    ['a web server', (socket) => socket.once('data', () => socket.end(http))],
    ['a web server that keeps the connection', (socket) => socket.once('data', () => socket.write(http))],
    ['an SSH server', (socket) => socket.write('SSH-2.0-OpenSSH_9.6\r\n')],
    ['a mail server', (socket) => socket.write('220 mail.example.com ESMTP\r\n')],
    ['a MySQL server', (socket) => socket.write(Buffer.from('4a0000000a382e302e3335000800000000', 'hex'))],
    ['NUL bytes', (socket) => socket.write(Buffer.alloc(4_096))],
    ['half a message', (socket) => socket.once('data', () => socket.end(Buffer.from([0x52, 0, 0, 0])))],
    ['silence', () => undefined],
  ])('%s', { timeout: 30_000 }, async (_, answer) => {
    await using there = await listener(answer);
    const env = { LONGTAIL_ACCESS_TOKEN: 'a-token', DATABASE_URL: there.url };
    const commands = [['sync', ...SITE], ['status']];
    const ended = await Promise.all(commands.map((command) => runInProcess(command, env)));
    for (const one of ended) {
      expectRefusal(one, [1]);
      expect(one.stderr).toMatch(
        /does not respond: (?:no connection in time|the server hung up|the server closed the connection[^\n]*|the server reset the connection)/,
      );
    }
  });
});
