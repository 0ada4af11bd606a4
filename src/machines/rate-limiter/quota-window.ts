/**
 * A sliding window whose limit cannot be exceeded at the server, as counts.
 *
 * A server counts a request when it arrives. The client only knows when it granted the token and when the answer came;
 * arrival lies between the two. So a token counts from its grant until `windowMs` after it settled, and tokens are granted
 * only while the counted ones plus the new ones fit the limit. Then no window on the server, wherever it starts, holds more
 * than the limit: consider the last grant among the requests that arrive in it. At that moment every other one still
 * counts. The cost is latency ÷ windowMs of the quota.
 *
 * There is no clock here. Short windows expire token by token (`expire`). Windows longer than an hour are kept in buckets of
 * a minute (`rollBucket`), so that a daily quota of millions does not need one timer per token.
 */

import type { Lookup } from './lookup.ts';

/** A limit on one scope's requests: at most `limit` in any window of `windowMs`. */
export interface BudgetRule {
  /** `site`, `user`, `project`, or a custom name for a limit over everything. */
  readonly scopeKind: string;
  readonly limit: number;
  readonly windowMs: number;
}

export interface Budget {
  readonly scope: string;
  readonly limit: number;
  /** The original limit. */
  readonly fullLimit: number;
  readonly windowMs: number;
  /** Tokens that may still count at the server: granted and unsettled, or settled less than `windowMs` ago. */
  readonly spent: number;
  /** The part of `spent` that the server is known to have accepted. Lowered limits are based on it. */
  readonly accepted: number;
  /** Settled tokens per minute, oldest first, for windows kept in buckets. Null for others. */
  readonly buckets: readonly number[] | null;
  /** How a lowered limit is raised again. Null while the limit is the original one. */
  readonly rise: Rise | null;
}

export interface Rise {
  /** Windows without a refusal until the next step. */
  readonly patience: number;
  /** Whether the limit was raised since it was lowered. If so, a refusal means that the last step was too much. */
  readonly hasRisen: boolean;
  /**
   * The scope that cools because of the refusal that lowered the limit. Further refusals during that time do not lower
   * it again.
   */
  readonly loweredFor: string;
}

/** By scope. A scope has one budget per rule of its kind. Scopes without counted tokens have no entry. */
export type Budgets = Lookup<readonly Budget[]>;

/** Longer windows are counted in buckets. */
export const LONGEST_TIMED_WINDOW_MS = 3_600_000;
export const BUCKET_MS = 60_000;

export function createBudget(rule: BudgetRule, scope: string): Budget {
  return {
    scope,
    limit: rule.limit,
    fullLimit: rule.limit,
    windowMs: rule.windowMs,
    spent: 0,
    accepted: 0,
    buckets: rule.windowMs > LONGEST_TIMED_WINDOW_MS ? [0] : null,
    rise: null,
  };
}

/** `site:https://example.com/` → `site`. */
export function scopeKindOf(scope: string): string {
  const colon = scope.indexOf(':');
  return colon === -1 ? scope : scope.slice(0, colon);
}

/** The budgets of these scopes. */
export function budgetsOf(budgets: Budgets, scopes: readonly string[]): readonly Budget[] {
  return scopes.flatMap((scope) => budgets.get(scope) ?? []);
}

/** Adds missing budgets for a request's scopes. */
export function withScopes(
  budgets: Budgets,
  rules: readonly BudgetRule[],
  scopes: readonly string[],
): Budgets {
  let all = budgets;
  for (const scope of scopes) {
    if (all.get(scope) !== undefined) continue;
    const kind = scopeKindOf(scope);
    const added = rules
      .filter(({ scopeKind }) => scopeKind === kind)
      .map((rule) => createBudget(rule, scope));
    if (added.length > 0) all = all.with(scope, added);
  }
  return all;
}

/** How many tokens fit every budget of these scopes. */
export function room(budgets: Budgets, scopes: readonly string[]): number {
  let free = Number.MAX_SAFE_INTEGER;
  for (const scope of scopes) {
    for (const { limit, spent } of budgets.get(scope) ?? []) free = Math.min(free, limit - spent);
  }
  return Math.max(0, free);
}

function change(budgets: Budgets, scopes: readonly string[], edit: (budget: Budget) => Budget): Budgets {
  let changed = budgets;
  for (const scope of scopes) {
    const before = changed.get(scope);
    if (before !== undefined) changed = changed.with(scope, before.map(edit));
  }
  return changed;
}

/** Forgets a scope without counted tokens or lowered limits. It then equals a scope never seen. */
function forget(budgets: Budgets, scopes: readonly string[]): Budgets {
  let left = budgets;
  for (const scope of scopes) {
    if (left.get(scope)?.every(({ spent, rise }) => spent === 0 && rise === null) === true) {
      left = left.without(scope);
    }
  }
  return left;
}

export function spend(budgets: Budgets, scopes: readonly string[], tokens: number): Budgets {
  return change(budgets, scopes, (budget) => ({ ...budget, spent: budget.spent + tokens }));
}

/** Tokens that were never sent stop counting immediately. */
export function refund(budgets: Budgets, scopes: readonly string[], tokens: number): Budgets {
  const refunded = change(budgets, scopes, (budget) => ({ ...budget, spent: budget.spent - tokens }));
  return forget(refunded, scopes);
}

/** Tokens were answered. They count until they expire. */
export function settle(budgets: Budgets, scopes: readonly string[], accepted: number): Budgets {
  if (accepted === 0) return budgets;
  return change(budgets, scopes, (budget) =>
    budget.buckets === null ? { ...budget, accepted: budget.accepted + accepted } : budget,
  );
}

/** No request of these settled tokens can arrive any more. Bucketed budgets record the minute from which they age. */
export function fillBuckets(budgets: Budgets, scopes: readonly string[], tokens: number): Budgets {
  return change(budgets, scopes, (budget) => {
    if (budget.buckets === null) return budget;
    const last = budget.buckets.length - 1;
    return { ...budget, buckets: budget.buckets.with(last, (budget.buckets[last] ?? 0) + tokens) };
  });
}

/** `windowMs` have passed since these tokens settled. */
export function expire(
  budgets: Budgets,
  scopes: readonly string[],
  windowMs: number,
  tokens: number,
  accepted: number,
): Budgets {
  const expired = change(budgets, scopes, (budget) =>
    budget.windowMs === windowMs && budget.buckets === null
      ? { ...budget, spent: budget.spent - tokens, accepted: Math.max(0, budget.accepted - accepted) }
      : budget,
  );
  return forget(expired, scopes);
}

/** Scopes with tokens in a bucketed budget. */
export function scopesInBuckets(budgets: Budgets): readonly string[] {
  const scopes: string[] = [];
  for (const [scope, ofScope] of budgets) if (ofScope.some(isFilled)) scopes.push(scope);
  return scopes;
}

const isFilled = ({ buckets }: Budget): boolean => buckets?.some((count) => count > 0) === true;

/** A minute has passed: bucketed budgets start a new bucket and drop those older than their window. */
export function rollBucket(budgets: Budgets): Budgets {
  const scopes = scopesInBuckets(budgets);
  const rolled = change(budgets, scopes, (budget) => {
    if (budget.buckets === null) return budget;
    const buckets = [...budget.buckets, 0];
    // One more bucket than the window needs: a token may settle at any moment of its minute.
    const kept = Math.ceil(budget.windowMs / BUCKET_MS) + 2;
    const gone = buckets.splice(0, Math.max(0, buckets.length - kept)).reduce((sum, count) => sum + count, 0);
    return { ...budget, buckets, spent: budget.spent - gone };
  });
  return forget(rolled, scopes);
}

/** Whether any budget of these scopes is kept in buckets. */
export function usesBuckets(budgets: Budgets, scopes: readonly string[]): boolean {
  return scopes.some((scope) => budgets.get(scope)?.some(({ buckets }) => buckets !== null) === true);
}

/** The distinct windows, among these scopes' budgets, whose tokens expire one by one. */
export function timedWindows(budgets: Budgets, scopes: readonly string[]): readonly number[] {
  const windows = new Set<number>();
  for (const { buckets, windowMs } of budgetsOf(budgets, scopes)) if (buckets === null) windows.add(windowMs);
  return [...windows];
}

/** Maximum number of windows before a lowered limit is raised again. */
const MAX_PATIENCE = 64;

/**
 * Lowers the limits after a refusal for too many requests per minute. The real limit is lower than assumed: many Google
 * Cloud projects have 60 per minute, not 1,200. The best estimate is what the server accepted in the last window. If
 * that is nothing (another program used up the quota), a quarter, so that one bad moment does not slow the whole run to
 * a crawl. Limits already lowered for a scope that still cools stay: see `isDigested`.
 */
export function lowerLimits(
  budgets: Budgets,
  scopes: readonly string[],
  loweredFor: string,
  isDigested: (scope: string) => boolean,
): Budgets {
  return change(budgets, scopes, (budget) => {
    const { limit, accepted, buckets, rise } = budget;
    if (buckets !== null || (rise !== null && !isDigested(rise.loweredFor))) return budget;
    const measured = Math.max(1, accepted, Math.floor(limit / 4));
    const lowered = Math.max(1, Math.min(measured, limit - 1));
    if (lowered === limit && rise === null) return budget;
    const patience =
      rise?.hasRisen === true ? Math.min(MAX_PATIENCE, 2 * rise.patience) : (rise?.patience ?? 1);
    return { ...budget, limit: lowered, rise: { patience, hasRisen: false, loweredFor } };
  });
}

/** No refusal for long enough: raises the limit by a tenth, up to the original. */
export function raiseLimit(budgets: Budgets, scope: string, windowMs: number): Budgets {
  const raised = change(budgets, [scope], (budget) => {
    const { limit, fullLimit, rise } = budget;
    if (rise === null || budget.windowMs !== windowMs) return budget;
    const higher = Math.min(fullLimit, limit + Math.max(1, Math.floor(limit / 10)));
    if (higher === fullLimit) return { ...budget, limit: fullLimit, rise: null };
    // After a successful step the next one comes sooner.
    const patience = rise.hasRisen ? Math.max(1, Math.floor(rise.patience / 2)) : rise.patience;
    return { ...budget, limit: higher, rise: { ...rise, patience, hasRisen: true } };
  });
  return forget(raised, [scope]);
}
