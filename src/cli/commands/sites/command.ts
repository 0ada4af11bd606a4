/** `longtail sites`: its options. What it does is in `run.ts`. */
import type { Command } from 'commander';
import { readRoot } from '../options.ts';
import type { Session } from '../session.ts';
import type { SitesFlags } from './run.ts';

export function registerSites(program: Command, session: Session): void {
  program
    .command('sites')
    .summary('the properties these credentials can read')
    .description(
      'Lists the properties that these credentials know in Search Console, and what they may do there.',
    )
    .option('--credentials <file>', 'a service account’s or a sign-in’s JSON file')
    .option('--api-root <url>', 'where the API is', readRoot('--api-root'))
    .option('--token-url <url>', 'where tokens are made', readRoot('--token-url'))
    .option('--json', 'as one JSON object')
    .action(async (flags: SitesFlags) => {
      const { runSites } = await import('./run.ts');
      await runSites(flags, session);
    });
}
