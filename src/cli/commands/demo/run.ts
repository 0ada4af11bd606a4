/** `longtail demo`: an emulator in a process of its own, a new database in the embedded server, one synchronisation. */
import { type ChildProcess, fork } from 'node:child_process';
import { extname } from 'node:path';
import { daysBetween } from '../../../domain/day.ts';
import { LongtailError } from '../../../domain/errors.ts';
import { startEmbedded } from '../../../embedded-postgres/embedded.ts';
import { connect } from '../../../postgres/connection/connect.ts';
import { haltWords } from '../../../report/events.ts';
import { createLog } from '../../../report/log.ts';
import { count, counted, cut, plain, table } from '../../../report/render.ts';
import { speed } from '../../../report/summary.ts';
import { createSync } from '../../../sync/sync.ts';
import type { Outcome } from '../../../sync/types.ts';
import { EXIT, exitCodeOfOutcome } from '../../process/exit-code.ts';
import type { Output } from '../../terminal/output.ts';
import { connectLine } from '../database-place.ts';
import type { Session } from '../session.ts';
import { follow } from '../sync/run.ts';
import type { DemoEmulatorMessage, DemoEmulatorOptions } from './emulator.ts';

/** The parsed options. Each is valid on its own. */
export interface DemoFlags {
  readonly days: number;
  readonly rowsPerDay: number;
  readonly maxConcurrency: number | 'auto';
}

const SITE = 'sc-domain:example.com';
const DATABASE_PREFIX = 'demo_';
const QUERIES_SHOWN = 10;
/** Lets the table fit a terminal of 80 columns. */
const MAX_QUERY_WIDTH = 38;
const INTERRUPTED_CLOSE_MS = 250;
const CLOSE_MS = 10_000;

/** @throws LongtailError where the embedded server cannot run. */
export async function runDemo(flags: DemoFlags, session: Session): Promise<void> {
  const { output, redactor } = session;
  const { signal, asked } = session.catchSignals();
  output.print(
    `Longtail demo: ${counted(flags.days, 'day')} of a made-up property, by page and by page and query,\n` +
      'from an emulator of Google’s API into an embedded PostgreSQL.\n',
  );
  const opening = Promise.all([
    startEmulatorProcess({ siteUrl: SITE, rowsPerDay: flags.rowsPerDay }),
    startEmbedded({ log: output.note }),
  ]);
  const opened = await Promise.race([opening, asked]);
  // Halted before anything began: emulator and server end with this process.
  if (opened === undefined) return session.endWith(EXIT.interrupted);
  const [emulator, server] = opened;
  redactor.hidePasswordOf(server.url);
  try {
    const url = await Promise.race([freshDatabase(server.url, session), asked]);
    if (url === undefined) return session.endWith(EXIT.interrupted);
    await using sync = createSync({
      siteUrl: SITE,
      database: url,
      days: flags.days,
      maxConcurrency: flags.maxConcurrency,
      nudgeHeap: true,
      apiRoot: emulator.url,
      credentials: { accessToken: 'demo-token' },
    });
    const log = createLog({ level: undefined, clock: session.clock, write: output.note });
    const outcome = await follow(sync, session, log, { signal, bar: true });
    session.endWith(exitCodeOfOutcome(outcome));
    if (outcome.status !== 'complete') {
      reportUnfinished(outcome, output);
      return;
    }
    await Promise.race([printResult(outcome, url, output), asked]);
    if (signal.aborted) return session.endWith(EXIT.interrupted);
    output.print(nextSteps(connectLine(url, server.directory), session));
  } finally {
    await Promise.all([
      emulator.close(),
      server.close({ waitMs: signal.aborted ? INTERRUPTED_CLOSE_MS : CLOSE_MS }),
    ]);
  }
}

/** Creates an empty database, so that every demo copies everything. Drops those of earlier demos. */
async function freshDatabase(serverUrl: string, { clock }: Session): Promise<string> {
  const server = await connect(serverUrl, { max: 1, applicationName: 'longtail demo' });
  try {
    const { sql } = server;
    const old = await sql<{ name: string }[]>`
      select datname as name from pg_database d where datname like ${`${DATABASE_PREFIX.replace('_', '\\_')}%`}
        and not exists (select from pg_stat_activity a where a.datid = d.oid)`;
    for (const { name } of old) await sql.unsafe(`drop database if exists "${name}"`);
    const name = DATABASE_PREFIX + clock.now().toString(36);
    await sql.unsafe(`create database "${name}" template template0 encoding 'UTF8'`);
    const url = new URL(serverUrl);
    url.pathname = `/${name}`;
    return url.href;
  } finally {
    await server.close();
  }
}

function reportUnfinished(outcome: Outcome, output: Output): void {
  if (outcome.status === 'failed') output.error(outcome.failure.message, outcome.failure.nextStep);
  else if (outcome.status === 'halted')
    output.print(`Halted: ${haltWords(outcome.haltReason)}. The demo starts from scratch each time.`);
  else
    output.print(
      `${counted(outcome.failures.length, 'slice')} failed: ${plain(outcome.failures[0]?.reason ?? '')}`,
    );
}

async function printResult(outcome: Outcome, databaseUrl: string, output: Output): Promise<void> {
  const { colours } = output;
  const database = await connect(databaseUrl, { max: 1, applicationName: 'longtail demo' });
  try {
    const { sql } = database;
    const top = await sql<{ query: string; clicks: number; impressions: number; position: number }[]>`
      select query, sum(clicks)::float8 as clicks, sum(impressions)::float8 as impressions,
        (sum(position * impressions) / nullif(sum(impressions), 0))::float8 as position
      from search_analytics where dataset = 'page+query'
      group by query order by clicks desc, query limit ${QUERIES_SHOWN}`;
    const totals = await sql<{ dataset: string; rows: number; clicks: number; impressions: number }[]>`
      select dataset, count(*)::float8 as rows, sum(clicks)::float8 as clicks, sum(impressions)::float8 as impressions
      from search_analytics group by dataset order by dataset`;
    const days = daysBetween(outcome.from, outcome.to) + 1;
    output.print(
      colours.bold(`The ten top queries of ${counted(days, 'day')}, ${outcome.from} to ${outcome.to}`),
    );
    output.print(
      table(
        [
          { title: 'Query' },
          { title: 'Clicks', align: 'right' },
          { title: 'Impressions', align: 'right' },
          { title: 'CTR', align: 'right' },
          { title: 'Position', align: 'right' },
        ],
        top.map(({ query, clicks, impressions, position }) => [
          cut(plain(query), MAX_QUERY_WIDTH),
          count(clicks),
          count(impressions),
          `${((100 * clicks) / Math.max(1, impressions)).toFixed(1)} %`,
          position.toFixed(1),
        ]),
        colours.dim,
      ),
    );
    output.print(`\n${colours.bold('The totals')}`);
    output.print(
      table(
        [
          { title: 'Dataset' },
          { title: 'Rows', align: 'right' },
          { title: 'Clicks', align: 'right' },
          { title: 'Impressions', align: 'right' },
        ],
        totals.map(({ dataset, rows, clicks, impressions }) => [
          dataset,
          count(rows),
          count(clicks),
          count(impressions),
        ]),
        colours.dim,
      ),
    );
    const [byPage, byQuery] = totals;
    if (byPage !== undefined && byQuery !== undefined && byQuery.clicks < byPage.clicks) {
      output.print(
        colours.dim(
          '  Google withholds rare queries, and so does the emulator:\n  by query, some clicks are missing.',
        ),
      );
    }
    output.print(
      `\n${colours.green(speed(outcome.rows, outcome.durationMs))}, ${counted(outcome.httpCalls, 'call')}.`,
    );
  } finally {
    await database.close();
  }
}

function nextSteps(connect: string, { self, output: { colours } }: Session): string {
  return `
${colours.bold('Look into it')}: leave "${self} database" running in another terminal, then
  ${connect}

${colours.bold('Your own property')}: make a service account in Google Cloud, download its key
file, and add its address as a user of the property in Search Console
(Settings → Users and permissions). Then:
  ${self} sites --credentials key.json
  ${self} sync --site sc-domain:your-domain.com --credentials key.json
Into a PostgreSQL of your own: --database-url postgres://… or DATABASE_URL.`;
}

/** Starts the emulator in its own process, so that it does not slow down the synchronisation. */
async function startEmulatorProcess(
  options: DemoEmulatorOptions,
): Promise<{ readonly url: string; readonly close: () => Promise<void> }> {
  const here = import.meta.url;
  // `.ts` in a test, `.js` in the build.
  const file = new URL(`./emulator${extname(here)}`, here);
  const child = fork(file, [JSON.stringify(options)], {
    // In its own session, Ctrl-C does not reach it. It exits when its channel closes.
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    execArgv: [],
  });
  const message = await firstMessage(child);
  if (message.kind === 'failed') {
    throw new LongtailError(
      'INTERNAL',
      `The demo’s emulator did not start: ${message.reason}`,
      'Run it again.',
    );
  }
  return {
    url: message.url,
    close: () =>
      new Promise((resolve) => {
        if (child.exitCode !== null || child.signalCode !== null) return resolve();
        child.once('exit', () => resolve());
        if (child.connected) child.disconnect();
      }),
  };
}

function firstMessage(child: ChildProcess): Promise<DemoEmulatorMessage> {
  return new Promise((resolve) => {
    // Only emulator.ts writes to this channel.
    child.once('message', (message) => resolve(message as DemoEmulatorMessage));
    child.once('error', (error) => resolve({ kind: 'failed', reason: error.message }));
    child.once('exit', (code) => resolve({ kind: 'failed', reason: `it ended with ${code ?? 'a signal'}` }));
  });
}
