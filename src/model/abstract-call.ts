/**
 * `fetchBatch` as the protocol sees it: pages without an answer, tokens without a settlement. What it may do next is in
 * `events.ts`, what that leads to in `turn.ts`.
 */
import type { FetchBatchInput, Page } from '../machines/index.ts';

export interface AbstractCall {
  readonly leaseId: string;
  readonly maxAttempts: number;
  /** Pages without an answer. */
  readonly pages: readonly Page[];
  /** Tokens that are neither settled nor given back. */
  readonly unsettled: number;
  /** Whether any page has had its answer: then the call no longer fails as a whole. */
  readonly answered: boolean;
  readonly aborted: boolean;
  /** The page that has been read and that the database does not take; those read after it wait behind it. */
  readonly stalled: {
    readonly page: Page;
    /** `trying`: it was told to try once more. */
    readonly is: 'waiting' | 'trying';
  } | null;
  /** Its worker crashed: nobody hears what it says. */
  readonly orphaned: boolean;
}

export function startCall({ leaseId, maxAttempts, pages }: FetchBatchInput): AbstractCall {
  return {
    leaseId,
    maxAttempts,
    pages,
    unsettled: pages.length,
    answered: false,
    aborted: false,
    stalled: null,
    orphaned: false,
  };
}

/** How a call may end. */
export type CallEnd =
  /** Every page has had its answer. */
  | 'answered'
  /** It failed as a whole, after its request may have left, or before. */
  | 'failed'
  | 'failedUnsent'
  /** A call that was told to abort: after its request may have left, or before. */
  | 'aborted'
  | 'abortedUnsent'
  | 'unauthorized'
  | 'fatal'
  /** The database would not take its lease. */
  | 'databaseAwayUnsent';
