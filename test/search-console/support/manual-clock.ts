import type { Clock } from '../../../src/domain/clock.ts';

/** Time that stands still until told otherwise. */
export interface ManualClock extends Clock {
  /** Runs what is due, in order, and moves on. */
  advance(ms: number): void;
  /** Timers that are set. */
  readonly pending: number;
}

export function manualClock(startMs = 1_700_000_000_000): ManualClock {
  let now = startMs;
  let next = 0;
  const timers = new Map<number, { at: number; callback: () => void }>();
  return {
    now: () => now,
    random: () => 0.5,
    setTimeout: (callback, delayMs) => {
      next++;
      timers.set(next, { at: now + delayMs, callback });
      return next;
    },
    clearTimeout: (handle) => void timers.delete(handle as number),
    advance: (ms) => {
      const until = now + ms;
      for (;;) {
        const due = [...timers].filter(([, { at }]) => at <= until).sort((a, b) => a[1].at - b[1].at)[0];
        if (due === undefined) break;
        timers.delete(due[0]);
        now = due[1].at;
        due[1].callback();
      }
      now = until;
    },
    get pending() {
      return timers.size;
    },
  };
}
