/**
 * The window that cannot be overrun, as counts.
 *
 * A server counts a request when it arrives; the client knows only when it granted the token and when the answer came.
 * Arrival lies between the two. So a token counts from its grant until `windowMs` after it settled, and a grant is made
 * only while what counts plus what is granted fits the limit. No window on the server, wherever it starts, can then
 * hold more than the limit: take the last grant among the requests that arrive in one; at that moment every other one
 * of them still counts. It costs latency ÷ windowMs of the quota.
 *
 * There is no clock here. Short windows end token by token (`expire`); windows longer than an hour are kept in buckets
 * of a minute (`rollBucket`), so that a day's allowance of millions needs no timer a token.
 */

/** A limit on one scope's requests: at most `limit` in any `windowMs`. */
export interface BudgetRule {
  /** `site`, `user`, `project`, or a name of the user's own for a limit over everything. */
  readonly scopeKind: string;
  readonly limit: number;
  readonly windowMs: number;
}

export interface Budget {
  readonly scope: string;
  readonly limit: number;
  readonly windowMs: number;
  /** Tokens that may still count at the server: granted and unsettled, or settled less than `windowMs` ago. */
  readonly spent: number;
  /** Those of `spent` that the server is known to have taken. What a lowered limit is measured by. */
  readonly accepted: number;
  /** Settled tokens a minute, oldest first, for windows in buckets; null for the others. */
  readonly buckets: readonly number[] | null;
}

/** Windows longer than this are counted in buckets. */
export const LONGEST_TIMED_WINDOW_MS = 3_600_000;
export const BUCKET_MS = 60_000;

export function createBudget(rule: BudgetRule, scope: string): Budget {
  return {
    scope,
    limit: rule.limit,
    windowMs: rule.windowMs,
    spent: 0,
    accepted: 0,
    buckets: rule.windowMs > LONGEST_TIMED_WINDOW_MS ? [0] : null,
  };
}

/** `site:https://example.com/` → `site`. */
export function scopeKindOf(scope: string): string {
  const colon = scope.indexOf(':');
  return colon === -1 ? scope : scope.slice(0, colon);
}

/** Adds the budgets that a request's scopes need and that are not there yet. */
export function withScopes(
  budgets: readonly Budget[],
  rules: readonly BudgetRule[],
  scopes: readonly string[],
): readonly Budget[] {
  const added: Budget[] = [];
  for (const scope of scopes) {
    if (budgets.some((budget) => budget.scope === scope)) continue;
    for (const rule of rules) {
      if (rule.scopeKind === scopeKindOf(scope)) added.push(createBudget(rule, scope));
    }
  }
  return added.length === 0 ? budgets : [...budgets, ...added];
}

/** Tokens that every budget of these scopes has room for. */
export function room(budgets: readonly Budget[], scopes: readonly string[]): number {
  let free = Number.MAX_SAFE_INTEGER;
  for (const budget of budgets) {
    if (scopes.includes(budget.scope)) free = Math.min(free, budget.limit - budget.spent);
  }
  return Math.max(0, free);
}

function change(
  budgets: readonly Budget[],
  scopes: readonly string[],
  edit: (budget: Budget) => Budget,
): readonly Budget[] {
  return budgets.map((budget) => (scopes.includes(budget.scope) ? edit(budget) : budget));
}

export function spend(
  budgets: readonly Budget[],
  scopes: readonly string[],
  tokens: number,
): readonly Budget[] {
  return change(budgets, scopes, (budget) => ({ ...budget, spent: budget.spent + tokens }));
}

/** Tokens that were never sent: they count no more, at once. */
export function refund(
  budgets: readonly Budget[],
  scopes: readonly string[],
  tokens: number,
): readonly Budget[] {
  return change(budgets, scopes, (budget) => ({ ...budget, spent: budget.spent - tokens }));
}

/** Tokens were answered. They go on counting until they expire. */
export function settle(
  budgets: readonly Budget[],
  scopes: readonly string[],
  accepted: number,
): readonly Budget[] {
  return change(budgets, scopes, (budget) =>
    budget.buckets === null ? { ...budget, accepted: budget.accepted + accepted } : budget,
  );
}

/** No request of these settled tokens can arrive any more: budgets in buckets note the minute from which they age. */
export function fillBuckets(
  budgets: readonly Budget[],
  scopes: readonly string[],
  tokens: number,
): readonly Budget[] {
  return change(budgets, scopes, (budget) => {
    if (budget.buckets === null) return budget;
    const last = budget.buckets.length - 1;
    return { ...budget, buckets: budget.buckets.with(last, (budget.buckets[last] ?? 0) + tokens) };
  });
}

/** `windowMs` have passed since these tokens settled. */
export function expire(
  budgets: readonly Budget[],
  scopes: readonly string[],
  windowMs: number,
  tokens: number,
  accepted: number,
): readonly Budget[] {
  return change(budgets, scopes, (budget) =>
    budget.windowMs === windowMs && budget.buckets === null
      ? { ...budget, spent: budget.spent - tokens, accepted: Math.max(0, budget.accepted - accepted) }
      : budget,
  );
}

/** A minute has passed: budgets in buckets begin a new one and forget those older than their window. */
export function rollBucket(budgets: readonly Budget[]): readonly Budget[] {
  return budgets.map((budget) => {
    if (budget.buckets === null) return budget;
    const buckets = [...budget.buckets, 0];
    // More buckets than the window has: a token may settle at any moment of its minute.
    const kept = Math.ceil(budget.windowMs / BUCKET_MS) + 2;
    const gone = buckets.splice(0, Math.max(0, buckets.length - kept)).reduce((sum, count) => sum + count, 0);
    return { ...budget, buckets, spent: budget.spent - gone };
  });
}

/** Whether any budget needs the minute's tick. */
export function hasBuckets(budgets: readonly Budget[]): boolean {
  return budgets.some((budget) => budget.buckets?.some((count) => count > 0) === true);
}

/** Whether any budget of these scopes is kept in buckets. */
export function usesBuckets(budgets: readonly Budget[], scopes: readonly string[]): boolean {
  return budgets.some(({ scope, buckets }) => buckets !== null && scopes.includes(scope));
}

/** The different windows that end token by token among these scopes' budgets. */
export function timedWindows(budgets: readonly Budget[], scopes: readonly string[]): readonly number[] {
  const windows: number[] = [];
  for (const budget of budgets) {
    if (budget.buckets === null && scopes.includes(budget.scope) && !windows.includes(budget.windowMs)) {
      windows.push(budget.windowMs);
    }
  }
  return windows;
}

/**
 * A refusal for too many requests a minute says that the real limit is lower than the one assumed: many Google Cloud
 * projects have 60 a minute, not 1,200. What the server took in the last window is the best measure of it; where that is
 * nothing (another program used it up) a quarter, so that one bad moment does not slow the whole run to a crawl.
 */
export function lowerLimits(budgets: readonly Budget[], scopes: readonly string[]): readonly Budget[] {
  return change(budgets, scopes, (budget) => {
    if (budget.buckets !== null) return budget;
    const measured = Math.max(1, budget.accepted, Math.floor(budget.limit / 4));
    return { ...budget, limit: Math.max(1, Math.min(measured, budget.limit - 1)) };
  });
}
