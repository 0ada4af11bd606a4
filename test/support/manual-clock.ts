import type { Clock } from '../../src/domain/clock.ts';

/**
 * A clock that stands still until it is told. XState's `SimulatedClock.increment` does not reach timers that a timer
 * starts; this one goes from one to the next.
 */
export interface PendingTimer {
  readonly delayMs: number;
  readonly dueMs: number;
  readonly callback: () => void;
}

export class ManualClock implements Clock {
  #nowMs: number;
  #lastHandle = 0;
  readonly #timers = new Map<number, PendingTimer>();
  /** How much too early a timer fires: Node's do, by up to 0.7 ms. */
  readonly #earlyMs: () => number;

  constructor(startMs = 0, earlyMs: () => number = () => 0) {
    this.#nowMs = startMs;
    this.#earlyMs = earlyMs;
  }

  random(): number {
    return 0.5;
  }

  now(): number {
    return this.#nowMs;
  }

  // Arrow functions: XState takes the two apart from their object.
  readonly setTimeout = (callback: () => void, delayMs: number): number => {
    this.#lastHandle += 1;
    const dueMs = this.#nowMs + Math.max(0, delayMs - (delayMs > 1 ? this.#earlyMs() : 0));
    this.#timers.set(this.#lastHandle, { callback, delayMs, dueMs });
    return this.#lastHandle;
  };

  readonly clearTimeout = (handle: unknown): void => {
    if (typeof handle === 'number') this.#timers.delete(handle);
  };

  /** Timers not yet fired, in the order in which they were set. */
  get pending(): readonly PendingTimer[] {
    return [...this.#timers.values()];
  }

  /** Fires the `index`th of {@link pending}, whenever it is due. */
  fire(index: number): void {
    const entry = [...this.#timers][index];
    if (entry === undefined) throw new Error(`no timer ${index}`);
    this.#timers.delete(entry[0]);
    entry[1].callback();
  }

  /** Lets time pass, timer by timer. */
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    while (this.#fireNext(untilMs));
    this.#nowMs = untilMs;
  }

  /** Goes on to the next timer, if there is one that is due by then. */
  #fireNext(untilMs: number): boolean {
    let next: readonly [number, PendingTimer] | undefined;
    for (const entry of this.#timers) {
      if (entry[1].dueMs <= untilMs && (next === undefined || entry[1].dueMs < next[1].dueMs)) next = entry;
    }
    if (next === undefined) return false;
    const [handle, timer] = next;
    this.#timers.delete(handle);
    this.#nowMs = Math.max(this.#nowMs, timer.dueMs);
    timer.callback();
    return true;
  }

  /** Fires what is due, soonest first, until nothing is left or `done` says so. Bounded. */
  runUntil(done: () => boolean, maxTimers = 100_000): void {
    for (let fired = 0; !done() && this.#fireNext(Number.POSITIVE_INFINITY); fired += 1) {
      if (fired > maxTimers) throw new Error('timers without end');
    }
  }
}
