/**
 * A program that uses the embedded server, to be killed: it starts or joins it with the options of its first argument,
 * says where it is in one line of JSON, and closes it at the end of its standard input. It ignores SIGINT, as a command
 * does whose halt is under way.
 */

import { LongtailError } from '../../src/domain/errors.ts';
import { startEmbedded } from '../../src/embedded-postgres/embedded.ts';

process.on('SIGINT', () => say({ kind: 'interrupted' }));

try {
  const server = await startEmbedded(JSON.parse(process.argv[2] ?? '{}'));
  say({ kind: 'ready', url: server.url });
  process.stdin.on('end', async () => {
    await server.close();
    say({ kind: 'closed' });
  });
  process.stdin.resume();
} catch (error) {
  if (!(error instanceof LongtailError)) throw error;
  say({ kind: 'failed', code: error.code, message: error.message, nextStep: error.nextStep });
}

function say(message: Record<string, string>): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
