import type { PathChoice } from '../domain/path-choice.ts';

const FORCED: PathChoice = { kind: 'public', reason: 'LONGTAIL_FAST_PATHS is off' };

/**
 * Forces the public interfaces when the environment has `LONGTAIL_FAST_PATHS=off`. For tests: they run the same cases on
 * both paths. Read at each use, so that one process can switch.
 */
export function forcedPublic(): PathChoice | undefined {
  return process.env.LONGTAIL_FAST_PATHS === 'off' ? FORCED : undefined;
}
