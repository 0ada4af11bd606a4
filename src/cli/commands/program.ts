import { Command } from 'commander';
import { mayBeSecret } from '../../domain/secrets.ts';
import { VERSION } from '../../domain/version.ts';
import { plain } from '../../report/render.ts';
import { registerDatabase } from './database/command.ts';
import { registerDemo } from './demo/command.ts';
import { registerEmulator } from './emulator/command.ts';

import { registerIndex } from './index/command.ts';

import { registerMetrics } from './metrics/command.ts';

import type { Session } from './session.ts';
import { refuseRepeatedOptions } from './single-options.ts';
import { registerSites } from './sites/command.ts';
import { registerStatus } from './status/command.ts';
import { registerSync } from './sync/command.ts';
import { registerVerify } from './verify/command.ts';

const MAX_MESSAGE_LENGTH = 200;
/** The options of a command that may be repeated. */
const SEVERAL: Readonly<Record<string, readonly string[]>> = { emulator: ['site'], sync: ['filter'] };

const examples = (self: string): string => `
Examples:
  $ ${self} demo
  $ ${self} sites
  $ ${self} sync --site sc-domain:example.com
  $ ${self} status

Exit codes:
  0    complete
  1    failed
  2    wrong usage or configuration
  3    complete except for failed slices: run again to fetch only those
  75   halted by a quota, or another run is under way: run again later
  130  halted by Ctrl-C`;

/** The whole command line. It never ends the process: it throws, and `main` prints the error and exits. */
export function createProgram(session: Session): Command {
  const { output } = session;
  const program = new Command('longtail')
    .description('Copies a site’s whole Google Search Console history into your own PostgreSQL.')
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand(false)
    .usage('<command> [options]')
    .exitOverride()
    .showSuggestionAfterError()
    .configureHelp({ sortSubcommands: false, styleTitle: (text) => output.colours.bold(text) })
    .configureOutput({
      writeOut: (text) => output.print(text.trimEnd()),
      writeErr: (text) => output.note(text.trimEnd()),
    })
    .addHelpText('after', examples(session.self));
  tellErrors(program, `${session.self} --help`);
  registerDemo(program, session);
  registerSync(program, session);
  registerSites(program, session);
  registerStatus(program, session);
  registerVerify(program, session);
  registerIndex(program, session);
  registerMetrics(program, session);
  registerEmulator(program);
  registerDatabase(program, session);
  registerHelp(program);
  for (const command of program.commands) {
    tellErrors(command, `${session.self} ${command.name()} --help`);
    refuseRepeatedOptions(command, session.self, SEVERAL[command.name()]);
  }
  return program;
}

/** Replaces commander's own command, which prints the whole help as an error if the command is unknown. */
function registerHelp(program: Command): void {
  program
    .command('help')
    .argument('[command]')
    .helpOption(false)
    .summary('print the help of a command')
    .action((name: string | undefined) => {
      const command = program.commands.find((candidate) => candidate.name() === name);
      if (name !== undefined && command === undefined) program.error(`error: unknown command '${name}'`);
      (command ?? program).outputHelp();
    });
}

/** `error: unknown option '--x'\n(Did you mean --y?)` → two lines in Longtail's form. */
function tellErrors(command: Command, help: string): void {
  command.configureOutput({
    outputError(text, write) {
      // The text contains what the user typed, unchanged and of any length.
      const suggestion = /\n\((Did you mean [^\n]*)\)\s*$/.exec(text);
      const problem = suggestion === null ? text : text.slice(0, suggestion.index);
      const message = plain(withoutTypedSecrets(problem.trim()))
        .replace(/^error: (.)/, (_, letter: string) => letter.toUpperCase())
        .replace(/\.$/, '');
      const short =
        message.length > MAX_MESSAGE_LENGTH ? `${message.slice(0, MAX_MESSAGE_LENGTH)}…` : message;
      write(`longtail: ${short}.\n${suggestion?.[1] ?? `See ${help}`}`);
    },
  });
}

/** Removes secrets from what the user typed, which commander quotes. Keeps an option's name, removes the value after `=`. */
function withoutTypedSecrets(text: string): string {
  const withoutArguments = text.replace(/(but got \d+): .*$/s, '$1');
  return withoutArguments.replace(/'(.*)'/s, (whole, typed: string) => {
    const [, name] = /^(--?[a-z][a-z-]*)(?:=.*)?$/is.exec(typed) ?? [];
    if (name !== undefined) return `'${name}'`;
    return mayBeSecret(typed) ? '(not shown: it may be a secret)' : whole;
  });
}
