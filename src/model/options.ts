/** How large a world to explore, and how much may go wrong in it. */
import type { QuotaKind } from '../domain/quota-kind.ts';

/** Rare events. Each is counted along a path, so that a world with a few of them stays finite. */
export const RARE_KINDS = [
  'pause',
  'halt',
  /** The host reports a permanent failure, such as a lost lock. */
  'fail',
  'concurrency',
  'workerCrash',
  'processCrash',
  /** A call, a commit, the plan or a probe finds the database away. */
  'databaseAway',
  /** The server refuses a page for quota; see `refusals`. */
  'refused',
  /** A call fails as a whole. */
  'callFailed',
  /** The access token is refused and renewed. */
  'unauthorized',
  /** A call ends in an error that no retry can fix. */
  'fatal',
  /** The reaper of a crashed worker fails. */
  'reaperFailed',
  /** A finished slice seems to lack rows and is fetched once more. */
  'again',
  /** A finished slice has far fewer rows than before. */
  'shrunk',
] as const;
export type RareKind = (typeof RARE_KINDS)[number];

/** `sync`: XState's own order of delivery. `interleaved`: any channel may deliver next; each channel is first in, first out. */
export type Semantics = 'sync' | 'interleaved';

/** The quota named in a refusal. `user…`: the server says that the user's quota was exceeded. */
export type Refusal = QuotaKind | 'userQps' | 'userDaily';

export interface ModelOptions {
  readonly semantics: Semantics;
  readonly workers: number;
  /** Pages of each slice: `[2, 1]` is three pages. The second is known only when the first is committed. */
  readonly slices: readonly number[];
  readonly maxAttempts: number;
  readonly batchSize: number;
  /** Requests that the server accepts per window. */
  readonly quota: number;
  /** Slices that the plan supplies at a time. */
  readonly planChunk: number;
  /** Whether the plan requests a calendar first, and continues when it has arrived. */
  readonly calendar: boolean;
  /** With a calendar: number of slices supplied speculatively while it is under way. */
  readonly speculative: number;
  /** Number of slices, the last ones, that the plan knows only when all before them have ended. */
  readonly secondSteps: number;
  /** How often each rare event may happen on a path. Events not listed never happen. */
  readonly rare: Readonly<Partial<Record<RareKind, number>>>;
  /** Maximum number of rare events on a path. */
  readonly maxRare: number;
  /** Possible values of `concurrency.change`. */
  readonly concurrencies: readonly number[];
  readonly refusals: readonly Refusal[];
  /** Whether the reaper reads the ledger of a crashed worker, or leaves it to the second commit. */
  readonly reaperReadsLedger: boolean;
  readonly maxConsecutiveCallFailures: number;
  readonly callFailuresOfOutage: number;
  readonly soundAnswers: number;
  readonly maxGoogleProbes: number;
  readonly maxWorkerRestarts: number;
  readonly maxDatabaseProbes: number;
}

export const DEFAULT_OPTIONS: ModelOptions = {
  semantics: 'sync',
  workers: 2,
  slices: [2, 1],
  maxAttempts: 2,
  batchSize: 2,
  quota: 2,
  planChunk: 1,
  calendar: false,
  speculative: 0,
  secondSteps: 0,
  rare: {},
  maxRare: 0,
  concurrencies: [1],
  refusals: ['qps', 'load', 'daily'],
  reaperReadsLedger: false,
  maxConsecutiveCallFailures: 2,
  callFailuresOfOutage: 2,
  soundAnswers: 1,
  maxGoogleProbes: 2,
  maxWorkerRestarts: 1,
  maxDatabaseProbes: 1,
};

/** The quota's window, and the maximum time that an unanswered request may still be on its way. */
export const WINDOW_MS = 60_000;
export const GRACE_MS = 20_000;
/** The limiter's safety margin for every window. */
export const MARGIN_MS = 1_000;
/** Time between a crash of the process and its restart. */
export const RESTART_MS = 30_000;
export const SCOPE = 'site:example';
export const RUN_ID = 'run';

/** A run's property, and the run's name if several share a limiter. */
export interface Property {
  /** Prefix of the addresses of the run's actors. */
  readonly prefix: string;
  readonly runId: string;
  /** The budgets that its tokens are taken from. */
  readonly scopes: readonly string[];
}

/** For a single run. */
export const ALONE: Property = { prefix: '', runId: RUN_ID, scopes: [SCOPE] };
