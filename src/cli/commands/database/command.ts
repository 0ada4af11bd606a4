/** `longtail database`: keeps the embedded server running, so that other programs can connect to it. */
import type { Command } from 'commander';
import { EXIT } from '../../process/exit-code.ts';
import type { Session } from '../session.ts';

export function registerDatabase(program: Command, session: Session): void {
  program
    .command('database')
    .summary('keep the embedded PostgreSQL running, and print how to connect')
    .description(
      'Runs the embedded PostgreSQL of .longtail/ until Ctrl-C, and prints how to connect to it: a line for psql, and ' +
        'a URL with its password for other programs. Only this machine can reach it.',
    )
    .action(async () => {
      const { runDatabase } = await import('./run.ts');
      await runDatabase(session);
      session.endWith(EXIT.complete);
    });
}
