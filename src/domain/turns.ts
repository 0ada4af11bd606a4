import { createStopwatch } from './stopwatch.ts';

/** A page of a few hundred rows takes a millisecond or two: several go into one turn, and what waits meanwhile waits no longer than this and the last of them. */
const TURN_MS = 10;

/**
 * Spreads work over turns of the event loop. Many runs in one process, whose answers come at once, would otherwise do all of it
 * in the turn in which they come, and whoever else lives in that process, a host's own queries among them, would wait for
 * the last. One piece after the other, in order; while there is little to do nobody waits for long.
 */
export class Turns {
  readonly #stopwatch: () => number;
  readonly #waiting: (() => void)[] = [];
  /** When the first piece of work of this turn began. */
  #beganMs: number | undefined;
  /** A piece of work has been let in, and may not have begun yet: how long it takes is not known. */
  #isTaken = false;

  constructor(stopwatch = createStopwatch()) {
    this.#stopwatch = stopwatch;
  }

  /** To be awaited before a piece of work that has no wait in it. Undefined: it may begin at once. */
  next(): Promise<void> | undefined {
    if (this.#waiting.length === 0 && this.#mayBegin()) {
      this.#take();
      return undefined;
    }
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  #mayBegin(): boolean {
    if (this.#isTaken) return false;
    return this.#beganMs === undefined || this.#stopwatch() - this.#beganMs < TURN_MS;
  }

  #take(): void {
    this.#isTaken = true;
    // Two steps, so that who awaits even an undefined has done its work.
    queueMicrotask(() => queueMicrotask(this.#done));
    if (this.#beganMs !== undefined) return;
    this.#beganMs = this.#stopwatch();
    setImmediate(this.#over);
  }

  readonly #done = (): void => {
    this.#isTaken = false;
    this.#letIn();
  };

  readonly #over = (): void => {
    this.#beganMs = undefined;
    this.#letIn();
  };

  #letIn(): void {
    if (!this.#mayBegin()) return;
    const first = this.#waiting.shift();
    if (first === undefined) return;
    this.#take();
    first();
  }
}
