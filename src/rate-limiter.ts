import { type ActorRefFrom, createActor, type InspectionEvent, type Observer } from 'xstate';
import { readLimits } from './config.ts';
import type { Clock } from './domain/clock.ts';
import type { BudgetRule } from './machines/quota-window.ts';
import { rateLimiterMachine } from './machines/rate-limiter.ts';

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
  readonly requestsPerMinute?: number;
  /** Limits beside Google's. */
  readonly extraBudgets?: readonly BudgetRule[];
  readonly inspect?: Observer<InspectionEvent> | ((event: InspectionEvent) => void);
  readonly clock?: Clock;
}

/** One limiter for several synchronisations: two properties under one account share its user's and project's quota. */
export interface RateLimiter {
  readonly actor: ActorRefFrom<typeof rateLimiterMachine>;
  /** Scopes whose earlier leases it has counted: what came since, it has granted itself. */
  readonly knownScopes: Set<string>;
  close(): void;
}

/**
 * Makes a rate limiter to hand to several `createSync` calls. Its budgets are per scope: every property has its own site
 * budget, all share those of the user and the project.
 * @throws LongtailError `BAD_OPTION`.
 */
export function createRateLimiter(options: RateLimiterOptions = {}): RateLimiter {
  const { clock, inspect } = options;
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
    ...(clock === undefined ? {} : { clock: actorClock(clock) }),
    ...(inspect === undefined ? {} : { inspect }),
  });
  actor.start();
  return { actor, knownScopes: new Set(), close: () => actor.stop() };
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
