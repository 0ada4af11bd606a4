/** `longtail demo`: its options. What it does is in `run.ts`. */
import type { Command } from 'commander';
import { concurrency, wholeNumber } from '../options.ts';
import type { Session } from '../session.ts';
import type { DemoFlags } from './run.ts';

export function registerDemo(program: Command, session: Session): void {
  program
    .command('demo')
    .summary('copy a made-up property, to see it work')
    .description(
      'Copies a made-up property from an emulator of the Search Console API into an embedded PostgreSQL under ' +
        '.longtail/, and shows the result. It needs no account, no database and no network.',
    )
    .option('--days <n>', 'days of history', wholeNumber('--days', [1, 450]), 150)
    .option('--rows-per-day <n>', 'rows by page and query', wholeNumber('--rows-per-day', [1, 50_000]), 1_000)
    .option(
      '--max-concurrency <n>',
      'concurrent calls; auto finds the best number',
      concurrency('--max-concurrency'),
      3,
    )
    .action(async (flags: DemoFlags) => {
      const { runDemo } = await import('./run.ts');
      await runDemo(flags, session);
    });
}
