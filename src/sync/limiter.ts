import { randomUUID } from 'node:crypto';
import { createActor, type InspectionEvent, type Observer } from 'xstate';
import { type Clock, systemClock } from '../domain/clock.ts';
import type { BudgetRule } from '../machines/rate-limiter/quota-window.ts';
import { rateLimiterMachine } from '../machines/rate-limiter/rate-limiter.ts';
import { guardInspect } from './guarded-inspect.ts';
import { LeasesOfOthers } from './leases-of-others.ts';
import { type LimiterInternals, registerLimiter } from './limiter-internals.ts';
import { readLimits } from './option-limits.ts';

/**
 * Google's documented limits for Search Analytics, per minute and per day.
 * @see https://developers.google.com/webmaster-tools/limits
 */
export function googleBudgets(requestsPerMinute: number): readonly BudgetRule[] {
  return [
    { scopeKind: 'site', limit: requestsPerMinute, windowMs: 60_000 },
    { scopeKind: 'user', limit: requestsPerMinute, windowMs: 60_000 },
    { scopeKind: 'project', limit: 40_000, windowMs: 60_000 },
    { scopeKind: 'project', limit: 30_000_000, windowMs: 86_400_000 },
  ];
}

export interface RateLimiterOptions {
  /**
   * Maximum requests per minute, applied separately per property and per user: 1 to 40,000.
   * @default 1200
   * @see https://developers.google.com/webmaster-tools/limits
   */
  readonly requestsPerMinute?: number | undefined;
  /**
   * Limits in addition to Google's, per `site`, `user` or `project`.
   * @default []
   * @example [{ scopeKind: 'site', limit: 20, windowMs: 1000 }]
   */
  readonly extraBudgets?: readonly BudgetRule[] | undefined;
  /** Receives XState's inspection events of the limiter. */
  readonly inspect?: Observer<InspectionEvent> | ((event: InspectionEvent) => void) | undefined;
  /** @default the system clock */
  readonly clock?: Clock | undefined;
}

/**
 * A rate limiter that several synchronisations share. Opaque: made by {@link createRateLimiter}, passed as
 * `SyncOptions.rateLimiter`.
 */
export interface RateLimiter {
  /** Stops granting tokens. Runs that still use the limiter fail with `CLOSED`. Safe to repeat. */
  close(): void;
}

/**
 * Creates a rate limiter for several `createSync` calls. Each property has its own budget; all properties share the
 * budgets of their user and project.
 * @example
 * const rateLimiter = createRateLimiter();
 * await using a = createSync({ siteUrl: 'sc-domain:a.com', rateLimiter });
 * await using b = createSync({ siteUrl: 'sc-domain:b.com', rateLimiter });
 * await Promise.all([a.run(), b.run()]);
 * rateLimiter.close();
 * @throws LongtailError `BAD_OPTION`.
 */
export function createRateLimiter(options: RateLimiterOptions = {}): RateLimiter {
  const inside = startLimiter(randomUUID(), options);
  const limiter: RateLimiter = {
    close: () => {
      inside.actor.stop();
    },
  };
  registerLimiter(limiter, inside);
  return limiter;
}

/** Starts a limiter under a given id, which must be unique: the simulation supplies its own. */
export function startLimiter(id: string, options: RateLimiterOptions): LimiterInternals {
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
  keepAliveWhileQueued(actor);
  actor.start();
  let runs = 0;
  return {
    id,
    actor,
    nameRun: () => {
      runs += 1;
      return `${id}-${runs}`;
    },
    leasesOfOthers: new LeasesOfOthers(id, clock ?? systemClock),
  };
}

/** Timers for expiring tokens must not keep the host's process alive. */
const idleClock: Clock = {
  ...systemClock,
  setTimeout: (callback, delayMs) => setTimeout(callback, delayMs).unref(),
};

const KEEP_ALIVE_INTERVAL_MS = 3_600_000;

/** A run that waits for tokens has no timers besides the limiter's, so the limiter keeps the process alive for it. */
function keepAliveWhileQueued(actor: LimiterInternals['actor']): void {
  let timer: NodeJS.Timeout | undefined;
  const release = (): void => {
    clearInterval(timer);
    timer = undefined;
  };
  actor.subscribe({
    next: ({ context }) => {
      if (context.queue.length === 0) release();
      else timer ??= setInterval(() => undefined, KEEP_ALIVE_INTERVAL_MS);
    },
    complete: release,
    error: release,
  });
}

/** Adapts our clock to the two functions that XState expects. */
export function actorClock(clock: Clock): {
  setTimeout(callback: (...args: unknown[]) => void, delayMs: number): unknown;
  clearTimeout(handle: unknown): void;
} {
  return {
    setTimeout: (callback, delayMs) => clock.setTimeout(() => callback(), delayMs),
    clearTimeout: (handle) => clock.clearTimeout(handle),
  };
}
