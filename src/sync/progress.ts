/**
 * Sums what the machines emit into figures. Nothing here decides anything; the outcome's figures of slices and rows are
 * read from the database, not from here.
 */
import type { Clock } from '../domain/clock.ts';
import type { Day } from '../domain/slice.ts';
import type { Progress } from './types.ts';

/** The part of the figures that only counting can give. */
export interface Counters {
  apiCalls: number;
  httpCalls: number;
  retries: number;
  quotaRefusals: number;
  rows: number;
  pagesInFlight: number;
}

export interface ProgressPlan {
  readonly slicesPlanned: number;
  readonly slicesDone: number;
  /** Days, and how many of their slices are not done yet. Days that are done are left out. */
  readonly openSlicesByDay: ReadonlyMap<Day, number>;
  readonly daysPlanned: number;
}

/** What is read off the machines at the moment of asking. */
export type MachineFigures = Pick<
  Progress,
  'state' | 'pagesWaiting' | 'maxConcurrency' | 'isAuto' | 'quotaUsed' | 'quotaLimit'
>;

export interface ProgressTracker {
  readonly counters: Counters;
  /** Told once: the plan is known. Slices that need no call count as done at once, and so do those done before. */
  planned(plan: ProgressPlan): void;
  /** A slice of this day is complete, failed, or proved not published. */
  sliceDone(day: Day): void;
  snapshot(now: MachineFigures): Progress;
}

export function createProgress(clock: Clock): ProgressTracker {
  const startedAt = clock.now();
  const counters: Counters = {
    apiCalls: 0,
    httpCalls: 0,
    retries: 0,
    quotaRefusals: 0,
    rows: 0,
    pagesInFlight: 0,
  };
  let plan: ProgressPlan | undefined;
  let openByDay = new Map<Day, number>();
  let doneByRun = 0;
  /** Days of slices that were done before the plan was known. */
  const doneEarly: Day[] = [];

  const closeOne = (day: Day): void => {
    const left = (openByDay.get(day) ?? 1) - 1;
    if (left <= 0) openByDay.delete(day);
    else openByDay.set(day, left);
  };

  return {
    counters,
    planned(next) {
      plan = next;
      openByDay = new Map(next.openSlicesByDay);
      for (const day of doneEarly.splice(0)) closeOne(day);
    },
    sliceDone(day) {
      doneByRun += 1;
      if (plan === undefined) doneEarly.push(day);
      else closeOne(day);
    },
    snapshot(now) {
      const elapsedMs = Math.max(0, clock.now() - startedAt);
      const { slicesPlanned = 0, slicesDone = 0, daysPlanned = 0 } = plan ?? {};
      const left = Math.max(0, slicesPlanned - slicesDone - doneByRun);
      return {
        ...now,
        slicesPlanned,
        slicesDone: slicesPlanned - left,
        daysPlanned,
        daysDone: Math.max(0, daysPlanned - openByDay.size),
        rows: counters.rows,
        rowsPerSecond: elapsedMs === 0 ? 0 : Math.round((counters.rows * 1_000) / elapsedMs),
        apiCalls: counters.apiCalls,
        httpCalls: counters.httpCalls,
        retries: counters.retries,
        quotaRefusals: counters.quotaRefusals,
        pagesInFlight: counters.pagesInFlight,
        elapsedMs,
        remainingMs:
          plan === undefined || doneByRun === 0 ? null : Math.round((elapsedMs / doneByRun) * left),
      };
    },
  };
}
