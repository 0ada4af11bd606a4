/** `longtail sync`: runs one synchronisation and says how it went. */

import { pacificDay } from '../../../domain/day.ts';
import { LongtailError } from '../../../domain/errors.ts';
import type { Aggregation, Filter } from '../../../domain/filter.ts';
import { peakRssBytes } from '../../../domain/peak-memory.ts';
import type { SearchType } from '../../../domain/slice.ts';
import type { EndOfSlice } from '../../../planning/end-of-slice.ts';
import { keysOf } from '../../../planning/plan.ts';
import {
  brokenEntry,
  concurrencyEntry,
  fallbackEntry,
  noticeEntry,
  progressEntry,
  quotaEntry,
  retryEntry,
  sliceEntry,
  stateEntry,
} from '../../../report/events.ts';
import { createLog, type Log, type LogFormat, type LogLevel, type LogSubject } from '../../../report/log.ts';
import { brokenOff, describeDryRun, jsonOf, type Paint, summarise } from '../../../report/summary.ts';
import { createAuth } from '../../../search-console/auth/auth.ts';
import { proxyFor } from '../../../search-console/http/proxy-settings.ts';
import { readConfig } from '../../../sync/config.ts';
import { createSync } from '../../../sync/sync.ts';
import type { Outcome, ProgressState, Sync, SyncOptions } from '../../../sync/types.ts';
import { usageError } from '../../process/errors.ts';
import { EXIT, exitCodeOfOutcome } from '../../process/exit-code.ts';
import { startTelemetry } from '../../process/otel.ts';
import type { Output } from '../../terminal/output.ts';
import { createProgressView } from '../../terminal/progress-view.ts';
import { type CommandDatabase, namedDatabase, openDatabase } from '../database-place.ts';
import { type AccessFlags, checkRange, noteOnHours, type RangeFlags, readAccess } from '../options.ts';
import type { Session } from '../session.ts';

/** The parsed options. Each is valid on its own. */
export interface SyncFlags extends RangeFlags, AccessFlags {
  readonly site?: string;
  readonly datasets: readonly string[];
  readonly types: readonly SearchType[];
  readonly filter?: readonly Filter[];
  readonly aggregation?: Aggregation;
  readonly maxConcurrency: number | 'auto';
  readonly batchSize: number;
  readonly qpm: number;
  readonly databaseUrl?: string;
  readonly refresh?: boolean;
  readonly wait?: boolean;
  readonly acceptShrunk?: boolean;
  readonly endOfSlice: EndOfSlice;
  readonly dryRun?: boolean;
  readonly json?: boolean;
  readonly logLevel?: LogLevel;
  readonly logFormat?: LogFormat;
  readonly quiet?: boolean;
  /** A port, or true for any. */
  readonly inspect?: number | true;
}

/** Closing is short after a signal. */
const INTERRUPTED_CLOSE_MS = 250;
const CLOSE_MS = 10_000;
const TELEMETRY_MS = 5_000;

/** @throws LongtailError for wrong options and a broken environment. */
export async function runSync(flags: SyncFlags, session: Session): Promise<void> {
  const { env, output, clock } = session;
  const { site, json } = flags;
  if (site === undefined) {
    throw usageError(
      'No property is given.',
      `For example: --site sc-domain:example.com (${session.self} sites lists yours).`,
    );
  }
  const level = flags.logLevel ?? (flags.logFormat === undefined ? undefined : 'info');
  if (flags.quiet === true && level !== undefined) {
    throw usageError('--quiet does not go together with a log.', 'Leave out --log-level and --log-format.');
  }
  const startedAtMs = clock.now();
  const today = pacificDay(startedAtMs);
  const note = checkRange(flags, today);
  const options = syncOptions(site, flags, env);
  // First of all: wrong usage should not start a database server.
  const config = readConfig(options, today);
  namedDatabase(flags.databaseUrl, env);
  if (flags.dryRun !== true) proxyFor(new URL(config.apiRoot), env);
  const subject: LogSubject = { site };
  if (flags.quiet === true) output.hush();
  if (flags.logFormat === 'json') output.speakJson(subject, clock.now);
  for (const told of [note, noteOnHours(config)]) if (told !== undefined) output.note(told);
  const write = flags.logFormat === 'json' ? output.line : output.note;
  const log = createLog({ level, format: flags.logFormat, subject, clock, write });
  try {
    await openAndRun(flags, options, session, { log, subject, bar: level === undefined });
  } catch (error) {
    log(brokenEntry(error));
    if (json === true && flags.dryRun !== true) {
      const { siteUrl, from, to, notServed } = config;
      const durationMs = clock.now() - startedAtMs;
      const figures = brokenOff(
        { siteUrl, from, to, durationMs, peakRssBytes: peakRssBytes(), notServed },
        keysOf(config).length,
      );
      output.print(jsonOf(figures));
    }
    throw error;
  }
}

/** Where a run's events go. */
interface Listening {
  readonly log: Log;
  /** Gets the run's id. */
  readonly subject: LogSubject;
  /** Whether the progress is shown, too. */
  readonly bar: boolean;
}

async function openAndRun(
  flags: SyncFlags,
  options: SyncOptions,
  session: Session,
  listening: Listening,
): Promise<void> {
  const { signal, asked } = session.catchSignals();
  // Credentials are the most frequent problem, so they are checked before anything is set up. A dry run needs none.
  const { credentials, tokenUrl } = options;
  const isNamed = credentials !== undefined && ('file' in credentials || 'accessToken' in credentials);
  if (flags.dryRun !== true || isNamed) {
    await Promise.race([
      createAuth({ credentials, tokenUrl, clock: session.clock, env: session.env }),
      asked,
    ]);
    if (signal.aborted) return session.endWith(EXIT.interrupted);
  }
  const database = await Promise.race([openDatabase(flags.databaseUrl, session), asked]);
  // Halted before anything began; the server that is still starting ends with this process.
  if (database === undefined) return session.endWith(EXIT.interrupted);
  const telemetry = await startTelemetry(session);
  const inspector = await startInspector(flags, session.output);
  const inspect = inspector?.inspect;
  const sync = createSync({
    ...options,
    database: database.url,
    nudgeHeap: true,
    ...(inspect === undefined ? {} : { inspect }),
  });
  let tell: () => void;
  try {
    tell =
      flags.dryRun === true
        ? await planOf(sync, flags, session, signal)
        : await outcomeOf(sync, flags, database, session, listening, signal);
  } finally {
    // Exports the gauges for the last time, before they are gone.
    await telemetry.end(signal.aborted ? INTERRUPTED_CLOSE_MS : TELEMETRY_MS);
    await sync.close();
    await inspector?.close();
    await database.close({ waitMs: signal.aborted ? INTERRUPTED_CLOSE_MS : CLOSE_MS });
  }
  // The result comes last on standard output, after all messages from closing.
  tell();
}

/** Opens what `--inspect` asks for, and says where. */
async function startInspector({ inspect, quiet }: SyncFlags, output: Output) {
  if (inspect === undefined) return undefined;
  const { createInspector, serveInspector } = await import('../../../watch/inspector/index.ts');
  const inspector = createInspector();
  const bridge = await serveInspector(inspector, { port: inspect === true ? 0 : inspect });
  const say = quiet === true ? output.line : output.note;
  say(`The machines can be watched at ${bridge.url}`);
  return {
    inspect: inspector.inspect,
    close: async () => {
      await bridge.close();
      inspector.close();
    },
  };
}

async function planOf(
  sync: Sync,
  { json, qpm, quiet }: SyncFlags,
  session: Session,
  signal: AbortSignal,
): Promise<() => void> {
  try {
    const plan = await sync.dryRun({ signal });
    const result = json === true ? JSON.stringify(plan) : undefined;
    // A dry run without its plan would say nothing at all.
    const words = quiet === true && json === true ? undefined : describeDryRun(plan, qpm);
    return () => tellResult(words, result, session.output);
  } catch (error) {
    if (!(error instanceof LongtailError) || error.code !== 'HALTED') throw error;
    session.endWith(EXIT.interrupted);
    return () => undefined;
  }
}

async function outcomeOf(
  sync: Sync,
  { json, quiet, filter, aggregation = 'auto' }: SyncFlags,
  database: CommandDatabase,
  session: Session,
  { log, subject, bar }: Listening,
  signal: AbortSignal,
): Promise<() => void> {
  const { output } = session;
  const isFiltered = filter !== undefined || aggregation !== 'auto';
  sync.on('started', ({ runId }) => {
    subject.run = runId;
  });
  const outcome = await follow(sync, session, log, { signal, bar });
  session.endWith(exitCodeOfOutcome(outcome));
  const result = json === true ? jsonOf(outcome) : undefined;
  if (outcome.status === 'failed') {
    // An error like any other: two lines, on standard error.
    return () => {
      output.error(outcome.failure.message, outcome.failure.nextStep);
      if (result !== undefined) output.print(result);
    };
  }
  const colours = json === true ? output.noteColours : output.colours;
  const paint: Paint = { good: colours.green, bad: colours.red, weak: colours.dim };
  const view = isFiltered ? 'search_analytics_filtered' : 'search_analytics';
  const words =
    quiet === true ? undefined : `${summarise(outcome, paint)}\n\n${whereItIs(database, session.self, view)}`;
  return () => tellResult(words, result, output);
}

function syncOptions(siteUrl: string, flags: SyncFlags, env: NodeJS.ProcessEnv): SyncOptions {
  const { from, to, days } = flags;
  return {
    siteUrl,
    datasets: flags.datasets,
    searchTypes: flags.types,
    ...(flags.filter === undefined ? {} : { filters: flags.filter }),
    ...(flags.aggregation === undefined ? {} : { aggregation: flags.aggregation }),
    maxConcurrency: flags.maxConcurrency,
    batchSize: flags.batchSize,
    requestsPerMinute: flags.qpm,
    refresh: flags.refresh === true,
    wait: flags.wait === true,
    acceptShrunk: flags.acceptShrunk === true,
    endOfSlice: flags.endOfSlice,
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    ...(days === undefined ? {} : { days }),
    ...readAccess(flags, env),
  };
}

/** Runs it, with progress and log on standard error. */
export async function follow(
  sync: Sync,
  { output, clock }: Pick<Session, 'output' | 'clock'>,
  log: Log,
  options: { readonly signal: AbortSignal; readonly bar: boolean },
): Promise<Outcome> {
  const view = options.bar ? createProgressView(output, clock) : undefined;
  let state: ProgressState | undefined;
  const unsubscribe = [
    sync.on('progress', (progress) => {
      view?.update(progress);
      log(progressEntry(progress));
      if (progress.state === state) return;
      log(stateEntry(progress.state));
      state = progress.state;
    }),
    sync.on('slice', (event) => log(sliceEntry(event))),
    sync.on('quota', (event) => log(quotaEntry(event))),
    sync.on('retry', (event) => log(retryEntry(event))),
    sync.on('concurrency', (event) => log(concurrencyEntry(event))),
    sync.on('fallback', (event) => log(fallbackEntry(event))),
    sync.on('notice', (event) => log(noticeEntry(event))),
  ];
  try {
    return await sync.run({ signal: options.signal });
  } finally {
    for (const stop of unsubscribe) stop();
    view?.end();
  }
}

/** Prints the result. With `--json`, the text goes to standard error, for people, and the JSON is the result. */
function tellResult(words: string | undefined, json: string | undefined, output: Output): void {
  if (json === undefined) {
    if (words !== undefined) output.print(words);
    return;
  }
  if (words !== undefined) output.note(words);
  output.print(json);
}

/** How to get at the rows. */
export function whereItIs({ embedded }: CommandDatabase, self: string, view = 'search_analytics'): string {
  if (embedded === undefined) return `The rows are in the view ${view}; filter one dataset, or sums double.`;
  return [
    `The rows are in the embedded PostgreSQL under ${embedded.directory}, in the view ${view}.`,
    `It runs while longtail does. To look into it: ${self} database`,
  ].join('\n');
}
