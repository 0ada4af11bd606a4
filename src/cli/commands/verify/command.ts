/** `longtail verify`: its options. What it does is in `run.ts`. */
import type { Command } from 'commander';
import {
  LIMITS,
  readDataset,
  readDay,
  readLogLevel,
  readRoot,
  readSite,
  readType,
  wholeNumber,
} from '../options.ts';
import type { Session } from '../session.ts';
import type { VerifyFlags } from './run.ts';

const help = (self: string): string => `
A sample of the table’s rows is asked for at Google, row by row, and clicks,
impressions and position are compared. A tenth are keys that the table does not
have on that day. Only final days are drawn, and nothing is written but the end
of the run. It takes the property and the account like sync, and the same
environment.

Exit codes:
  0    all are equal
  1    at least one differs; or it failed
  3    none differs, but some could not be compared
  75   halted by a quota, or another run has the property: run again later

Examples:
  $ ${self} verify --site sc-domain:example.com
  $ ${self} verify --site sc-domain:example.com --dataset page+query \\
      --sample 1000 --seed 7 --report verification.md`;

export function registerVerify(program: Command, session: Session): void {
  program
    .command('verify')
    .summary('compare a sample of the table with Google')
    .description('Draws rows from the table, asks Google for each, and says what differs.')
    .optionsGroup('What:')
    .option('--site <url>', 'the property, as Search Console names it', readSite)
    .option('--sample <n>', 'keys to ask for', wholeNumber('--sample', LIMITS.sample), 100)
    .option('--dataset <name>', 'of this dataset alone, such as page+query', readDataset)
    .option('--type <name>', 'of this search type alone', readType)
    .option('--from <date>', 'first day, YYYY-MM-DD', readDay('--from'))
    .option('--to <date>', 'last day', readDay('--to'))
    .option('--days <n>', 'the newest n days that are final', wholeNumber('--days', LIMITS.days))
    .option('--seed <n>', 'draws the same sample again', wholeNumber('--seed', LIMITS.seed))
    .option('--wait', 'wait while another run has the property or the account, instead of ending with 75')
    .optionsGroup('From and to:')
    .option('--database-url <url>', 'as for sync; without it, or DATABASE_URL, the embedded PostgreSQL')
    .option('--credentials <file>', 'a service account’s or a sign-in’s JSON file')
    .option('--account <name>', 'whose credentials these are: runs under the same name share one quota')
    .option('--api-root <url>', 'where the API is', readRoot('--api-root'))
    .option('--token-url <url>', 'where tokens are made', readRoot('--token-url'))
    .optionsGroup('How fast:')
    .option('--batch-size <n>', 'requests a call', wholeNumber('--batch-size', LIMITS.batchSize), 50)
    .option('--qpm <n>', 'requests a minute', wholeNumber('--qpm', LIMITS.qpm), 1_200)
    .optionsGroup('Output:')
    .option('--report <file>', 'write a report in Markdown, with every difference')
    .option('--json', 'end with one JSON object on standard output')
    .option(
      '--log-level <level>',
      'log lines in place of the progress: error, warn, info, debug, trace',
      readLogLevel,
    )
    .addHelpText('after', help(session.self))
    .action(async (flags: VerifyFlags) => {
      const { runVerify } = await import('./run.ts');
      await runVerify(flags, session);
    });
}
