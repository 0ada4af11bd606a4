/** Scenarios in which the simulation found a fault once, as small as they came out. They must never fail again. */
import type { Scenario } from './scenario.ts';

const CALM = {
  endsDaysAgo: 30,
  options: {
    maxConcurrency: 3,
    batchSize: 3,
    rowsPerPage: 2,
    requestsPerMinute: 1_200,
    maxAttempts: 1,
    haltDeadlineMs: 5_000,
    endOfSlice: 'short',
    burst: null,
  },
  google: { rows: 0, emptyShare: 0, clicks: 1_000, lagMs: 151_739_605, realLimit: null, thinkMs: 14 },
} as const;

export const REGRESSIONS: Readonly<Record<string, Scenario>> = {
  /** What a killed process had sent arrived when the next one had its token free again. */
  'requests of a dead process arrive late': {
    ...CALM,
    seed: 531,
    startMs: 1_778_888_424_000,
    days: 2,
    datasets: ['page+query'],
    searchTypes: ['image'],
    options: {
      ...CALM.options,
      maxConcurrency: 1,
      batchSize: 1,
      rowsPerPage: 5,
      requestsPerMinute: 2,
      haltDeadlineMs: 1_000,
    },
    google: { ...CALM.google, lagMs: 34_827_245, thinkMs: 18 },
    latencyMs: 1_340,
    databaseMs: 137,
    faults: { connectRefused: 0.0782, tlsFailure: 0.0867, lostRequest: 0.219, lateRequest: 0.0638 },
    lives: [{ refresh: false, actions: [{ kind: 'crash', afterMs: 21_408 }], restMs: 0 }],
  },

  /** A refresh was cut off, another run finished it, and a third asked for a new one: it got the old one's cut-off. */
  'a new refresh after one that another run finished': {
    ...CALM,
    seed: 12_235,
    startMs: 1_793_713_617_000,
    days: 6,
    datasets: ['query'],
    searchTypes: ['image'],
    latencyMs: 2,
    databaseMs: 82,
    faults: { refusedWhole: 0.265, invalidSlice: 0.153 },
    lives: [
      { refresh: true, actions: [], restMs: 0 },
      { refresh: false, actions: [], restMs: 0 },
      { refresh: true, actions: [{ kind: 'crash', afterMs: 2_472 }], restMs: 0 },
    ],
  },

  /** The machine's clock was set back while a run halted: what it had left behind was waited for that much longer. */
  'the time of day is set back during a halt': {
    ...CALM,
    seed: 0,
    startMs: 1_788_338_442_000,
    days: 4,
    datasets: ['query'],
    searchTypes: ['web'],
    options: { ...CALM.options, maxConcurrency: 1, batchSize: 1, rowsPerPage: 100, haltDeadlineMs: 100 },
    google: { ...CALM.google, rows: 1, lagMs: 100_000_000, thinkMs: 10 },
    latencyMs: 5,
    databaseMs: 100,
    faults: { slowDatabase: 0.9 },
    lives: [
      {
        refresh: false,
        restMs: 0,
        actions: [
          { kind: 'halt', afterMs: 40_000 },
          { kind: 'wallJump', afterMs: 40_020, byMs: -10_800_000 },
        ],
      },
    ],
  },

  /**
   * A page was committed and the answer lost, twice over; asked for again it failed for good. Its slice was complete, and
   * the run said that something had failed, and nothing had.
   */
  'a page that is committed unseen fails at last': {
    seed: 19_802,
    startMs: 1_786_820_210_000,
    endsDaysAgo: 30,
    days: 8,
    datasets: ['date', 'page+query'],
    searchTypes: ['discover', 'web'],
    options: {
      maxConcurrency: 4,
      batchSize: 2,
      rowsPerPage: 5,
      requestsPerMinute: 200,
      maxAttempts: 4,
      haltDeadlineMs: 5_000,
      endOfSlice: 'short',
      burst: { limit: 1, windowMs: 1_000 },
    },
    google: { rows: 1, emptyShare: 0.5, clicks: 5, lagMs: 88_832_720, realLimit: null, thinkMs: 336 },
    latencyMs: 764,
    databaseMs: 3,
    faults: {
      connectRefused: 0.0533,
      tlsFailure: 0.197,
      resetBeforeArrival: 0.0647,
      trickle: 0.0657,
      unauthorizedPart: 0.0361,
      wrongAnswer: 0.27,
      reorderedTies: 1,
      lostAfterCommit: 0.185,
      databaseAway: 0.0442,
      workerCrash: 0.00608,
    },
    lives: [{ refresh: false, actions: [], restMs: 0 }],
  },
};
