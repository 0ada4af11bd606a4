/** `loadPlan` as the protocol sees it: slices not yet supplied, and requests not yet answered. */
import { type AbstractDatabase, isCalendarSettled, missingSlices } from './abstract-database.ts';

export interface AbstractPlan {
  /** Requests without an answer. */
  readonly owed: number;
  /**
   * `speculative`: slices are supplied while the calendar is under way. `waiting`: the next answer waits for it. `quiet`:
   * all were supplied, and when it is asked again their pages are done.
   */
  readonly stage: 'calendar' | 'speculative' | 'waiting' | 'slices' | 'quiet';
  /** Slices not yet supplied, in the plan's order. */
  readonly left: readonly string[];
}

export function startPlan(database: AbstractDatabase): AbstractPlan {
  const left = missingSlices(database);
  return { owed: 0, stage: 'calendar' in database && left.length > 0 ? 'calendar' : 'slices', left };
}

/** Whether it could answer now. */
export function mayAnswer({ owed, stage }: AbstractPlan, database: AbstractDatabase): boolean {
  return owed > 0 && (stage !== 'waiting' || isCalendarSettled(database));
}
