/**
 * Exponential backoff with full jitter: between 0 and `baseMs × 2^(failures − 1)`, capped. Full jitter keeps workers
 * that failed together from retrying together. `chance` in [0, 1) comes with the event.
 */
export interface BackoffRule {
  readonly baseMs: number;
  readonly maxMs: number;
}

export function backoffMs(rule: BackoffRule, failures: number, chance: number): number {
  const ceiling = Math.min(rule.maxMs, rule.baseMs * 2 ** Math.max(0, failures - 1));
  return Math.round(ceiling * chance);
}
