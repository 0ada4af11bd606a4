/**
 * Sets up the process for a command. This is the only place that ends the process.
 *
 *   parse → command → before-exit work (telemetry) → flush → exit
 *
 * The first of three events ends it: the command has finished, a second signal forces the exit, or a bug was caught.
 */
import { systemClock } from '../../domain/clock.ts';
import { variable } from '../commands/options.ts';
import { nameOfSelf } from '../commands/session.ts';
import { createOutput } from '../terminal/output.ts';
import { createRedactor } from '../terminal/redact.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import { hideSecretsInArguments, tellWarnings } from './own-process.ts';
import { runCommand, tellError } from './run-command.ts';
import { catchSignals } from './signals.ts';

/** How long telemetry may delay the exit. */
const EXIT_DEADLINE_MS = 5_000;
/** The same after a second signal. */
const FORCED_EXIT_DEADLINE_MS = 200;

const URLS_WITH_PASSWORDS = [
  'DATABASE_URL',
  ...['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'all_proxy'],
];
const SECRET_VARIABLES = ['LONGTAIL_ACCESS_TOKEN', 'PGPASSWORD'];

/** Runs one command line (as `process.argv`) and ends the process with its exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  const { env, stdout, stderr } = process;
  const redactor = createRedactor();
  for (const name of URLS_WITH_PASSWORDS) redactor.hidePasswordOf(variable(env, name));
  for (const name of SECRET_VARIABLES) redactor.hide(variable(env, name));
  const output = createOutput({ stdout, stderr, env, redactor });
  tellWarnings(output.note);
  const words = [...argv];
  for (const word of words) redactor.hidePasswordOf(word.replace(/^--[\w-]+=/, ''));
  hideSecretsInArguments(redactor);
  const beforeExit: ((deadlineMs: number) => Promise<void>)[] = [];

  // They only report what happened. The race below decides which exit code counts.
  const forced = Promise.withResolvers<ExitCode>();
  const broken = Promise.withResolvers<ExitCode>();
  let isForced = false;
  process.on('uncaughtException', (error) => broken.resolve(tellError(error, output)));

  const command = runCommand(words, {
    env,
    self: nameOfSelf(words, env),
    clock: systemClock,
    output,
    redactor,
    catchSignals: (words) =>
      catchSignals({
        output,
        now: systemClock.now,
        words,
        force: () => {
          isForced = true;
          forced.resolve(EXIT.interrupted);
        },
      }),
    beforeExit: (work) => beforeExit.push(work),
  });
  const code = await Promise.race([command, forced.promise, broken.promise]);
  output.live([]);
  const endWithin = (deadlineMs: number) => Promise.all(beforeExit.map((work) => work(deadlineMs)));
  // Another signal shortens this wait, too.
  if (!isForced) await Promise.race([endWithin(EXIT_DEADLINE_MS), forced.promise]);
  if (isForced) await endWithin(FORCED_EXIT_DEADLINE_MS);
  await output.flush();
  process.exit(code);
}
