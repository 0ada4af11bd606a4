import type { QueryAnswer } from '../answer/decode-rows.ts';
import type { QuotaRefusal, Refusal } from '../answer/outcome.ts';
import type { ApiRequest } from './query.ts';

export interface CallOptions {
  readonly accessToken: string;
  readonly signal: AbortSignal;
  /** `plain` takes exactly one request. */
  readonly mode: 'batch' | 'plain';
}

/** What came of one request of the call. */
export type PageOutcome = { readonly kind: 'ok'; readonly answer: QueryAnswer } | Refusal;

/** What a call tells, in this order: `sent` at most once, `head`s and `answer`s, and `end` exactly once, last. */
export type CallStep =
  /** Bytes of the request may leave from now on: what has not been sent is sure to be unsent only before this step. */
  | { readonly kind: 'sent' }
  /** The head of this request's own answer was read: it settles in the quota. At most once an index. */
  | { readonly kind: 'head'; readonly index: number; readonly status: number }
  /** At most once an index; exactly once when the call ends `answered`. `index` is into the requests given. */
  | { readonly kind: 'answer'; readonly index: number; readonly outcome: PageOutcome }
  | {
      readonly kind: 'end';
      readonly outcome: HttpCallEnd;
      /** Parts that nobody asked for, or that came twice: ignored. */
      readonly strayParts: number;
    };

/**
 * How the call ended. `answered`: every index has had its `answer`, if only as `retryable` because its part was
 * left out or too large. In all other cases indexes without an `answer` had none, as when the line was cut after some of
 * the parts: the call costs them no attempt.
 */
export type HttpCallEnd =
  | { readonly kind: 'answered' }
  /** No answer, or a refusal of the whole that names no page. `mayHaveArrived` is false only if surely nothing was sent. */
  | { readonly kind: 'failed'; readonly reason: string; readonly mayHaveArrived: boolean }
  | { readonly kind: 'aborted'; readonly mayHaveArrived: boolean }
  /** The outer answer itself refused: nothing of the batch was done. */
  | Extract<Refusal, { kind: 'unauthorized' | 'forbidden' | 'fatal' }>
  | QuotaRefusal;

export interface Client {
  /**
   * Makes one HTTP call for all `requests`. Pulled: while the consumer works on a step nothing further is read, and no
   * timer runs. Leaving the loop early destroys the socket. Throws only on wrong use, never for what a network or a
   * server does.
   */
  call(requests: readonly ApiRequest[], options: CallOptions): AsyncGenerator<CallStep, void, void>;
}
