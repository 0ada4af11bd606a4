/** Walks the small sizes, one after the other, up to the first that breaks an invariant. Prints what broke, as JSON. */
import { createSystemModel, explore } from '../../src/model/index.ts';
import { SMALL_SIZES } from './sizes.ts';

export interface Verdict {
  readonly size: string;
  readonly invariant: number;
  readonly what: string;
  readonly steps: number;
}

/** A machine that throws while it is born, or that loops for ever, never gets as far as a verdict. */
function judge(): Verdict | null {
  for (const { name, options } of SMALL_SIZES) {
    const { violation, finished } = explore(createSystemModel(options), { maxStates: 400_000 });
    if (violation !== undefined) {
      const { invariant, what, path } = violation;
      return { size: name, invariant, what, steps: path.length };
    }
    if (!finished) return { size: name, invariant: 8, what: 'its states have no end', steps: 0 };
  }
  return null;
}

console.log(JSON.stringify(judge()));
