import type { BenchServer } from './postgres.ts';

/** What every part is given. */
export interface BenchContext {
  readonly server: BenchServer;
  /** 1 is the whole size; small ones are for trying the bench itself. */
  readonly scale: number;
  /** How often each figure is taken; the median is reported. */
  readonly runs: number;
  /** The bench itself is tried, and nothing measured: a few of the cases will do. */
  readonly isTrial: boolean;
  /** Where CPU profiles of the synchronisations go. */
  readonly profiles: string | undefined;
  /** A line about what goes on. */
  readonly say: (line: string) => void;
}

/** Does the work as often as asked, one after another. */
export async function repeat<T>(runs: number, work: (run: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let run = 0; run < runs; run += 1) results.push(await work(run));
  return results;
}
