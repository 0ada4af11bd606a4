/**
 * Exponential backoff with full jitter: anywhere between nothing and `baseMs × 2^(failures − 1)`, capped. Full jitter,
 * because workers that failed together must not come back together. `chance` in [0, 1) comes in with the event.
 */
export interface BackoffRule {
  readonly baseMs: number;
  readonly maxMs: number;
}

export function backoffMs(rule: BackoffRule, failures: number, chance: number): number {
  const ceiling = Math.min(rule.maxMs, rule.baseMs * 2 ** Math.max(0, failures - 1));
  return Math.round(ceiling * chance);
}
