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
      'Lists the properties that these credentials can see in Search Console, each with its permission.',
    )
    .option('--credentials <file>', 'JSON file of a service account or a sign-in')
    .option('--api-root <url>', 'address of the API', readRoot('--api-root'))
    .option('--token-url <url>', 'address of the token endpoint', readRoot('--token-url'))
    .option('--json', 'print one JSON object')
    .action(async (flags: SitesFlags) => {
      const { runSites } = await import('./run.ts');
      await runSites(flags, session);
    });
}
