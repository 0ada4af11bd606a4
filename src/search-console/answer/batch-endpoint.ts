/** What an answer reveals about the batch endpoint. `none`: nothing, as after a broken connection or a server error. */
export type BatchAnswer = 'none' | 'fine' | 'strange' | 'gone';

/** Consecutive answers that fit no batch, after which the endpoint counts as gone. A single one may be a glitch. */
const MAX_CONSECUTIVE_STRANGE = 2;
const FIRST_REST_MS = 10 * 60_000;
const MAX_REST_MS = 6 * 3_600_000;

/**
 * Remembers whether batches are accepted. Google has closed batch endpoints before, and some proxies block them. Requests
 * are then sent one by one, and a batch is tried again from time to time.
 */
export class BatchEndpoint {
  #strange = 0;
  #restMs = FIRST_REST_MS;
  #restUntilMs = 0;

  /** Whether requests are sent one by one now. */
  isResting(nowMs: number): boolean {
    return nowMs < this.#restUntilMs;
  }

  /** Records an answer. @returns how long to send no batches, in milliseconds, if this answer started a rest. */
  note(answer: BatchAnswer, nowMs: number): number | undefined {
    if (answer === 'none') return undefined;
    if (answer === 'fine') {
      this.#strange = 0;
      this.#restMs = FIRST_REST_MS;
      return undefined;
    }
    this.#strange += 1;
    if (answer === 'strange' && this.#strange < MAX_CONSECUTIVE_STRANGE) return undefined;
    // Concurrent calls report the same problem: it counts once.
    if (this.isResting(nowMs)) return undefined;
    const restMs = this.#restMs;
    this.#strange = 0;
    this.#restUntilMs = nowMs + restMs;
    this.#restMs = Math.min(MAX_REST_MS, 3 * restMs);
    return restMs;
  }
}
