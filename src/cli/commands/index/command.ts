/** `longtail index`: its options. What it does is in `run.ts`. */
import type { Command } from 'commander';
import type { Session } from '../session.ts';
import type { IndexFlags } from './run.ts';

export function registerIndex(program: Command, session: Session): void {
  program
    .command('index')
    .summary('create or drop the indexes for reading by page or by query')
    .description(
      'Creates an index on the rows, while runs and readers go on: then page = … and page like ‘https://…/x%’ read ' +
        'what they show. Without --page and --query, says which there are. Each takes disk, and makes writing slower.',
    )
    .option('--page', 'the index on page')
    .option('--query', 'the index on query')
    .option('--drop', 'drop them instead')
    .option('--database-url <url>', 'as for sync; without it, or DATABASE_URL, the embedded PostgreSQL')
    .option('--json', 'as one JSON object')
    .action(async (flags: IndexFlags) => {
      const { runIndex } = await import('./run.ts');
      await runIndex(flags, session);
    });
}
