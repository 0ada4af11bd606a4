/** `longtail sync`: its options. What it does is in `run.ts`. */
import { type Command, Option } from 'commander';
import {
  concurrency,
  LIMITS,
  readAggregation,
  readDatasets,
  readDay,
  readEndOfSlice,
  readFilter,
  readLogFormat,
  readLogLevel,
  readRoot,
  readSite,
  readTypes,
  wholeNumber,
} from '../options.ts';
import type { Session } from '../session.ts';
import type { SyncFlags } from './run.ts';

const help = (self: string): string => `
Environment:
  DATABASE_URL                    as --database-url; without either, an embedded
                                  PostgreSQL under .longtail/
  GOOGLE_APPLICATION_CREDENTIALS  as --credentials
  LONGTAIL_ACCESS_TOKEN           an access token in place of credentials
  LONGTAIL_ACCOUNT                as --account
  LONGTAIL_API_ROOT               as --api-root
  LONGTAIL_TOKEN_URL              as --token-url
  HTTPS_PROXY, NO_PROXY           the proxy, and what is reached without it
  OTEL_…                          traces and metrics, in OpenTelemetry's names

Examples:
  $ ${self} sync --site sc-domain:example.com
  $ ${self} sync --site https://www.example.com/ --days 28 --datasets page
  $ ${self} sync --site sc-domain:example.com --from 2026-01-01 --dry-run

Datasets: with hour, Google has the last ten days. searchAppearance beside
others is fetched by one request for each of its values. "all" means, as far as
Google serves them for a type: date; page, query, country, device,
searchAppearance, page+query, page+country, page+device, query+country,
query+device, page+query+country+device; page and query with searchAppearance;
hour, page+hour, query+hour.

Filters: a dimension (page, query, country, device, searchAppearance), an
operator (equals, notEquals, contains or includes, notContains or excludes,
includingRegex or matches, excludingRegex), and the rest as it stands. Rows that
are fetched by a filter or an aggregation are in search_analytics_filtered.

A property is named as Search Console names it: a domain property
"sc-domain:example.com", or a URL prefix "https://www.example.com/" with its
last slash. They are two properties, each with its own data.`;

export function registerSync(program: Command, session: Session): void {
  program
    .command('sync')
    .summary('copy what Google has and the table lacks')
    .description(
      'Copies a property’s search data into PostgreSQL. Without dates: all days that Google still has and the ' +
        'table lacks. Safe to stop at any moment: the next run resumes where it stopped.',
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
    .addOption(
      new Option(
        '--datasets <list>',
        'what to group by: date, or some of page, query, country, device, searchAppearance, hour joined by +; or all',
      )
        .argParser(readDatasets)
        .default(['page', 'page+query'], 'page,page+query'),
    )
    .addOption(
      new Option('--types <list>', 'web, image, video, news, discover, googleNews; or all')
        .argParser(readTypes)
        .default(['web'], 'web'),
    )
    .option(
      '--filter <condition>',
      "only such rows, as 'page includes /blog/'; may be repeated, all must hold",
      readFilter,
    )
    .option(
      '--aggregation <how>',
      'byPage or byProperty: how impressions are counted; auto leaves it to Google',
      readAggregation,
    )
    .option('--refresh', 'fetch complete days again, too')
    .option('--wait', 'wait while another run has the property or the account, instead of ending with 75')
    .option('--accept-shrunk', 'accept a day that now has less than half of its rows')
    .addOption(
      new Option(
        '--end-of-slice <when>',
        'which page ends a slice: short, empty, or auto: a short one, with samples of what follows',
      )
        .argParser(readEndOfSlice)
        .default('auto'),
    )
    .optionsGroup('From and to:')
    .option('--database-url <url>', 'postgres://user:password@host:5432/database')
    .option('--credentials <file>', 'JSON file of a service account or a sign-in')
    .option('--account <name>', 'whose credentials these are: runs under the same name share one quota')
    .option('--api-root <url>', 'address of the API', readRoot('--api-root'))
    .option('--token-url <url>', 'address of the token endpoint', readRoot('--token-url'))
    .optionsGroup('How fast:')
    .option(
      '--max-concurrency <n>',
      'concurrent calls; auto finds the best number',
      concurrency('--max-concurrency'),
      3,
    )
    .option('--batch-size <n>', 'requests per call', wholeNumber('--batch-size', LIMITS.batchSize), 50)
    .option('--qpm <n>', 'requests per minute', wholeNumber('--qpm', LIMITS.qpm), 1_200)
    .optionsGroup('Output:')
    .option('--dry-run', 'only say what would be fetched')
    .option('--json', 'end with one JSON object on standard output')
    .option(
      '--log-level <level>',
      'log lines in place of the progress bar: error, warn, info, debug, trace',
      readLogLevel,
    )
    .option('--log-format <format>', 'text, or json: one object a line, with site and run id', readLogFormat)
    .option('--quiet', 'say nothing but errors; with --json also the result')
    .addOption(
      new Option(
        '--inspect [port]',
        'let Stately’s inspector watch the machines, by a WebSocket on this machine; any free port',
      ).argParser(wholeNumber('--inspect', [0, 65_535])),
    )
    .addHelpText('after', help(session.self))
    .action(async (flags: SyncFlags) => {
      // Loads most of Longtail. Help and wrong usage should not wait for it.
      const { runSync } = await import('./run.ts');
      await runSync(flags, session);
    });
}
