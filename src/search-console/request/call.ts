import type { QueryAnswer } from '../answer/decode-rows.ts';
import type { QuotaRefusal, Refusal } from '../answer/outcome.ts';
import type { ApiRequest } from './query.ts';

export interface CallOptions {
  readonly accessToken: string;
  readonly signal: AbortSignal;
  /** `plain` takes exactly one request. */
  readonly mode: 'batch' | 'plain';
}

/** The result of one request of the call. */
export type PageOutcome = { readonly kind: 'ok'; readonly answer: QueryAnswer } | Refusal;

/** The steps of a call, in this order: `sent` at most once, `head`s and `answer`s, and `end` exactly once, last. */
export type CallStep =
  /** From now on bytes of the request may leave: only before this step is it certain that nothing was sent. */
  | { readonly kind: 'sent' }
  /** The head of this answer was read: its token settles. At most once per index. */
  | { readonly kind: 'head'; readonly index: number; readonly status: number }
  /** At most once per index; exactly once if the call ends `answered`. `index` refers to the given requests. */
  | { readonly kind: 'answer'; readonly index: number; readonly outcome: PageOutcome }
  | {
      readonly kind: 'end';
      readonly outcome: HttpCallEnd;
      /** Unrequested or duplicate parts, which were ignored. */
      readonly strayParts: number;
    };

/**
 * How the call ended. `answered`: every index has had its `answer`, if only as `retryable` because its part was
 * left out or too large. In all other cases indexes without an `answer` had none, as when the line was cut after some of
 * the parts: the call costs them no attempt.
 */
export type HttpCallEnd =
  | { readonly kind: 'answered' }
  /** No answer, or a refusal of the whole call. `mayHaveArrived` is false only if certainly nothing was sent. */
  | { readonly kind: 'failed'; readonly reason: string; readonly mayHaveArrived: boolean }
  | { readonly kind: 'aborted'; readonly mayHaveArrived: boolean }
  /** The outer answer refused the call: no request of the batch was executed. */
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
