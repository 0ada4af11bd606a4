import type { Command } from 'commander';
import { usageError } from '../process/errors.ts';

/** The next step for options that a user may want to give twice. */
const INSTEAD: Readonly<Record<string, (self: string) => string>> = {
  site: (self) => `One run copies one property: run ${self} sync once for each.`,
  datasets: () => 'Put them all into one: --datasets page,query',
  types: () => 'Put them all into one: --types web,image',
};

/**
 * Refuses an option that is given twice with different values: commander would silently use the last. The values are not
 * repeated, because they may be secret. `several` names the options that may be repeated.
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
