import { createStopwatch } from './stopwatch.ts';

/** A page of a few hundred rows takes a millisecond or two: several go into one turn, and what waits meanwhile waits no longer than this and the last of them. */
const TURN_MS = 10;

/**
 * Spreads work over turns of the event loop. Many runs in one process, whose answers come at once, would otherwise do all of it
 * in the turn in which they come, and whoever else lives in that process, a host's own queries among them, would wait for
 * the last. In order; while there is little to do nobody waits.
 */
export class Turns {
  readonly #stopwatch: () => number;
  readonly #waiting: (() => void)[] = [];
  /** When the first piece of work of this turn began. */
  #beganMs: number | undefined;

  constructor(stopwatch = createStopwatch()) {
    this.#stopwatch = stopwatch;
  }

  /** To be awaited before a piece of work. Undefined: this turn has time left for it. */
  next(): Promise<void> | undefined {
    if (this.#waiting.length === 0) {
      if (this.#beganMs === undefined) {
        this.#begin();
        return undefined;
      }
      if (this.#stopwatch() - this.#beganMs < TURN_MS) return undefined;
    }
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  #begin(): void {
    this.#beganMs = this.#stopwatch();
    setImmediate(this.#over);
  }

  /** One of those who wait begins the next turn. */
  readonly #over = (): void => {
    this.#beganMs = undefined;
    const first = this.#waiting.shift();
    if (first === undefined) return;
    this.#begin();
    first();
  };
}
