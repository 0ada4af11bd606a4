/** Parses and validates the options of a verification. */
import { z } from 'zod';
import { dimensionsOf } from '../../domain/dataset.ts';
import { quoted } from '../../domain/quoted.ts';
import type { Dataset, Day, SearchType } from '../../domain/slice.ts';
import { type Config, readConfig } from '../config.ts';
import { readOptions, whole, wrong } from '../option-limits.ts';
import type { SyncOptions } from '../types.ts';
import type { VerificationOptions } from './types.ts';

export const MAX_SAMPLE = 10_000;
export const MAX_SEED = 0xffff_ffff;
const DEFAULT_SAMPLE = 100;

export interface VerificationConfig {
  /** For everything that is opened: one call at a time. */
  readonly base: Config;
  /** The same as options. */
  readonly options: SyncOptions;
  readonly dataset: Dataset | null;
  readonly searchType: SearchType | null;
  readonly sample: number;
  readonly seed: number;
}

const numbers = z.object({
  sample: whole('sample', 1, MAX_SAMPLE).default(DEFAULT_SAMPLE),
  seed: whole('seed', 0, MAX_SEED).optional(),
});

/**
 * `chance` in [0, 1) chooses the seed if none is given.
 * @throws LongtailError `BAD_OPTION` or `INSECURE_ROOT`.
 */
export function readVerificationConfig(
  given: VerificationOptions,
  today: Day,
  chance: number,
): VerificationConfig {
  if (typeof given !== 'object' || given === null)
    throw wrong('No options are given.', 'Give at least { siteUrl: "sc-domain:example.com" }.');
  const { dataset, searchType, sample: _sample, seed: _seed, ...shared } = given;
  const options: SyncOptions = {
    ...shared,
    maxConcurrency: 1,
    ...(dataset === undefined ? {} : { datasets: [dataset] }),
    ...(searchType === undefined ? {} : { searchTypes: [searchType] }),
  };
  const base = readConfig(options, today);
  const { sample, seed = Math.floor(chance * (MAX_SEED + 1)) } = readOptions(numbers, given);
  const [named] = dataset === undefined ? [] : base.datasets;
  if (dataset?.trim() === 'all') {
    throw wrong('dataset names more than one.', 'Name one, or leave it out to draw from all of them.');
  }
  if (named !== undefined && dimensionsOf(named).includes('hour')) {
    throw wrong(
      `${quoted(named)} cannot be verified: Google has no filter for an hour.`,
      'Verify the dataset without "hour".',
    );
  }
  return {
    base,
    options,
    dataset: named ?? null,
    searchType: searchType === undefined ? null : (base.searchTypes[0] ?? null),
    sample,
    seed,
  };
}
