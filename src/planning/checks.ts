/** What a verification asks: maps the IDs in the machine's messages to keys, rows and results. */
import type { Comparison, DrawnKey, RowFigures } from '../domain/row-check.ts';

/** The result of a check. */
export type CheckOutcome =
  | {
      readonly kind: 'answered';
      readonly comparison: Comparison;
      readonly google: RowFigures | null;
      /** When Google answered, ISO 8601. */
      readonly askedAt: string;
    }
  | { readonly kind: 'unanswered'; readonly reason: string };

export interface CheckEntry extends DrawnKey {
  /** The last result. Undefined: none so far. */
  outcome?: CheckOutcome;
  /** `open`: it is to be asked, perhaps once more. */
  state: 'open' | 'done';
}

/** The checks of one verification, in the order in which they were drawn. */
export class Checks {
  readonly #entries = new Map<string, CheckEntry>();

  /** Replaces what was drawn before. Returns the new IDs. */
  fill(keys: readonly DrawnKey[]): string[] {
    this.#entries.clear();
    return keys.map((key, index) => {
      const id = `k${index}`;
      this.#entries.set(id, { ...key, state: 'open' });
      return id;
    });
  }

  /** @throws Error for an unknown ID: a bug. */
  get(id: string): CheckEntry {
    const entry = this.#entries.get(id);
    if (entry === undefined) throw new Error(`check ${id} is not known`);
    return entry;
  }

  all(): readonly CheckEntry[] {
    return [...this.#entries.values()];
  }
}
