/**
 * Accumulates the figures of a run. Decides nothing. The outcome reads its slices and rows from the database instead.
 */
import type { Clock } from '../domain/clock.ts';
import type { Day } from '../domain/slice.ts';
import type { Progress } from './types.ts';

/** The figures that are counted during the run. */
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
  /** Number of open slices per day. Finished days are absent. */
  readonly openSlicesByDay: ReadonlyMap<Day, number>;
  readonly daysPlanned: number;
}

/** The figures that are read from the machines when needed. */
export type MachineFigures = Pick<
  Progress,
  'state' | 'pagesWaiting' | 'maxConcurrency' | 'isAuto' | 'quotaUsed' | 'quotaLimit'
>;

export interface ProgressTracker {
  readonly counters: Counters;
  /** Called once, when the plan is known. Slices that need no call count as done. */
  planned(plan: ProgressPlan): void;
  /** After that: days have so many slices more to fetch, or fewer. */
  replanned(changes: ReadonlyMap<Day, number>): void;
  /** A slice of this day is complete, failed or not published. */
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
  /** Days of slices that ended before the plan was known. */
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
    replanned(changes) {
      if (plan === undefined) return;
      let more = 0;
      for (const [day, change] of changes) {
        more += change;
        const open = (openByDay.get(day) ?? 0) + change;
        if (open > 0) openByDay.set(day, open);
        else openByDay.delete(day);
      }
      plan = { ...plan, slicesPlanned: plan.slicesPlanned + more };
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
