/** `longtail sync`: its options. What it does is in `sync-run.ts`. */
import { type Command, Option } from 'commander';
import {
  concurrency,
  LIMITS,
  readDatasets,
  readDay,
  readLogLevel,
  readRoot,
  readSite,
  readTypes,
  wholeNumber,
} from './options.ts';
import type { Session } from './session.ts';
import type { SyncFlags } from './sync-run.ts';

const help = (self: string): string => `
Environment:
  DATABASE_URL                     as --database-url; without both, an embedded PostgreSQL under .longtail/
  GOOGLE_APPLICATION_CREDENTIALS   as --credentials
  LONGTAIL_ACCESS_TOKEN            an access token instead of credentials
  LONGTAIL_ACCOUNT                 as --account
  LONGTAIL_API_ROOT                as --api-root
  LONGTAIL_TOKEN_URL               as --token-url
  OTEL_…                           traces and metrics, as OpenTelemetry names them

Examples:
  $ ${self} sync --site sc-domain:example.com
  $ ${self} sync --site https://www.example.com/ --days 28 --datasets date,page,query
  $ ${self} sync --site sc-domain:example.com --from 2026-01-01 --to 2026-03-31 --dry-run

A property is named as Search Console names it: a domain property "sc-domain:example.com", a URL prefix
"https://www.example.com/" with its last slash. They are two properties with two sets of data.`;

export function registerSync(program: Command, session: Session): void {
  program
    .command('sync')
    .summary('copy what Google has and the table has not')
    .description(
      'Copies a property’s search data into PostgreSQL: without dates, all that Google still has and the table has not.\n' +
        'Safe to stop at any moment and to run again: it goes on where it stopped.',
    )
    .optionsGroup('What:')
    .option('--site <url>', 'the property, as Search Console names it', readSite)
    .option('--from <date>', 'first day, YYYY-MM-DD', readDay('--from'))
    .option('--to <date>', 'last day', readDay('--to'))
    .option(
      '--days <n>',
      'the newest n days that are final, instead of dates',
      wholeNumber('--days', LIMITS.days),
    )
    .option(
      '--datasets <list>',
      'what to group by: date, or page, query, country, device joined by +',
      readDatasets,
      ['page', 'page+query'],
    )
    .addOption(
      new Option('--types <list>', 'web, image, video, news, discover, googleNews')
        .argParser(readTypes)
        .default(['web'], 'web'),
    )
    .option('--refresh', 'fetch again what is complete, too')
    .option('--wait', 'wait for a property or an account that another run holds, instead of ending with 75')
    .option('--accept-shrunk', 'take a day that has less than half of the rows it had')
    .optionsGroup('From and to:')
    .option('--database-url <url>', 'postgres://user:password@host:5432/database')
    .option('--credentials <file>', 'a service account’s or a sign-in’s JSON file')
    .option(
      '--account <name>',
      'whose the access token is (LONGTAIL_ACCESS_TOKEN): its quota is kept under this name',
    )
    .option('--api-root <url>', 'where the API is', readRoot('--api-root'))
    .option('--token-url <url>', 'where tokens are made', readRoot('--token-url'))
    .optionsGroup('How fast:')
    .option(
      '--max-concurrency <n>',
      'calls at once; auto finds out how many pay',
      concurrency('--max-concurrency'),
      3,
    )
    .option('--batch-size <n>', 'requests a call', wholeNumber('--batch-size', LIMITS.batchSize), 50)
    .option('--qpm <n>', 'requests a minute', wholeNumber('--qpm', LIMITS.qpm), 1_200)
    .optionsGroup('Output:')
    .option('--dry-run', 'only say what would be fetched')
    .option('--json', 'end with one JSON object on standard output')
    .option(
      '--log-level <level>',
      'log lines in place of the bar: error, warn, info, debug, trace',
      readLogLevel,
    )
    .addHelpText('after', help(session.self))
    .action(async (flags: SyncFlags) => {
      // Most of longtail hangs on this: help and wrong use should not wait for it.
      const { runSync } = await import('./sync-run.ts');
      await runSync(flags, session);
    });
}
