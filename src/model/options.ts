/** How large a world to explore, and how much may go wrong in it. */
import type { QuotaKind } from '../domain/quota-kind.ts';

/** What happens seldom. Each is counted along a path, so that a world with a few of them stays finite. */
export const RARE_KINDS = [
  'pause',
  'halt',
  /** The host says that something is broken for good: its lock is lost, say. */
  'fail',
  'concurrency',
  'workerCrash',
  'processCrash',
  /** A call, a commit, the plan or a probe finds the database away. */
  'databaseAway',
  /** The server refuses a page for want of quota; see `refusals`. */
  'refused',
  /** A call fails as a whole. */
  'callFailed',
  /** The access token is refused, and renewed. */
  'unauthorized',
  /** A call ends in something that no retry mends. */
  'fatal',
  /** The reaper of a crashed worker fails. */
  'reaperFailed',
  /** A finished slice looks as if rows were missing, and is fetched once more. */
  'again',
  /** A finished slice has far less than it had. */
  'shrunk',
] as const;
export type RareKind = (typeof RARE_KINDS)[number];

/** `sync`: XState's own order of delivery. `interleaved`: any channel may deliver next; each channel is first in, first out. */
export type Semantics = 'sync' | 'interleaved';

/** What a page may be refused for. `user…`: and the server says that it is the user's allowance that is overrun. */
export type Refusal = QuotaKind | 'userQps' | 'userDaily';

export interface ModelOptions {
  readonly semantics: Semantics;
  readonly workers: number;
  /** Pages each slice has: `[2, 1]` is three pages, the second of them known only when the first is committed. */
  readonly slices: readonly number[];
  readonly maxAttempts: number;
  readonly batchSize: number;
  /** Requests that the server takes in a window. */
  readonly quota: number;
  /** Slices that the plan hands out at a time. */
  readonly planChunk: number;
  /** Whether the plan asks for a calendar first, and goes on when it is there. */
  readonly calendar: boolean;
  /** With a calendar: slices that the plan hands out while it is on its way, before it goes on. */
  readonly speculative: number;
  /** How often each rare thing may happen on a path. What is not named never happens. */
  readonly rare: Readonly<Partial<Record<RareKind, number>>>;
  /** How many rare things may happen on a path altogether. */
  readonly maxRare: number;
  /** What `concurrency.change` may be told. */
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

/** The window that the quota is counted in, and the longest time a request without an answer may still be on its way. */
export const WINDOW_MS = 60_000;
export const GRACE_MS = 20_000;
/** What the limiter adds to every window. */
export const MARGIN_MS = 1_000;
/** Time between a crash of the process and its restart. */
export const RESTART_MS = 30_000;
export const SCOPE = 'site:example';
export const RUN_ID = 'run';

/** The property that a run is for, and what the run is called where several share a limiter. */
export interface Property {
  /** Of the addresses of the run's actors. */
  readonly prefix: string;
  readonly runId: string;
  /** The budgets that its tokens are taken from. */
  readonly scopes: readonly string[];
}

/** The only one. */
export const ALONE: Property = { prefix: '', runId: RUN_ID, scopes: [SCOPE] };
