import type { Socket } from 'node:net';
import { isPort, isRoleName } from './files.ts';

/**
 * What a supervisor tells its clients, a line of JSON each. A client is registered by being connected: the system
 * closes the connection of one that dies, however it dies. It says `leave` when it goes.
 */
export type ControlMessage =
  | { readonly kind: 'note'; readonly text: string }
  /** `user` is the superuser; without it, from an earlier version's supervisor, `longtail`. */
  | { readonly kind: 'ready'; readonly port: number; readonly user?: string }
  | { readonly kind: 'failed'; readonly message: string; readonly nextStep: string }
  /** It was the last: the server has stopped. */
  | { readonly kind: 'stopped' }
  /** Others remain. */
  | { readonly kind: 'left' };

export const LEAVE = 'leave\n';

/** A message is a short line; more than this without an end is not one of ours. */
const MAX_LINE_CHARS = 64_000;

export function writeMessage(socket: Socket, message: ControlMessage): void {
  if (socket.writable) socket.write(`${JSON.stringify(message)}\n`);
}

/** Calls `take` for every line that comes in. */
export function onLines(socket: Socket, take: (line: string) => void): void {
  let rest = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) take(line);
    if (rest.length > MAX_LINE_CHARS) socket.destroy();
  });
}

/** A line as a message, or undefined when it is not one. */
export function readMessage(line: string): ControlMessage | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  return isMessage(value) ? value : undefined;
}

function isMessage(value: unknown): value is ControlMessage {
  if (typeof value !== 'object' || value === null || !('kind' in value)) return false;
  switch (value.kind) {
    case 'note':
      return 'text' in value && typeof value.text === 'string';
    case 'ready':
      return 'port' in value && isPort(value.port) && (!('user' in value) || isRoleName(value.user));
    case 'failed':
      return (
        'message' in value &&
        typeof value.message === 'string' &&
        'nextStep' in value &&
        typeof value.nextStep === 'string'
      );
    case 'stopped':
    case 'left':
      return true;
    default:
      return false;
  }
}
