/**
 * Sums what the machines emit into figures. Nothing here decides anything; the outcome's figures of slices and rows are
 * read from the database, not from here.
 */
import type { Clock } from './domain/clock.ts';
import type { Day } from './domain/slice.ts';
import type { Progress } from './sync-types.ts';

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
  /** The plan is known, or known better: slices that need no call count as done at once. */
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
  let plan: ProgressPlan = { slicesPlanned: 0, slicesDone: 0, openSlicesByDay: new Map(), daysPlanned: 0 };
  let openByDay = new Map<Day, number>();
  let doneByRun = 0;
  let firstDoneAt: number | null = null;

  return {
    counters,
    planned(next) {
      plan = next;
      openByDay = new Map(next.openSlicesByDay);
      doneByRun = 0;
    },
    sliceDone(day) {
      doneByRun += 1;
      firstDoneAt ??= clock.now();
      const left = (openByDay.get(day) ?? 1) - 1;
      if (left <= 0) openByDay.delete(day);
      else openByDay.set(day, left);
    },
    snapshot(now) {
      const elapsedMs = Math.max(0, clock.now() - startedAt);
      const left = Math.max(0, plan.slicesPlanned - plan.slicesDone - doneByRun);
      return {
        ...now,
        slicesPlanned: plan.slicesPlanned,
        slicesDone: plan.slicesPlanned - left,
        daysPlanned: plan.daysPlanned,
        daysDone: Math.max(0, plan.daysPlanned - openByDay.size),
        rows: counters.rows,
        rowsPerSecond: elapsedMs === 0 ? 0 : Math.round((counters.rows * 1_000) / elapsedMs),
        apiCalls: counters.apiCalls,
        httpCalls: counters.httpCalls,
        retries: counters.retries,
        quotaRefusals: counters.quotaRefusals,
        pagesInFlight: counters.pagesInFlight,
        elapsedMs,
        remainingMs:
          firstDoneAt === null || doneByRun === 0 ? null : Math.round((elapsedMs / doneByRun) * left),
      };
    },
  };
}
