/** The worlds with several properties under one limiter that are walked whole, and why each. */
import type { RareKind, SharedOptions } from '../../src/model/index.ts';

export interface SharedSize {
  readonly name: string;
  readonly shared: Partial<SharedOptions>;
}

const once = (...kinds: readonly RareKind[]): Partial<Record<RareKind, number>> =>
  Object.fromEntries(kinds.map((kind) => [kind, 1]));

/** What may happen to one of them, and must not touch the other. */
const TROUBLES = once(
  'pause',
  'halt',
  'fail',
  'workerCrash',
  'databaseAway',
  'callFailed',
  'unauthorized',
  'fatal',
);

/** In seconds: part of the tests, and what every mutant is judged by. */
export const SMALL_SHARED_SIZES: readonly SharedSize[] = [
  // Each has enough by itself, and not with the other.
  {
    name: 'two properties, sync 1×2 each',
    shared: { slices: [1, 1], planChunk: 2, batchSize: 1, maxAttempts: 1, quota: 2, userQuota: 2 },
  },
  {
    name: 'two properties, sync 1×1 each, refused for any reason',
    shared: { maxAttempts: 1, quota: 2, userQuota: 2, rare: once('refused', 'callFailed'), maxRare: 1 },
  },
  {
    name: 'two properties, sync 1×1 each, loaded and halted',
    shared: {
      maxAttempts: 1,
      quota: 1,
      userQuota: 1,
      rare: { refused: 2, halt: 1 },
      maxRare: 2,
      refusals: ['load'],
    },
  },
  // One token for both: who has it is halted, crashes, pauses, fails, and the other waits.
  {
    name: 'two properties, sync 1×1 each, one token, one trouble',
    shared: { maxAttempts: 1, quota: 1, userQuota: 1, rare: TROUBLES, maxRare: 1 },
  },
  // One call that fails is an outage to the run it happens to.
  {
    name: 'two properties, sync 1×1 each, Google is away for one',
    shared: {
      maxAttempts: 1,
      quota: 1,
      userQuota: 1,
      callFailuresOfOutage: 1,
      rare: once('callFailed', 'halt'),
      maxRare: 2,
    },
  },
  {
    name: 'two properties, interleaved 1×1 each, one token',
    shared: { semantics: 'interleaved', maxAttempts: 1, quota: 1, userQuota: 1 },
  },
];

/** In a minute each: `npm run check:model`. */
export const LARGE_SHARED_SIZES: readonly SharedSize[] = [
  {
    name: 'two properties, sync 1×1 each, two of everything rare',
    shared: {
      maxAttempts: 1,
      quota: 1,
      userQuota: 1,
      rare: { ...TROUBLES, ...once('processCrash', 'refused') },
      maxRare: 2,
    },
  },
  {
    name: 'two properties, sync 1×1 each, refused twice',
    shared: { maxAttempts: 1, quota: 1, userQuota: 2, rare: { refused: 2 }, maxRare: 2 },
  },
  // Two workers of one property stand in line before the other's.
  {
    name: 'two properties, sync 2×2 each, one trouble',
    shared: {
      workers: 2,
      slices: [1, 1],
      planChunk: 2,
      batchSize: 1,
      maxAttempts: 1,
      quota: 1,
      userQuota: 1,
      rare: once('halt', 'workerCrash'),
      maxRare: 1,
    },
  },
  {
    name: 'two properties, interleaved 1×1 each, halted',
    shared: {
      semantics: 'interleaved',
      maxAttempts: 1,
      quota: 1,
      // A grant that crosses its cancel may find the run over, and then counts for ever.
      userQuota: 2,
      rare: once('halt'),
      maxRare: 1,
    },
  },
  ...SMALL_SHARED_SIZES,
];
