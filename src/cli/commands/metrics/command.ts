/** `longtail metrics`: its options. What it does is in `run.ts`. */
import type { Command } from 'commander';
import { wholeNumber } from '../options.ts';
import type { Session } from '../session.ts';
import type { MetricsFlags } from './run.ts';

const DEFAULT_PORT = 9_465;

export function registerMetrics(program: Command, session: Session): void {
  program
    .command('metrics')
    .summary('serve what the database has to Prometheus')
    .description(
      'Serves http://127.0.0.1:PORT/metrics until Ctrl-C: for each property the last success, days behind, days by ' +
        'state, rows and capped days, read from the database, without a run. Only this machine can reach it.',
    )
    .option(
      '--port <n>',
      'port to listen on; 0 picks a free one',
      wholeNumber('--port', [0, 65_535]),
      DEFAULT_PORT,
    )
    .option('--database-url <url>', 'as for sync; without it, or DATABASE_URL, the embedded PostgreSQL')
    .action(async (flags: MetricsFlags) => {
      const { runMetrics } = await import('./run.ts');
      await runMetrics(flags, session);
    });
}
