import type { PathChoice } from '../domain/path-choice.ts';

const FORCED: PathChoice = { kind: 'public', reason: 'LONGTAIL_FAST_PATHS is off' };

/**
 * Forces the public interfaces if the environment has `LONGTAIL_FAST_PATHS=off`. Tests use it to run the same cases on
 * both paths. It is read at each use, so one process can switch.
 */
export function forcedPublic(): PathChoice | undefined {
  return process.env.LONGTAIL_FAST_PATHS === 'off' ? FORCED : undefined;
}
