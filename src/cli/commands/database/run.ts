/** `longtail database`: runs the embedded server until it is told to stop. */
import { startEmbedded } from '../../../embedded-postgres/embedded.ts';
import { connectLine, urlForOthers } from '../database-place.ts';
import type { Session } from '../session.ts';

/** @throws LongtailError where the embedded server cannot run. */
export async function runDatabase(session: Session): Promise<void> {
  const { output, redactor } = session;
  const { asked } = session.catchSignals('Stopping.');
  // An open timer is what keeps this process alive; the server's connection does not.
  const alive = setInterval(() => undefined, 60_000);
  try {
    const server = await Promise.race([startEmbedded({ log: output.note }), asked]);
    if (server === undefined) return;
    redactor.hidePasswordOf(server.url);
    output.print(`PostgreSQL is up, its data under ${server.directory}. Connect with:\n`);
    output.print(`  ${connectLine(server.url, server.directory)}\n`);
    // Others have no way to read the password's file. It opens this server alone, to programs on this machine alone.
    output.print('Or, in other programs, with this URL (the password is in it):\n');
    // Past the redactor, which is right everywhere else: this is what the command is for.
    process.stdout.write(`  ${urlForOthers(server.url)}\n\n`);
    output.print('The rows are in the view search_analytics; filter one dataset, or sums double.');
    output.print('Ctrl-C stops it.');
    await asked;
    await server.close();
  } finally {
    clearInterval(alive);
  }
}
