import { LongtailError } from '../domain/errors.ts';

/** Limiters that were made here, and how to ask whether they are closed. */
const MADE = new WeakMap<object, () => boolean>();

/** To be called by whoever makes a rate limiter. */
export function brandLimiter(limiter: object, isClosed: () => boolean): void {
  MADE.set(limiter, isClosed);
}

/**
 * Whether a run can take its tokens from this: an object that only looks like a limiter would leave it waiting.
 * @throws LongtailError `BAD_OPTION`, or `CLOSED` when it is closed.
 */
export function checkLimiter(limiter: unknown): void {
  const isClosed = typeof limiter === 'object' && limiter !== null ? MADE.get(limiter) : undefined;
  if (isClosed === undefined) {
    throw new LongtailError(
      'BAD_OPTION',
      'rateLimiter is no rate limiter.',
      'Give what createRateLimiter() of this same package returned, or leave it out.',
    );
  }
  if (isClosed()) {
    throw new LongtailError(
      'CLOSED',
      'The rate limiter is closed: no token would come.',
      'Close it when the last run is over, and make a new one with createRateLimiter().',
    );
  }
}
