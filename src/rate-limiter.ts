import { type ActorRefFrom, createActor, type InspectionEvent, type Observer } from 'xstate';
import { readLimits } from './config.ts';
import type { Clock } from './domain/clock.ts';
import { guardInspect } from './guarded-inspect.ts';
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
  /**
   * Holds a user's scope against other processes for as long as one of this limiter's synchronisations needs it: `lock`
   * takes it, and that of the next one is called when the holder has ended. Returns what gives it up, to be called once
   * the holder's own lock is released.
   */
  holdUser(userScope: string, lock: () => Promise<void>): Promise<() => Promise<void>>;
  close(): void;
}

/**
 * Makes a rate limiter to hand to several `createSync` calls. Its budgets are per scope: every property has its own site
 * budget, all share those of the user and the project.
 * @throws LongtailError `BAD_OPTION`.
 */
export function createRateLimiter(options: RateLimiterOptions = {}): RateLimiter {
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
    ...(clock === undefined ? {} : { clock: actorClock(clock) }),
    ...(inspect === undefined ? {} : { inspect }),
  });
  actor.start();
  return { actor, knownScopes: new Set(), holdUser: createUserHolds(), close: () => actor.stop() };
}

function createUserHolds(): RateLimiter['holdUser'] {
  /** Who needs the scope, the one that holds it first; and when it is held. */
  const holds = new Map<string, { readonly holders: (() => Promise<void>)[]; held: Promise<void> }>();
  return async (userScope, lock) => {
    // Noted before anything is waited for: two that begin at once would both take it, and one be refused.
    const hold = holds.get(userScope) ?? { holders: [], held: lock() };
    holds.set(userScope, hold);
    hold.holders.push(lock);
    const leave = (): void => {
      hold.holders.splice(hold.holders.indexOf(lock), 1);
      if (hold.holders.length === 0 && holds.get(userScope) === hold) holds.delete(userScope);
    };
    try {
      await hold.held;
    } catch (error) {
      leave();
      throw error;
    }
    return async () => {
      const wasFirst = hold.holders[0] === lock;
      leave();
      const [next] = hold.holders;
      if (!wasFirst || next === undefined) return;
      // Another process may have been faster: then both go on, and a refusal lowers the limits.
      hold.held = next().catch(() => undefined);
      await hold.held;
    };
  };
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
