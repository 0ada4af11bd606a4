import { request } from 'node:http';
import { expect, it } from 'vitest';
import { isOwnHost, serveLoopback } from '../../src/watch/loopback-server.ts';

/** `fetch` does not let one choose the Host. */
function ask(port: number, host: string, path = '/x'): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const asking = request({ host: '127.0.0.1', port, path, headers: { host } }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    asking.on('error', reject).end();
  });
}

it.each([
  ['127.0.0.1', true],
  ['127.0.0.1:9465', true],
  ['localhost:1', true],
  ['[::1]:9465', true],
  ['evil.example', false],
  ['127.0.0.1.evil.example', false],
  ['localhost.evil.example:80', false],
  ['evil.example/127.0.0.1', false],
  ['', false],
  [undefined, false],
])('the host %s', (host, isOwn) => {
  expect(isOwnHost(host)).toBe(isOwn);
});

it('a request for another host, as after DNS rebinding, gets nothing', async () => {
  const server = await serveLoopback(0, (asked) =>
    Promise.resolve(new Response(new URL(asked.url).pathname)),
  );
  try {
    expect(await ask(server.port, `127.0.0.1:${server.port}`)).toEqual({ status: 200, text: '/x' });
    expect(await ask(server.port, `evil.example:${server.port}`)).toMatchObject({ status: 421 });
    expect((await ask(server.port, 'evil.example')).text).not.toContain('/x');
  } finally {
    await server.close();
  }
});

it('a handler that throws is a 500, and the next request is answered', async () => {
  let calls = 0;
  const server = await serveLoopback(0, () => {
    calls += 1;
    return calls === 1 ? Promise.reject(new Error('secret')) : Promise.resolve(new Response('well'));
  });
  try {
    expect(await ask(server.port, 'localhost')).toEqual({ status: 500, text: '' });
    expect(await ask(server.port, 'localhost')).toEqual({ status: 200, text: 'well' });
  } finally {
    await server.close();
  }
});

it('a port that is taken is told of, with what to do', async () => {
  const server = await serveLoopback(0, () => Promise.resolve(new Response('')));
  try {
    await expect(serveLoopback(server.port, () => Promise.resolve(new Response('')))).rejects.toMatchObject({
      code: 'BAD_OPTION',
      message: expect.stringContaining('is used by another program'),
    });
  } finally {
    await server.close();
  }
});
