/** `longtail database`: runs the embedded server until a signal. */
import { startEmbedded } from '../../../embedded-postgres/embedded.ts';
import { connectLine, urlForOthers } from '../database-place.ts';
import type { Session } from '../session.ts';

/** @throws LongtailError if the embedded server cannot run. */
export async function runDatabase(session: Session): Promise<void> {
  const { output, redactor } = session;
  const { asked } = session.catchSignals('Stopping.');
  // The timer keeps this process alive. The connection to the server does not.
  const alive = setInterval(() => undefined, 60_000);
  try {
    const server = await Promise.race([startEmbedded({ log: output.note }), asked]);
    if (server === undefined) return;
    redactor.hidePasswordOf(server.url);
    output.print(`PostgreSQL is up, its data under ${server.directory}. Connect with:\n`);
    output.print(`  ${connectLine(server.url, server.directory)}\n`);
    // Other programs cannot read the password from its file. It is valid only for this server, and only on this machine.
    output.print('Or, in other programs, with this URL (the password is in it):\n');
    // Bypasses the redactor, because printing the password is what this command is for.
    process.stdout.write(`  ${urlForOthers(server.url)}\n\n`);
    output.print('The rows are in the view search_analytics; filter one dataset, or sums double.');
    output.print('Ctrl-C stops it.');
    await asked;
    await server.close();
  } finally {
    clearInterval(alive);
  }
}
