/**
 * Computes throughput from calls that have ended. Pure arithmetic for the concurrency controller.
 *
 * A call's share of the system is its duration divided by the number of concurrent calls (Little's law). Throughput is
 * work divided by the sum of these shares. Waits for quota, pauses and workers without pages do not count: only time
 * with a call under way does.
 */

/**
 * One page costs about as much as this many rows: 10 ms of server time beyond the call's latency, and 10 ms to read,
 * parse and store. This makes batches of many small pages comparable to batches of few large ones.
 */
const ROWS_A_PAGE = 2_500;

/** A sample that reaches this many times the size needed is halved, so that old conditions fade. */
const MEMORY = 4;

export interface EndedCall {
  /** Committed pages and their rows. */
  readonly pages: number;
  readonly rows: number;
  readonly durationMs: number;
  /** Average number of concurrent calls over this call's duration, including itself. */
  readonly sharers: number;
}

export interface Sample {
  readonly calls: number;
  readonly work: number;
  /** Sum of durations, and sum of each duration divided by its concurrency. */
  readonly busyMs: number;
  readonly shareMs: number;
}

/** Throughput at a level of concurrency. The level may be an average, so not a whole number. */
export interface Rate {
  readonly level: number;
  readonly workPerMs: number;
}

export const NO_SAMPLE: Sample = { calls: 0, work: 0, busyMs: 0, shareMs: 0 };

export function addCall(sample: Sample, { pages, rows, durationMs, sharers }: EndedCall): Sample {
  // A clock in whole milliseconds may report 0.
  const busyMs = Math.max(1, durationMs);
  return {
    calls: sample.calls + 1,
    work: sample.work + pages + rows / ROWS_A_PAGE,
    busyMs: sample.busyMs + busyMs,
    shareMs: sample.shareMs + busyMs / Math.max(1, sharers),
  };
}

/** The sample, at most `MEMORY` times the size a verdict needs. */
export function forgetOld(sample: Sample, callsNeeded: number): Sample {
  return sample.calls <= callsNeeded * MEMORY
    ? sample
    : {
        calls: sample.calls / 2,
        work: sample.work / 2,
        busyMs: sample.busyMs / 2,
        shareMs: sample.shareMs / 2,
      };
}

export function rateOf(level: number, sample: Sample): Rate {
  return { level, workPerMs: sample.shareMs === 0 ? 0 : sample.work / sample.shareMs };
}

/** Throughput at the actual average concurrency. While the level changes, the nominal level says little. */
export function meanRate(sample: Sample): Rate {
  return rateOf(sample.shareMs === 0 ? 0 : sample.busyMs / sample.shareMs, sample);
}

/**
 * Whether the step between two levels brought at least `gain` of a perfectly proportional increase. For example, 0.25
 * from 3 to 6 workers means a quarter more.
 */
export function hasGrown(before: Rate, after: Rate, gain: number): boolean {
  return after.workPerMs >= before.workPerMs * (1 + gain * (after.level / before.level - 1));
}

/** The level needed for `best` if every worker did as much as each did in `first`, when there were few. */
export function kneeOf(first: Rate, best: Rate): number {
  return first.workPerMs === 0 ? best.level : Math.ceil((best.workPerMs / first.workPerMs) * first.level);
}
