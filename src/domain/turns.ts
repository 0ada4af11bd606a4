import { createStopwatch } from './stopwatch.ts';

/**
 * A page of a few hundred rows takes a millisecond or two, so several fit into one turn. Other work waits at most this
 * long plus the last page.
 */
const TURN_MS = 10;

/**
 * Spreads work over turns of the event loop. Otherwise many runs in one process, whose answers arrive together, would
 * do all their work in one turn, and everything else in the process, such as the host's own queries, would wait until
 * the end. Work runs in order, one piece after the other. Under light load there is almost no delay.
 */
export class Turns {
  readonly #stopwatch: () => number;
  readonly #waiting: (() => void)[] = [];
  /** When the first piece of work in this turn began. */
  #beganMs: number | undefined;
  /** A piece of work was admitted and may not have begun yet, so its duration is unknown. */
  #isTaken = false;

  constructor(stopwatch = createStopwatch()) {
    this.#stopwatch = stopwatch;
  }

  /** Await this before synchronous work. Undefined if it may begin immediately. */
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
    // Two steps, so that a caller who awaits even undefined has done its work.
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
