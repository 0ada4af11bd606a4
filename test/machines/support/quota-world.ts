/**
 * Clients, a server and a network around one real rate limiter, on a clock that a seed drives. The server notes when each
 * request arrives, which is what its quota counts; the limiter never learns it.
 */

import { type ActorRefFrom, createActor } from 'xstate';
import type { GrantEvent, LimiterEvent } from '../../../src/machines/messages.ts';
import type { BudgetRule } from '../../../src/machines/rate-limiter/quota-window.ts';
import {
  type RateLimiterInput,
  rateLimiterMachine,
} from '../../../src/machines/rate-limiter/rate-limiter.ts';
import { chances } from '../../support/chance.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { type Bystander, createBystander } from './refs.ts';

export const MARGIN_MS = 25;
/** Node's timers fire up to this much too early. */
const EARLIEST_MS = 0.7;

export const limiterInput = (rules: readonly BudgetRule[]): RateLimiterInput => ({
  rules,
  marginMs: MARGIN_MS,
  loadCoolingMs: 900_000,
  qpsCoolingMs: 60_000,
  maxLoadCoolings: 2,
  maxQpsCoolings: 8,
  refusingMs: 3_600_000,
});

/** A token that was sent, or may have been: what it cost is judged by. */
export interface Spent {
  readonly scopes: readonly string[];
  readonly grantedMs: number;
  /** When its request can last have arrived; Infinity while its call is under way. */
  countedFromMs: number;
}

export interface Arrival {
  readonly scopes: readonly string[];
  readonly atMs: number;
}

export interface ClientPlan {
  readonly scopes: readonly string[];
  readonly batches: readonly number[];
  readonly maxLatencyMs: number;
  readonly maxThinkMs: number;
  /** How often a call is aborted, not sent at all, or its request for tokens cancelled. In [0, 1]. */
  readonly abortRate: number;
  readonly unsentRate: number;
  readonly cancelRate: number;
}

/** Connect and first-byte timeouts together: how long an aborted request may still be on its way. */
export const GRACE_MS = 190_000;

export class QuotaWorld {
  readonly clock: ManualClock;
  readonly limiter: ActorRefFrom<typeof rateLimiterMachine>;
  readonly arrivals: Arrival[] = [];
  readonly spent: Spent[] = [];
  /** Requests asked for and granted, in order, by scopes. */
  readonly asked: string[] = [];
  readonly answered: string[] = [];
  readonly #chance: () => number;
  readonly #clients: Bystander<GrantEvent>[] = [];
  readonly #watch: (world: QuotaWorld) => void;
  #lastRequest = 0;

  constructor(rules: readonly BudgetRule[], seed: number, watch: (world: QuotaWorld) => void = () => {}) {
    this.#chance = chances(seed);
    this.#watch = watch;
    this.clock = new ManualClock(0, () => this.#chance() * EARLIEST_MS);
    this.limiter = createActor(rateLimiterMachine, { input: limiterInput(rules), clock: this.clock });
    this.limiter.start();
  }

  tell(event: LimiterEvent): void {
    this.limiter.send(event);
    this.#watch(this);
  }

  /** Requests of an earlier run: `tokens` were answered `settledMsAgo`, and arrived at some time before. */
  recover(scopes: readonly string[], tokens: number, settledMsAgo: number): void {
    for (let token = 0; token < tokens; token += 1) {
      const atMs = -settledMsAgo - this.#chance() * 1_000;
      this.arrivals.push({ scopes, atMs });
      this.spent.push({ scopes, grantedMs: atMs, countedFromMs: -settledMsAgo });
    }
    const leases = scopes.map((scope) => ({ scope, tokens, settledMsAgo }));
    this.limiter.send({ type: 'leases.recovered', leases });
  }

  /** A client that works through its batches, one call at a time; pages without a token are asked for again. */
  addClient(plan: ClientPlan): void {
    const batches = [...plan.batches];
    let waitingFor = '';
    const client = createBystander<GrantEvent>('client', ({ event }) => {
      if (event.type !== 'tokens.granted') return;
      if (event.requestId === waitingFor) call(event);
      else this.tell({ type: 'lease.returned', leaseId: event.leaseId, tokens: event.tokens });
    });
    this.#clients.push(client);
    const ask = (): void => {
      const tokens = batches[0];
      if (tokens === undefined) return;
      this.#lastRequest += 1;
      waitingFor = `${plan.scopes.join(' ')} #${this.#lastRequest}`;
      this.asked.push(waitingFor);
      const requestId = waitingFor;
      this.tell({ type: 'tokens.request', requestId, tokens, scopes: plan.scopes, replyTo: client.ref });
      if (waitingFor === requestId && this.#chance() < plan.cancelRate) {
        this.clock.setTimeout(() => cancel(requestId), this.#chance() * 30_000);
      }
    };
    const think = (): void => {
      this.clock.setTimeout(ask, this.#chance() * plan.maxThinkMs);
    };
    const cancel = (requestId: string): void => {
      if (waitingFor !== requestId) return;
      waitingFor = '';
      this.asked.splice(this.asked.indexOf(requestId), 1);
      this.tell({ type: 'tokens.cancel', requestId });
      think();
    };
    const call = ({ tokens, leaseId, requestId }: Extract<GrantEvent, { type: 'tokens.granted' }>): void => {
      waitingFor = '';
      this.answered.push(requestId);
      const left = (batches[0] ?? 0) - tokens;
      if (left > 0) batches[0] = left;
      else batches.shift();
      this.#send(plan, leaseId, tokens, think);
    };
    ask();
  }

  /** One call of `tokens` requests: each arrives, is answered or not, and is settled, at a moment of its own. */
  #send(plan: ClientPlan, leaseId: string, tokens: number, done: () => void): void {
    const { scopes } = plan;
    const grantedMs = this.clock.now();
    const latencyMs = this.#chance() * plan.maxLatencyMs;
    const fate = this.#chance();
    if (fate < plan.unsentRate) {
      this.clock.setTimeout(() => {
        this.tell({ type: 'lease.returned', leaseId, tokens });
        done();
      }, latencyMs);
      return;
    }
    const graceMs = fate < plan.unsentRate + plan.abortRate ? GRACE_MS : 0;
    const ofCall: Spent[] = [];
    for (let token = 0; token < tokens; token += 1) {
      const one: Spent = { scopes, grantedMs, countedFromMs: Number.POSITIVE_INFINITY };
      ofCall.push(one);
      // At once, at the last possible moment, or in between: the extremes are what breaks a window.
      const where = this.#chance();
      const share = where < 0.3 ? 0 : where < 0.6 ? 1 : this.#chance();
      const atMs = grantedMs + share * (latencyMs + graceMs);
      this.arrivals.push({ scopes, atMs });
    }
    this.spent.push(...ofCall);
    this.clock.setTimeout(() => {
      // What is settled counts from now on, and not before.
      for (const one of ofCall) one.countedFromMs = this.clock.now() + graceMs;
      this.tell({ type: 'lease.settled', leaseId, tokens, accepted: graceMs > 0 ? 0 : tokens, graceMs });
      done();
    }, latencyMs);
  }

  /** The most requests that any window of the server held, wherever it starts. */
  fullestWindow(scope: string, windowMs: number): number {
    const times = this.arrivals.filter(({ scopes }) => scopes.includes(scope)).map(({ atMs }) => atMs);
    times.sort((a, b) => a - b);
    let fullest = 0;
    let first = 0;
    for (const [last, time] of times.entries()) {
      while ((times[first] ?? time) <= time - windowMs) first += 1;
      fullest = Math.max(fullest, last - first + 1);
    }
    return fullest;
  }

  budget(scope: string, windowMs: number) {
    const { budgets } = this.limiter.getSnapshot().context;
    return budgets.get(scope)?.find((budget) => budget.windowMs === windowMs);
  }

  close(): void {
    this.limiter.stop();
    for (const client of this.#clients) client.stop();
  }
}
