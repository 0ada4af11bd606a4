import { randomUUID } from 'node:crypto';
import { type ActorRefFrom, createActor, type InspectionEvent, type Observer } from 'xstate';
import { type Clock, systemClock } from '../domain/clock.ts';
import type { BudgetRule } from '../machines/rate-limiter/quota-window.ts';
import { rateLimiterMachine } from '../machines/rate-limiter/rate-limiter.ts';
import { guardInspect } from './guarded-inspect.ts';
import { LeasesOfOthers } from './leases-of-others.ts';
import { brandLimiter } from './limiter-brand.ts';
import { readLimits } from './option-limits.ts';

/** Google's documented limits for Search Analytics, per minute and per day. */
export function googleBudgets(requestsPerMinute: number): readonly BudgetRule[] {
  return [
    { scopeKind: 'site', limit: requestsPerMinute, windowMs: 60_000 },
    { scopeKind: 'user', limit: requestsPerMinute, windowMs: 60_000 },
    { scopeKind: 'project', limit: 40_000, windowMs: 60_000 },
    { scopeKind: 'project', limit: 30_000_000, windowMs: 86_400_000 },
  ];
}

export interface RateLimiterOptions {
  /** Requests a minute, a site and a user. Default 1,200, Google's documented limit. */
  readonly requestsPerMinute?: number | undefined;
  /** Limits beside Google's. */
  readonly extraBudgets?: readonly BudgetRule[] | undefined;
  readonly inspect?: Observer<InspectionEvent> | ((event: InspectionEvent) => void) | undefined;
  readonly clock?: Clock | undefined;
}

/** One limiter for several synchronisations: two properties under one account share its user's and project's quota. */
export interface RateLimiter {
  /** No other has it, in this process or another. */
  readonly id: string;
  readonly actor: ActorRefFrom<typeof rateLimiterMachine>;
  /** A name for a run that no other has, in this database or another: assignments and leases are called after it. */
  nameRun(): string;
  /** What others took from its budgets. */
  readonly leasesOfOthers: LeasesOfOthers;
  /** No token comes from it any more; a run that needs one fails. Safe to repeat. */
  close(): void;
}

/**
 * Makes a rate limiter to hand to several `createSync` calls. Its budgets are per scope: every property has its own site
 * budget, all share those of the user and the project.
 * @throws LongtailError `BAD_OPTION`.
 */
export function createRateLimiter(options: RateLimiterOptions = {}): RateLimiter {
  return rateLimiterCalled(randomUUID(), options);
}

/** As {@link createRateLimiter}, by a name that no other has: where chance has to come from outside. */
export function rateLimiterCalled(id: string, options: RateLimiterOptions): RateLimiter {
  const { clock } = options;
  const inspect = guardInspect(options.inspect);
  const { requestsPerMinute, extraBudgets } = readLimits(options);
  const actor = createActor(rateLimiterMachine, {
    input: {
      rules: [...googleBudgets(requestsPerMinute), ...extraBudgets],
      marginMs: 25,
      loadCoolingMs: 15 * 60_000,
      qpsCoolingMs: 60_000,
      maxLoadCoolings: 2,
      maxQpsCoolings: 8,
      refusingMs: 15 * 60_000,
    },
    clock: actorClock(clock === undefined || clock === systemClock ? idleClock : clock),
    ...(inspect === undefined ? {} : { inspect }),
  });
  keepAliveWhileAwaited(actor);
  actor.start();
  let runs = 0;
  const limiter: RateLimiter = {
    id,
    actor,
    nameRun: () => {
      runs += 1;
      return `${id}-${runs}`;
    },
    leasesOfOthers: new LeasesOfOthers(id, clock ?? systemClock),
    close: () => {
      actor.stop();
    },
  };
  brandLimiter(limiter, () => actor.getSnapshot().status !== 'active');
  return limiter;
}

/** Tokens that expire are no reason for a script to live on. */
const idleClock: Clock = {
  ...systemClock,
  setTimeout: (callback, delayMs) => setTimeout(callback, delayMs).unref(),
};

const LONG_MS = 3_600_000;

/** Somebody who waits for tokens is: all his timers are the limiter's. */
function keepAliveWhileAwaited(actor: RateLimiter['actor']): void {
  let timer: NodeJS.Timeout | undefined;
  const letGo = (): void => {
    clearInterval(timer);
    timer = undefined;
  };
  actor.subscribe({
    next: ({ context }) => {
      if (context.queue.length === 0) letGo();
      else timer ??= setInterval(() => undefined, LONG_MS);
    },
    complete: letGo,
    error: letGo,
  });
}

/** XState's clock out of ours: it takes the same two functions. */
export function actorClock(clock: Clock): {
  setTimeout(callback: (...args: unknown[]) => void, delayMs: number): unknown;
  clearTimeout(handle: unknown): void;
} {
  return {
    setTimeout: (callback, delayMs) => clock.setTimeout(() => callback(), delayMs),
    clearTimeout: (handle) => clock.clearTimeout(handle),
  };
}
