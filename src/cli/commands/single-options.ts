import type { Command } from 'commander';
import { usageError } from '../process/errors.ts';

/** What to do instead, where giving an option twice has a sense of its own. */
const INSTEAD: Readonly<Record<string, (self: string) => string>> = {
  site: (self) => `One run copies one property: run ${self} sync once for each.`,
  datasets: () => 'Name them all in one: --datasets page,query',
  types: () => 'Name them all in one: --types web,image',
};

/**
 * Refuses an option that is given twice with two values: commander would take the last without a word. The values are not
 * repeated, they may be secret. `several` names the options that take each of theirs.
 */
export function refuseRepeatedOptions(command: Command, self: string, several: readonly string[] = []): void {
  for (const option of command.options) {
    const takesValue = option.required || option.optional;
    if (!takesValue || several.includes(option.name())) continue;
    let given: string | undefined;
    command.on(`option:${option.name()}`, (value: string) => {
      if (given !== undefined && given !== value) {
        const name = option.name();
        throw usageError(
          `--${name} is given twice, with two values.`,
          INSTEAD[name]?.(self) ?? 'Give it once.',
        );
      }
      given = value;
    });
  }
}
