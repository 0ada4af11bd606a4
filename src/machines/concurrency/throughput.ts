/**
 * How much gets done, out of calls that have ended. Pure arithmetic for the concurrency controller.
 *
 * What a call took of the system is its duration divided by the number of calls it shared the system with (Little's law);
 * work divided by the sum of that is the throughput. So a wait for quota, a pause, or a worker without pages does not count:
 * only time in which a call was under way does.
 */

/**
 * One page costs about as much as this many rows: 10 ms of the server's time beside the call's latency, and 10 ms to
 * read, parse and store. So jobs of many small pages and of few big ones are measured with one yardstick.
 */
const ROWS_A_PAGE = 2_500;

/** A sample that has grown to this many times its size forgets the older half: conditions change. */
const MEMORY = 4;

export interface EndedCall {
  /** Pages committed, and their rows. */
  readonly pages: number;
  readonly rows: number;
  readonly durationMs: number;
  /** Calls under way at once, itself included, on average over its duration. */
  readonly sharers: number;
}

export interface Sample {
  readonly calls: number;
  readonly work: number;
  /** Durations, added up; and each divided by the calls that shared the time. */
  readonly busyMs: number;
  readonly shareMs: number;
}

/** Throughput at a level of concurrency, which need not be a whole number where it is a mean. */
export interface Rate {
  readonly level: number;
  readonly workPerMs: number;
}

export const NO_SAMPLE: Sample = { calls: 0, work: 0, busyMs: 0, shareMs: 0 };

export function addCall(sample: Sample, { pages, rows, durationMs, sharers }: EndedCall): Sample {
  // A clock of whole milliseconds may say 0.
  const busyMs = Math.max(1, durationMs);
  return {
    calls: sample.calls + 1,
    work: sample.work + pages + rows / ROWS_A_PAGE,
    busyMs: sample.busyMs + busyMs,
    shareMs: sample.shareMs + busyMs / Math.max(1, sharers),
  };
}

/** The sample, no larger than `MEMORY` times what a verdict needs. */
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

/** At the level that there really was, on average over the time: while it changes, the nominal one says little. */
export function meanRate(sample: Sample): Rate {
  return rateOf(sample.shareMs === 0 ? 0 : sample.busyMs / sample.shareMs, sample);
}

/**
 * Whether going from one level to the other brought at least `gain` of what it would bring if nothing were short: 0.25 from
 * 3 to 6 workers means a quarter more.
 */
export function hasGrown(before: Rate, after: Rate, gain: number): boolean {
  return after.workPerMs >= before.workPerMs * (1 + gain * (after.level / before.level - 1));
}

/** The level that would carry `best` if every worker did as much as each did in `first`, when they were few. */
export function kneeOf(first: Rate, best: Rate): number {
  return first.workPerMs === 0 ? best.level : Math.ceil((best.workPerMs / first.workPerMs) * first.level);
}
