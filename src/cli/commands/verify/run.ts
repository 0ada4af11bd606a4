/** `longtail verify`: compares a sample of the table with Google. */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pacificDay } from '../../../domain/day.ts';
import { quoted } from '../../../domain/quoted.ts';
import type { Dataset, SearchType } from '../../../domain/slice.ts';
import { wordsOf } from '../../../domain/words.ts';
import { brokenEntry, quotaEntry, retryEntry } from '../../../report/events.ts';
import { createLog, type Log, type LogLevel } from '../../../report/log.ts';
import type { Paint } from '../../../report/summary.ts';
import {
  jsonOfVerification,
  reportOfVerification,
  summariseVerification,
  verificationLine,
} from '../../../report/verification.ts';
import { createAuth } from '../../../search-console/auth/auth.ts';
import { proxyFor } from '../../../search-console/http/proxy-settings.ts';
import { readVerificationConfig } from '../../../sync/verification/config.ts';
import type {
  Verification,
  VerificationOptions,
  VerificationOutcome,
} from '../../../sync/verification/types.ts';
import { createVerification } from '../../../sync/verification/verification.ts';
import { usageError } from '../../process/errors.ts';
import { EXIT, exitCodeOfVerification } from '../../process/exit-code.ts';
import { startTelemetry } from '../../process/otel.ts';
import { namedDatabase, openDatabase } from '../database-place.ts';
import { type AccessFlags, checkRange, type RangeFlags, readAccess } from '../options.ts';
import type { Session } from '../session.ts';

/** The options, read and each right by itself. */
export interface VerifyFlags extends RangeFlags, AccessFlags {
  readonly site?: string;
  readonly sample: number;
  readonly dataset?: Dataset;
  readonly type?: SearchType;
  readonly seed?: number;
  readonly wait?: boolean;
  readonly databaseUrl?: string;
  readonly batchSize: number;
  readonly qpm: number;
  readonly report?: string;
  readonly json?: boolean;
  readonly logLevel?: LogLevel;
}

/** After a signal, the way out is short. */
const INTERRUPTED_CLOSE_MS = 250;
const CLOSE_MS = 10_000;
const TELEMETRY_MS = 5_000;
/** Minimum interval between lines of progress without a terminal. */
const LINE_INTERVAL_MS = 5_000;
const LIVE_INTERVAL_MS = 100;

/** @throws LongtailError for wrong options and a broken environment. */
export async function runVerify(flags: VerifyFlags, session: Session): Promise<void> {
  const { env, output, clock } = session;
  const { site } = flags;
  if (site === undefined) {
    throw usageError(
      'No property is given.',
      `For example: --site sc-domain:example.com (${session.self} sites lists yours).`,
    );
  }
  const today = pacificDay(clock.now());
  const note = checkRange(flags, today);
  const options = verificationOptions(site, flags, env);
  // Before anything is started: wrong use should not cost a database server's start.
  const { base } = readVerificationConfig(options, today, 0);
  namedDatabase(flags.databaseUrl, env);
  proxyFor(new URL(base.apiRoot), env);
  if (flags.report !== undefined) checkReport(flags.report);
  if (note !== undefined) output.note(note);
  const log = createLog({ level: flags.logLevel, clock, write: output.note });
  try {
    await openAndVerify(flags, options, session, log);
  } catch (error) {
    log(brokenEntry(error));
    throw error;
  }
}

async function openAndVerify(
  flags: VerifyFlags,
  options: VerificationOptions,
  session: Session,
  log: Log,
): Promise<void> {
  const { signal, asked } = session.catchSignals(
    'Halting: calls under way are ended. Once more to force it.',
  );
  const { credentials, tokenUrl } = options;
  // What is most often wrong comes first, and before it is right nothing is set up.
  await Promise.race([createAuth({ credentials, tokenUrl, clock: session.clock, env: session.env }), asked]);
  if (signal.aborted) return session.endWith(EXIT.interrupted);
  const database = await Promise.race([openDatabase(flags.databaseUrl, session), asked]);
  if (database === undefined) return session.endWith(EXIT.interrupted);
  const telemetry = await startTelemetry(session);
  const verification = createVerification({ ...options, database: database.url });
  let outcome: VerificationOutcome;
  try {
    outcome = await follow(verification, session, log, { signal, bar: flags.logLevel === undefined });
  } finally {
    await telemetry.end(signal.aborted ? INTERRUPTED_CLOSE_MS : TELEMETRY_MS);
    await verification.close();
    await database.close({ waitMs: signal.aborted ? INTERRUPTED_CLOSE_MS : CLOSE_MS });
  }
  // The result comes last on standard output, after all that closing may have had to say.
  session.endWith(exitCodeOfVerification(outcome));
  tell(outcome, flags, session);
  if (flags.report !== undefined) await writeReport(flags.report, outcome, session);
}

function verificationOptions(
  siteUrl: string,
  flags: VerifyFlags,
  env: NodeJS.ProcessEnv,
): VerificationOptions {
  const { from, to, days, dataset, type, seed } = flags;
  return {
    siteUrl,
    sample: flags.sample,
    batchSize: flags.batchSize,
    requestsPerMinute: flags.qpm,
    wait: flags.wait === true,
    ...(dataset === undefined ? {} : { dataset }),
    ...(type === undefined ? {} : { searchType: type }),
    ...(seed === undefined ? {} : { seed }),
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    ...(days === undefined ? {} : { days }),
    ...readAccess(flags, env),
  };
}

/** Runs it, with progress and log on standard error. */
async function follow(
  verification: Verification,
  { output, clock }: Pick<Session, 'output' | 'clock'>,
  log: Log,
  { signal, bar }: { readonly signal: AbortSignal; readonly bar: boolean },
): Promise<VerificationOutcome> {
  let shownAtMs = Number.NEGATIVE_INFINITY;
  let shown = '';
  const unsubscribe = [
    verification.on('progress', (progress) => {
      const intervalMs = output.isTerminal ? LIVE_INTERVAL_MS : LINE_INTERVAL_MS;
      const line = verificationLine(progress);
      if (!bar || line === shown || clock.now() - shownAtMs < intervalMs) return;
      shownAtMs = clock.now();
      shown = line;
      if (output.isTerminal) output.live([`  ${line}`]);
      else output.note(line);
    }),
    verification.on('difference', ({ searchType: type, dataset, date, kind }) =>
      log({ level: 'warn', name: 'verify.difference', fields: { type, dataset, date, kind } }),
    ),
    verification.on('quota', (event) => log(quotaEntry(event))),
    verification.on('retry', (event) => log(retryEntry(event))),
  ];
  try {
    return await verification.run({ signal });
  } finally {
    for (const stop of unsubscribe) stop();
    output.live([]);
  }
}

/** The words are the result, unless a script asked for JSON: then they are for whoever watches it. */
function tell(outcome: VerificationOutcome, { json }: VerifyFlags, { output }: Session): void {
  const isJson = json === true;
  if (outcome.status === 'failed') output.error(outcome.failure.message, outcome.failure.nextStep);
  else {
    const colours = isJson ? output.noteColours : output.colours;
    const paint: Paint = { good: colours.green, bad: colours.red, weak: colours.dim };
    const words = summariseVerification(outcome, paint, output.columns());
    if (isJson) output.note(words);
    else output.print(words);
  }
  if (isJson) output.print(jsonOfVerification(outcome));
}

function checkReport(file: string): void {
  if (existsSync(dirname(file))) return;
  throw usageError(
    `--report ${quoted(file)} is in a folder that does not exist.`,
    'Create the folder, or name another file.',
  );
}

async function writeReport(
  file: string,
  outcome: VerificationOutcome,
  { output, clock, redactor }: Session,
): Promise<void> {
  const text = redactor.redact(reportOfVerification(outcome, pacificDay(clock.now())));
  try {
    await writeFile(file, text);
  } catch (error) {
    throw usageError(
      `The report could not be written to ${quoted(file)}: ${wordsOf(error)}.`,
      'Name a file that may be written, and run again with the same seed.',
    );
  }
  output.note(`The report is in ${file}.`);
}
