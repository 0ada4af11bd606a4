import type { BenchServer } from './postgres.ts';

/** What every part receives. */
export interface BenchContext {
  readonly server: BenchServer;
  /** 1 is the full size. Smaller ones are for trying the bench itself. */
  readonly scale: number;
  /** How often each figure is measured. The median is reported. */
  readonly runs: number;
  /** A trial of the bench itself, which measures nothing: a few cases are enough. */
  readonly isTrial: boolean;
  /** Folder for CPU profiles of the synchronisations. */
  readonly profiles: string | undefined;
  /** Prints a line about the progress. */
  readonly say: (line: string) => void;
}

/** Repeats the work `runs` times, one after another. */
export async function repeat<T>(runs: number, work: (run: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let run = 0; run < runs; run += 1) results.push(await work(run));
  return results;
}
