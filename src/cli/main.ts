/**
 * The process around a command: what it is given, and the one place where it ends.
 *
 *   parse → command → before-exit work (telemetry) → flush → exit
 *
 * Three ways lead to the end, and the first one wins: the command is over, a second signal forces it, a bug was caught.
 */
import { systemClock } from '../domain/clock.ts';
import { explain } from './errors.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import { variable } from './options.ts';
import { createOutput } from './output.ts';
import { createProgram } from './program.ts';
import { createRedactor } from './redact.ts';
import { nameOfSelf, type Session } from './session.ts';
import { catchSignals } from './signals.ts';

/** How long telemetry and the last lines may hold up the exit. */
const EXIT_DEADLINE_MS = 5_000;
/** When someone has asked twice to stop. */
const FORCED_EXIT_DEADLINE_MS = 200;

/** Runs one command line (as `process.argv`) and ends the process with its exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  const { env, stdout, stderr } = process;
  const redactor = createRedactor();
  redactor.hide(variable(env, 'LONGTAIL_ACCESS_TOKEN'));
  redactor.hidePasswordOf(variable(env, 'DATABASE_URL'));
  const output = createOutput({ stdout, stderr, env, redactor });
  const forced = Promise.withResolvers<ExitCode>();
  const broken = Promise.withResolvers<ExitCode>();
  const beforeExit: ((deadlineMs: number) => Promise<void>)[] = [];
  let code: ExitCode = EXIT.complete;

  const tell = (error: unknown): ExitCode => {
    const explained = explain(error);
    const [message, ...more] = explained.lines;
    if (message !== undefined) output.error(message, ...more);
    return explained.code;
  };
  process.on('uncaughtException', (error) => broken.resolve(tell(error)));
  const session: Session = {
    env,
    self: nameOfSelf(argv, env),
    clock: systemClock,
    output,
    redactor,
    catchSignals: (words) =>
      catchSignals({ output, now: systemClock.now, force: () => forced.resolve(EXIT.interrupted), words }),
    beforeExit: (work) => beforeExit.push(work),
    endWith: (ended) => {
      code = ended;
    },
  };

  const command = createProgram(session)
    .parseAsync(argv.length <= 2 ? [...argv, '--help'] : argv)
    .then(() => code, tell);
  const ended = await Promise.race([command, forced.promise, broken.promise]);
  output.live([]);
  const wasForced = await Promise.race([forced.promise.then(() => true), Promise.resolve(false)]);
  const deadlineMs = wasForced ? FORCED_EXIT_DEADLINE_MS : EXIT_DEADLINE_MS;
  // A second signal cuts this short, too.
  await Promise.race([Promise.all(beforeExit.map((work) => work(deadlineMs))), forced.promise]);
  await output.flush();
  process.exit(ended);
}
