/** The worlds that are walked whole, and why each. */
import type { ModelOptions, RareKind } from '../../src/model/index.ts';

export interface Size {
  readonly name: string;
  readonly options: Partial<ModelOptions>;
}

const once = (...kinds: readonly RareKind[]): Partial<Record<RareKind, number>> =>
  Object.fromEntries(kinds.map((kind) => [kind, 1]));

/** What may happen to the process, and around it. */
const DISTURBANCES = once('pause', 'workerCrash', 'processCrash', 'concurrency', 'databaseAway');
/** How a run may be made to end. */
const ENDINGS = once('halt', 'fail', 'fatal');
/** What a call may come to beside its pages' answers. */
const CALLS = once('refused', 'callFailed', 'unauthorized', 'again', 'shrunk');
const EVERYTHING = { ...DISTURBANCES, ...ENDINGS, ...CALLS, ...once('reaperFailed') };

/** In seconds: part of the tests, and what every mutant is judged by. The quick ones first. */
export const SMALL_SIZES: readonly Size[] = [
  { name: 'sync 2×3', options: { workers: 2, slices: [2, 1] } },
  {
    name: 'sync 2×2, quota refusals',
    options: { workers: 2, slices: [2], quota: 1, maxAttempts: 1, rare: { refused: 3 }, maxRare: 3 },
  },
  {
    name: 'sync 1×3, calls fail again and again',
    options: {
      workers: 1,
      slices: [1, 1, 1],
      planChunk: 3,
      maxAttempts: 1,
      rare: { callFailed: 3, unauthorized: 1 },
      maxRare: 3,
      maxConsecutiveCallFailures: 3,
    },
  },
  // Two calls that bring nothing are an outage: asked again, found back, or given up.
  {
    name: 'sync 1×1, an outage of Google’s',
    options: {
      workers: 1,
      slices: [1],
      rare: { callFailed: 5, ...once('halt', 'workerCrash') },
      maxRare: 5,
    },
  },
  { name: 'interleaved 2×2', options: { semantics: 'interleaved', workers: 2, slices: [2] } },
  {
    name: 'interleaved 1×1, paused twice',
    options: { semantics: 'interleaved', workers: 1, slices: [1], rare: { pause: 2, halt: 1 }, maxRare: 2 },
  },
  {
    name: 'sync 2×2, workers crash, the reaper reads the ledger',
    options: {
      workers: 2,
      slices: [2],
      rare: { workerCrash: 2, reaperFailed: 1, halt: 1, concurrency: 1 },
      maxRare: 2,
      reaperReadsLedger: true,
    },
  },
  // Two further pages wait while one worker is busy: one of them is left for him.
  { name: 'sync 2×5', options: { workers: 2, slices: [2, 2, 1] } },
  {
    name: 'sync 2×2, one of everything rare',
    options: { workers: 2, slices: [1, 1], rare: EVERYTHING, maxRare: 1, concurrencies: [1, 3] },
  },
  // One slice goes out while the calendar is on its way, the other when it is there.
  {
    name: 'sync 2×2, speculative',
    options: {
      workers: 2,
      slices: [1, 1],
      maxAttempts: 1,
      rare: once('halt', 'pause', 'workerCrash', 'concurrency', 'databaseAway', 'callFailed'),
      maxRare: 1,
      calendar: true,
      speculative: 1,
      concurrencies: [1, 3],
    },
  },
  // The second slice is known when the first has ended.
  {
    name: 'sync 2×3, in two steps',
    options: {
      workers: 2,
      slices: [2, 1],
      maxAttempts: 1,
      rare: { ...DISTURBANCES, ...CALLS, ...once('halt') },
      maxRare: 1,
      calendar: true,
      secondSteps: 1,
      concurrencies: [1, 3],
    },
  },
  {
    name: 'sync 1×2, two of everything rare',
    options: { workers: 1, slices: [2], rare: EVERYTHING, maxRare: 2, calendar: true, concurrencies: [2] },
  },
];

/** In minutes: `npm run check:model`. The long ones first, so that both processors are busy to the end. */
export const LARGE_SIZES: readonly Size[] = [
  {
    name: 'interleaved 2×2×2, one of everything rare',
    options: {
      semantics: 'interleaved',
      workers: 2,
      slices: [1, 1],
      // A host's `fail`, or a fatal call, is a halt with another reason.
      rare: { ...DISTURBANCES, ...CALLS, ...once('halt', 'reaperFailed') },
      maxRare: 1,
      concurrencies: [1, 3],
    },
  },
  {
    name: 'sync 3×4×2, two disturbances',
    options: {
      workers: 3,
      slices: [2, 2],
      planChunk: 2,
      rare: { ...DISTURBANCES, ...once('halt') },
      maxRare: 2,
      concurrencies: [1, 4],
    },
  },
  {
    name: 'sync 3×4×2, one of everything rare',
    options: {
      workers: 3,
      slices: [2, 1, 1],
      planChunk: 3,
      rare: EVERYTHING,
      maxRare: 1,
      concurrencies: [1, 4],
    },
  },
  {
    name: 'sync 2×2×2, two of everything rare',
    options: {
      workers: 2,
      slices: [1, 1],
      planChunk: 2,
      rare: EVERYTHING,
      maxRare: 2,
      concurrencies: [1, 3],
    },
  },
  {
    name: 'sync 2×2×2, speculative, one of everything rare',
    options: {
      workers: 2,
      slices: [2, 1],
      rare: EVERYTHING,
      maxRare: 1,
      calendar: true,
      speculative: 1,
      concurrencies: [1, 3],
    },
  },
  { name: 'interleaved 2×3×2', options: { semantics: 'interleaved', workers: 2, slices: [2, 1] } },
  // The plain sequential loop, from the same code.
  {
    name: 'sync 1×3×2, two of everything rare',
    options: { workers: 1, slices: [2, 1], rare: EVERYTHING, maxRare: 2, calendar: true, concurrencies: [2] },
  },
  ...SMALL_SIZES,
];
