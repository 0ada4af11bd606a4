/**
 * Milliseconds since creation, by whichever of two clocks has advanced further: the monotonic clock stops while the
 * machine sleeps, and the time of day may be set back.
 */
export function createStopwatch(
  monotonicMs: () => number = () => performance.now(),
  timeOfDayMs: () => number = () => Date.now(),
): () => number {
  let elapsedMs = 0;
  let lastMonotonic = monotonicMs();
  let lastTimeOfDay = timeOfDayMs();
  return () => {
    const monotonic = monotonicMs();
    const timeOfDay = timeOfDayMs();
    elapsedMs += Math.max(0, monotonic - lastMonotonic, timeOfDay - lastTimeOfDay);
    lastMonotonic = monotonic;
    lastTimeOfDay = timeOfDay;
    return elapsedMs;
  };
}
