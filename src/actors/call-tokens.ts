/**
 * The tokens of one call: access token → lease → HTTP. Every token is settled or returned exactly once, however the call
 * ends. Pages and checks are counted by their place in the call.
 */
import type { CallPermit } from '../domain/call-permit.ts';
import type { CallEvent, CallOutcome } from '../machines/messages.ts';
import type { Auth } from '../search-console/auth/auth.ts';
import type { HttpCallEnd } from '../search-console/request/call.ts';
import type { TokenLedger } from '../store/token-ledger.ts';
import { outcomeOf } from './away.ts';

export interface CallTokensPorts {
  readonly store: Pick<TokenLedger, 'recordLease' | 'settleLease'>;
  readonly auth: Pick<Auth, 'token' | 'refused'>;
  readonly leases: CallPermit;
  /** Maximum time that an unanswered request can still be on its way. */
  readonly graceMs: number;
  /** Work that outlives the call. It is awaited before the database is closed. */
  readonly background: (work: Promise<unknown>) => void;
}

export interface GrantedTokens {
  readonly leaseId: string;
  readonly scopes: readonly string[];
  /** Requests of the call. */
  readonly count: number;
}

type TokenEvent = Extract<CallEvent, { type: 'call.settled' | 'call.unsent' }>;

/** Either requests may be sent with this access token, or the call is over: nothing was sent. */
export type CallStart =
  | { readonly kind: 'ready'; readonly accessToken: string }
  | { readonly kind: 'over'; readonly outcome: CallOutcome };

export class CallTokens {
  readonly #ports: CallTokensPorts;
  readonly #granted: GrantedTokens;
  readonly #signal: AbortSignal;
  readonly #report: (event: TokenEvent) => void;
  readonly #settled = new Set<number>();
  #isSent = false;

  constructor(
    ports: CallTokensPorts,
    granted: GrantedTokens,
    signal: AbortSignal,
    report: (event: TokenEvent) => void,
  ) {
    this.#ports = ports;
    this.#granted = granted;
    this.#signal = signal;
    this.#report = report;
  }

  /** `nextTurn` spreads work that comes at once, after the lease is recorded. */
  async begin(nextTurn?: () => Promise<void> | undefined): Promise<CallStart> {
    const { store, auth, leases } = this.#ports;
    const { leaseId, scopes, count } = this.#granted;
    const token = await auth.token();
    if (token.kind === 'failed') {
      const { code, reason, nextStep } = token;
      return this.#unsent({ kind: 'fatal', fatal: { code, reason, nextStep } });
    }
    if (token.kind === 'unavailable') return this.#unsent({ kind: 'failed', reason: token.reason });
    if (!(await leases.whenKept(this.#signal))) return this.#unsent({ kind: 'aborted' });
    // The last step before the first byte is sent. It makes a run that dies count for the next one, and a run that lost
    // its property or account finds out here.
    const leased = await store.recordLease({ leaseId, scopes, tokens: count });
    if (leased.kind !== 'ok') return this.#unsent(outcomeOf(leased));
    const turn = nextTurn?.();
    if (turn !== undefined) await turn;
    // The process may have been frozen for a long time between any two steps.
    while (!leases.mayCall()) {
      if (!(await leases.whenKept(this.#signal))) return this.#unsent({ kind: 'aborted' });
    }
    if (this.#signal.aborted) return this.#unsent({ kind: 'aborted' });
    return { kind: 'ready', accessToken: token.token };
  }

  /** The requests were sent: from now on they may count. */
  sent(): void {
    this.#isSent = true;
  }

  /** The request at this place was answered. */
  settle(place: number, isAccepted: boolean): void {
    if (place >= this.#granted.count || this.#settled.has(place)) return;
    this.#settled.add(place);
    this.#report({ type: 'call.settled', tokens: 1, accepted: isAccepted ? 1 : 0, graceMs: 0 });
  }

  /**
   * Settles tokens without an answer. A request that may still be on its way settles as if it arrived at the last
   * possible moment. One that certainly was not sent is returned.
   */
  settleRest(end: HttpCallEnd | undefined): void {
    const open = this.#open();
    const neverLeft =
      !this.#isSent ||
      (end !== undefined && (end.kind === 'failed' || end.kind === 'aborted') && !end.mayHaveArrived);
    const graceMs = open === 0 || neverLeft || wasAnsweredAsAWhole(end) ? 0 : this.#ports.graceMs;
    if (open > 0 && neverLeft) this.#report({ type: 'call.unsent', tokens: open });
    else if (open > 0) this.#report({ type: 'call.settled', tokens: open, accepted: 0, graceMs });
    const returned = neverLeft ? open : 0;
    this.#record(this.#granted.count - returned, graceMs, returned);
  }

  /** A bug: the call must stop, and no token may stay unsettled. */
  broke(error: unknown): CallOutcome {
    const open = this.#open();
    if (open > 0 && !this.#isSent) this.#report({ type: 'call.unsent', tokens: open });
    else if (open > 0) {
      this.#report({ type: 'call.settled', tokens: open, accepted: 0, graceMs: this.#ports.graceMs });
    }
    const reason = error instanceof Error ? error.message : String(error);
    return { kind: 'fatal', fatal: { code: 'INTERNAL', reason } };
  }

  /** A 401: the access token is renewed once. If the new one is refused too, the error is fatal. */
  async unauthorized(accessToken: string, reason: string): Promise<CallOutcome> {
    const verdict = await this.#ports.auth.refused(accessToken);
    return verdict === 'retry'
      ? { kind: 'unauthorized' }
      : { kind: 'fatal', fatal: { code: 'UNAUTHORIZED', reason } };
  }

  #open(): number {
    return this.#granted.count - this.#settled.size;
  }

  /** Nothing was sent: all tokens are returned. */
  #unsent(outcome: CallOutcome): CallStart {
    this.#report({ type: 'call.unsent', tokens: this.#granted.count });
    this.#record(0, 0, this.#granted.count);
    return { kind: 'over', outcome };
  }

  /**
   * The call does not wait for this. If a lease is never settled, the next run counts it as settled when it finds it,
   * which is later.
   */
  #record(settled: number, graceMs: number, returned: number): void {
    const { leaseId } = this.#granted;
    this.#ports.background(this.#ports.store.settleLease({ leaseId, settled, graceMs, returned }));
  }
}

function wasAnsweredAsAWhole(end: HttpCallEnd | undefined): boolean {
  switch (end?.kind) {
    case 'quota':
    case 'unauthorized':
    case 'forbidden':
    case 'fatal':
      return true;
    default:
      return false;
  }
}
