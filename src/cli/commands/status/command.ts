/** `longtail status`: its options. What it does is in `run.ts`. */
import type { Command } from 'commander';
import { readSite } from '../options.ts';
import type { Session } from '../session.ts';
import type { StatusFlags } from './run.ts';

export function registerStatus(program: Command, session: Session): void {
  program
    .command('status')
    .summary('what is complete, open, failed, missing, by dataset and month')
    .description(
      'Says what the database has: complete, open, failed, missing and capped days, by dataset and month, and the ' +
        'share of the clicks that Google hides.',
    )
    .option('--site <url>', 'of this property alone', readSite)
    .option('--database-url <url>', 'as for sync; without it, or DATABASE_URL, the embedded PostgreSQL')
    .option('--failed', 'list the failed days, with the reasons')
    .option('--json', 'as one JSON object')
    .action(async (flags: StatusFlags) => {
      const { runStatus } = await import('./run.ts');
      await runStatus(flags, session);
    });
}
