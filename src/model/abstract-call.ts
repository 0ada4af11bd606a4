/**
 * `fetchBatch` as the protocol sees it: pages without an answer, tokens not yet settled. Its possible events are in
 * `events.ts`, their effects in `transition.ts`.
 */
import type { FetchBatchInput, Page } from '../machines/index.ts';

export interface AbstractCall {
  readonly leaseId: string;
  readonly maxAttempts: number;
  /** Pages without an answer. */
  readonly pages: readonly Page[];
  /** Tokens neither settled nor returned. */
  readonly unsettled: number;
  /** Whether any page was answered. If so, the call no longer fails as a whole. */
  readonly answered: boolean;
  readonly aborted: boolean;
  /** The page that was read and that the database does not accept. Pages read after it wait behind it. */
  readonly stalled: {
    readonly page: Page;
    /** `trying`: it was told to try once more. */
    readonly is: 'waiting' | 'trying';
  } | null;
  /** Its worker crashed, so its messages are ignored. */
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
  /** Every page was answered. */
  | 'answered'
  /** It failed as a whole, after its request may have been sent, or before. */
  | 'failed'
  | 'failedUnsent'
  /** A call that was told to abort, after its request may have been sent, or before. */
  | 'aborted'
  | 'abortedUnsent'
  | 'unauthorized'
  | 'fatal'
  /** The database did not accept its lease. */
  | 'databaseAwayUnsent';
