import type { DatasetName } from '../../domain/dataset.ts';
import type { ErrorCode } from '../../domain/errors.ts';
import type { FilterDimension } from '../../domain/filter.ts';
import type { Comparison, RowFigures, WhyNotAsked } from '../../domain/row-check.ts';
import type { Dataset, Day, SearchType } from '../../domain/slice.ts';
import type { HaltReason } from '../../machines/messages.ts';
import type { NoticeEvent, QuotaEvent, RetryEvent, SyncOptions } from '../types.ts';

/**
 * Options of {@link createVerification}. Only `siteUrl` is required. `undefined` means the default. Those that are not
 * described here are as in {@link SyncOptions}.
 * @example
 * const options: VerificationOptions = { siteUrl: 'sc-domain:example.com', dataset: 'page+query', sample: 500 };
 */
export interface VerificationOptions
  extends Pick<
    SyncOptions,
    | 'siteUrl'
    | 'database'
    | 'from'
    | 'to'
    | 'days'
    | 'batchSize'
    | 'requestsPerMinute'
    | 'extraBudgets'
    | 'maxAttempts'
    | 'wait'
    | 'credentials'
    | 'apiRoot'
    | 'tokenUrl'
    | 'rateLimiter'
    | 'migrate'
    | 'prepare'
    | 'haltDeadlineMs'
    | 'inspect'
  > {
  /**
   * Draw from this dataset alone.
   * @default every dataset that the table has
   */
  readonly dataset?: DatasetName | undefined;
  /**
   * Draw from this search type alone.
   * @default every search type that the table has
   */
  readonly searchType?: SearchType | undefined;
  /**
   * Keys to ask Google for, 1 to 10,000, each one request. A tenth of them, if there are such keys, are keys that the table
   * does not have on that day.
   * @default 100
   */
  readonly sample?: number | undefined;
  /**
   * A whole number from 0 to 4,294,967,295. The same seed, table and options draw the same sample.
   * @default a random one, told in the outcome
   */
  readonly seed?: number | undefined;
}

/** One key of one day. */
export interface VerifiedKey {
  readonly searchType: SearchType;
  readonly dataset: Dataset;
  readonly date: Day;
  /** The value of each dimension: `{ page: 'https://…', query: '…' }`. Empty for totals. */
  readonly key: Readonly<Partial<Record<FilterDimension, string>>>;
}

/** A key for which Google and the table do not say the same. */
export interface Difference extends VerifiedKey {
  /**
   * `changed`: other figures. `missingAtGoogle`: Google no longer has the row. `missingInTable`: Google has a row that the
   * table lacks.
   */
  readonly kind: Exclude<Comparison, 'equal'>;
  readonly table: RowFigures | null;
  readonly google: RowFigures | null;
  /** When the table's day was fetched, ISO 8601, and the version of it that readers see. */
  readonly fetchedAt: string;
  readonly version: number;
  /** When Google gave its answer, ISO 8601. */
  readonly askedAt: string;
}

/** A key that Google was asked for, without an answer that can be compared. */
export interface UnansweredKey extends VerifiedKey {
  readonly reason: string;
}

/** A key that was drawn and cannot be asked. */
export interface SkippedKey extends Omit<VerifiedKey, 'key'> {
  readonly why: WhyNotAsked;
}

export interface VerificationFigures {
  readonly siteUrl: string;
  readonly from: Day;
  readonly to: Day;
  /** Null: every one that the table has. */
  readonly dataset: Dataset | null;
  readonly searchType: SearchType | null;
  readonly seed: number;
  /** Keys that were to be drawn. */
  readonly sample: number;
  /** What was drawn from: final days of complete slices, and their rows. */
  readonly population: { readonly slices: number; readonly rows: number };
  /** Days that the table has, and Google no longer keeps. Nothing of them was drawn. */
  readonly daysTooOld: number;
  /** Drawn rows of the table, and keys that it does not have. */
  readonly drawn: { readonly rows: number; readonly absent: number };
  readonly equal: number;
  readonly different: number;
  readonly unanswered: number;
  readonly skipped: number;
  /** Keys that were still to be asked when it ended. */
  readonly notAsked: number;
  /** Requests that used a token. A key that differs is asked twice. */
  readonly apiCalls: number;
  readonly httpCalls: number;
  readonly quotaRefusals: number;
  readonly durationMs: number;
  readonly differences: readonly Difference[];
  readonly unansweredKeys: readonly UnansweredKey[];
  readonly skippedKeys: readonly SkippedKey[];
}

/**
 * How a verification ended. `equal`: every key that was asked is the same at Google. `different`: at least one is not, twice in
 * a row. `incomplete`: nothing differs, but some keys had no answer, or none could be asked.
 */
export type VerificationOutcome = VerificationFigures &
  (
    | { readonly status: 'equal' | 'different' | 'incomplete'; readonly haltReason: null }
    | { readonly status: 'halted'; readonly haltReason: HaltReason }
    | {
        readonly status: 'failed';
        readonly haltReason: null;
        readonly failure: { readonly code: ErrorCode; readonly message: string; readonly nextStep: string };
      }
  );

/**
 * What a verification is doing: `drawing` the sample, `waitingForTokens`, `asking` Google, `waiting` before it tries Google or
 * the database again, `halting`, `ended`.
 */
export type VerificationState = 'drawing' | 'waitingForTokens' | 'asking' | 'waiting' | 'halting' | 'ended';

/** Figures of a verification in progress. */
export interface VerificationProgress {
  readonly state: VerificationState;
  /** Keys with a final result. */
  readonly done: number;
  /** Keys to ask; 0 while the sample is being drawn. */
  readonly drawn: number;
  readonly different: number;
  readonly apiCalls: number;
  readonly httpCalls: number;
  readonly elapsedMs: number;
}

export interface VerificationEvents {
  readonly progress: VerificationProgress;
  readonly difference: Difference;
  readonly quota: QuotaEvent;
  readonly retry: RetryEvent;
  readonly notice: NoticeEvent;
}

/**
 * A check of the table against Google. Created by `createVerification`; runs once.
 * @example
 * await using verification = createVerification({ siteUrl: 'sc-domain:example.com', sample: 500 });
 * const { status, differences } = await verification.run();
 */
export interface Verification extends AsyncDisposable {
  /**
   * Draws the sample and asks Google for it. Aborting `signal` halts it. It takes the property and the account like a
   * synchronisation, so that both never exceed the quota together. It changes no row of the table.
   * @throws LongtailError if the environment is broken, the credentials are wrong, there is nothing to verify
   *   (`NOTHING_TO_VERIFY`), or `run` was called before (`ALREADY_RUN`, `CLOSED`).
   */
  run(options?: { readonly signal?: AbortSignal | undefined }): Promise<VerificationOutcome>;
  /** Halts it in any phase. Resolves when nothing is in flight, within `haltDeadlineMs`. */
  halt(reason?: string): Promise<void>;
  /** Adds a listener; returns a function that removes it. An error that the listener throws becomes a warning. */
  on<K extends keyof VerificationEvents>(
    type: K,
    listener: (event: VerificationEvents[K]) => void,
  ): () => void;
  /** Halts a verification in progress and closes everything that it opened, and nothing else. */
  close(): Promise<void>;
}
