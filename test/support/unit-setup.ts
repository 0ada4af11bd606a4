/** Holds the `unit` project to its rule: no test of it starts a process, or connects to anything but this machine. */
import { subscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import { afterEach, expect } from 'vitest';

const broken: string[] = [];

subscribe('child_process', () => broken.push('a process was started'));
subscribe('net.client.socket', (message) => {
  const { socket } = message as { readonly socket: Socket };
  socket.on('connectionAttempt', (address: string) => {
    if (!/^(?:127\.|::1$|::ffff:127\.)/.test(address)) broken.push(`a connection to ${address} was tried`);
  });
});

afterEach(() => {
  expect(broken.splice(0), 'no test of the unit project does this').toEqual([]);
});
