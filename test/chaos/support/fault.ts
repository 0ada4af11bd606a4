import type { TestServer } from '../../support/postgres.ts';

/** What is done from outside to a run, and how it is judged. */
export interface Fault {
  readonly name: string;
  /** How often: among the tests, and for the whole table. */
  readonly times: { readonly few: number; readonly many: number };
  strike(ground: Ground, times: number): Promise<Happened>;
}

export interface Ground {
  readonly server: TestServer;
  /** Chance, by the seed. */
  readonly chance: () => number;
}

export interface Happened {
  /** In words, for a person. */
  readonly what: string;
  /** What was lost, doubled, left over or wrongly told. */
  readonly problems: readonly string[];
  /** Why it could not be done here. */
  readonly skipped?: string;
}

export function tally(words: ReadonlyMap<string, number>): string {
  return [...words].map(([what, count]) => (words.size === 1 ? what : `${count} × ${what}`)).join('; ');
}

export function howItEnded(code: number | null): string {
  if (code === 0) return 'the run completed';
  return code === null ? 'it was killed' : `the run ended with ${code}`;
}
