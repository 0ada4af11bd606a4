import type { ActorRefFrom } from 'xstate';
import { LongtailError } from '../domain/errors.ts';
import type { rateLimiterMachine } from '../machines/rate-limiter/rate-limiter.ts';
import type { LeasesOfOthers } from './leases-of-others.ts';

/** What a run uses of a rate limiter. Hosts see none of it. */
export interface LimiterInternals {
  /** Unique across processes. */
  readonly id: string;
  readonly actor: ActorRefFrom<typeof rateLimiterMachine>;
  /** Returns a run name that is unique across databases. Assignment and lease ids start with it. */
  nameRun(): string;
  /** Tokens that other processes and earlier runs took from the same budgets. */
  readonly leasesOfOthers: LeasesOfOthers;
}

/** The internals of every handle that this copy of the package has made. */
const internals = new WeakMap<object, LimiterInternals>();

export function registerLimiter(handle: object, inside: LimiterInternals): void {
  internals.set(handle, inside);
}

/**
 * Returns the internals of an open rate limiter. An object that only looks like one would leave a run waiting for tokens.
 * @throws LongtailError `BAD_OPTION` for any other value; `CLOSED` after `close()`.
 */
export function internalsOf(handle: unknown): LimiterInternals {
  const inside = typeof handle === 'object' && handle !== null ? internals.get(handle) : undefined;
  if (inside === undefined) {
    throw new LongtailError(
      'BAD_OPTION',
      'rateLimiter is not a rate limiter.',
      'Pass the return value of createRateLimiter() from this package, or omit rateLimiter.',
    );
  }
  if (inside.actor.getSnapshot().status !== 'active') {
    throw new LongtailError(
      'CLOSED',
      'The rate limiter is closed.',
      'Create a new one with createRateLimiter(), and close it after the last run has ended.',
    );
  }
  return inside;
}
