/** What an answer says of the endpoint for batches. `none`: nothing, as when the line broke or the server was in trouble. */
export type BatchAnswer = 'none' | 'fine' | 'strange' | 'gone';

/** Answers in a row that fit no batch, after which there is taken to be no such endpoint. One may be a slip. */
const STRANGE_IN_A_ROW = 2;
const FIRST_REST_MS = 10 * 60_000;
const LONGEST_REST_MS = 6 * 3_600_000;

/**
 * Remembers whether batches are taken. Google has closed endpoints for batches before, and proxies know nothing of them:
 * then requests go out one by one, and now and then a batch is tried again.
 */
export class BatchEndpoint {
  #strange = 0;
  #restMs = FIRST_REST_MS;
  #triedAgainAtMs = 0;

  /** Whether requests go out one by one now. */
  isResting(nowMs: number): boolean {
    return nowMs < this.#triedAgainAtMs;
  }

  /** @returns how long no batch is sent from now on, when this answer decided it. */
  note(answer: BatchAnswer, nowMs: number): number | undefined {
    if (answer === 'none') return undefined;
    if (answer === 'fine') {
      this.#strange = 0;
      this.#restMs = FIRST_REST_MS;
      return undefined;
    }
    this.#strange += 1;
    if (answer === 'strange' && this.#strange < STRANGE_IN_A_ROW) return undefined;
    // Calls that were under way together say it together: it counts once.
    if (this.isResting(nowMs)) return undefined;
    const restMs = this.#restMs;
    this.#strange = 0;
    this.#triedAgainAtMs = nowMs + restMs;
    this.#restMs = Math.min(LONGEST_REST_MS, 3 * restMs);
    return restMs;
  }
}
