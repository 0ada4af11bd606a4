import type { Socket } from 'node:net';
import { isPort, isRoleName } from './files.ts';

/**
 * The supervisor's messages to its clients, one line of JSON each. A process is a client as long as it is connected: the
 * system closes the connection when the process dies. A client sends `leave` when it leaves.
 */
export type ControlMessage =
  | { readonly kind: 'note'; readonly text: string }
  /** `user` is the superuser. Supervisors of earlier versions omit it; theirs is `longtail`. */
  | { readonly kind: 'ready'; readonly port: number; readonly user?: string }
  | { readonly kind: 'failed'; readonly message: string; readonly nextStep: string }
  /** This client was the last: the server has stopped. */
  | { readonly kind: 'stopped' }
  /** Other clients remain. */
  | { readonly kind: 'left' };

export const LEAVE = 'leave\n';

/** Messages are short lines. A longer one is not from Longtail. */
const MAX_LINE_CHARS = 64_000;

export function writeMessage(socket: Socket, message: ControlMessage): void {
  if (socket.writable) socket.write(`${JSON.stringify(message)}\n`);
}

/** Calls `take` for every incoming line. */
export function onLines(socket: Socket, take: (line: string) => void): void {
  let rest = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) take(line);
    if (rest.length > MAX_LINE_CHARS) socket.destroy();
  });
}

/** Parses a message. Undefined: the line is none. */
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
