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

import type { Lookup } from './lookup.ts';

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
  /** The limit it was made with. */
  readonly fullLimit: number;
  readonly windowMs: number;
  /** Tokens that may still count at the server: granted and unsettled, or settled less than `windowMs` ago. */
  readonly spent: number;
  /** Those of `spent` that the server is known to have taken. What a lowered limit is measured by. */
  readonly accepted: number;
  /** Settled tokens a minute, oldest first, for windows in buckets; null for the others. */
  readonly buckets: readonly number[] | null;
  /** How a lowered limit comes up again; null while it is whole. */
  readonly rise: Rise | null;
}

export interface Rise {
  /** Windows without a refusal until the next step. */
  readonly patience: number;
  /** Whether it has come up since it was lowered: a refusal then says that the step was one too many. */
  readonly hasRisen: boolean;
  /** The scope whose cooling lasts while the refusal that lowered it is being digested. */
  readonly loweredFor: string;
}

/** By scope: a scope has a budget for each rule of its kind. A scope that nothing counts in has none. */
export type Budgets = Lookup<readonly Budget[]>;

/** Windows longer than this are counted in buckets. */
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

/** Adds the budgets that a request's scopes need and that are not there yet. */
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

/** Tokens that every budget of these scopes has room for. */
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

/** A scope that nothing counts in, and whose limits are whole, is as one that was never seen. */
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

/** Tokens that were never sent: they count no more, at once. */
export function refund(budgets: Budgets, scopes: readonly string[], tokens: number): Budgets {
  const refunded = change(budgets, scopes, (budget) => ({ ...budget, spent: budget.spent - tokens }));
  return forget(refunded, scopes);
}

/** Tokens were answered. They go on counting until they expire. */
export function settle(budgets: Budgets, scopes: readonly string[], accepted: number): Budgets {
  if (accepted === 0) return budgets;
  return change(budgets, scopes, (budget) =>
    budget.buckets === null ? { ...budget, accepted: budget.accepted + accepted } : budget,
  );
}

/** No request of these settled tokens can arrive any more: budgets in buckets note the minute from which they age. */
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

/** Scopes that have a budget in buckets with something in it. */
export function scopesInBuckets(budgets: Budgets): readonly string[] {
  const scopes: string[] = [];
  for (const [scope, ofScope] of budgets) if (ofScope.some(isFilled)) scopes.push(scope);
  return scopes;
}

const isFilled = ({ buckets }: Budget): boolean => buckets?.some((count) => count > 0) === true;

/** A minute has passed: budgets in buckets begin a new one and forget those older than their window. */
export function rollBucket(budgets: Budgets): Budgets {
  const scopes = scopesInBuckets(budgets);
  const rolled = change(budgets, scopes, (budget) => {
    if (budget.buckets === null) return budget;
    const buckets = [...budget.buckets, 0];
    // More buckets than the window has: a token may settle at any moment of its minute.
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

/** The different windows that end token by token among these scopes' budgets. */
export function timedWindows(budgets: Budgets, scopes: readonly string[]): readonly number[] {
  const windows = new Set<number>();
  for (const { buckets, windowMs } of budgetsOf(budgets, scopes)) if (buckets === null) windows.add(windowMs);
  return [...windows];
}

/** Windows that a limit waits at most before it tries a step up again. */
const MOST_PATIENCE = 64;

/**
 * A refusal for too many requests a minute says that the real limit is lower than the one assumed: many Google Cloud
 * projects have 60 a minute, not 1,200. What the server took in the last window is the best measure of it; where that is
 * nothing (another program used it up) a quarter, so that one bad moment does not slow the whole run to a crawl. Limits
 * that were lowered for a scope which still cools have had their answer: `isDigested` tells.
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
      rise?.hasRisen === true ? Math.min(MOST_PATIENCE, 2 * rise.patience) : (rise?.patience ?? 1);
    return { ...budget, limit: lowered, rise: { patience, hasRisen: false, loweredFor } };
  });
}

/** No refusal for long enough: the limit comes up by a tenth, and at last to what it was. */
export function raiseLimit(budgets: Budgets, scope: string, windowMs: number): Budgets {
  const raised = change(budgets, [scope], (budget) => {
    const { limit, fullLimit, rise } = budget;
    if (rise === null || budget.windowMs !== windowMs) return budget;
    const higher = Math.min(fullLimit, limit + Math.max(1, Math.floor(limit / 10)));
    if (higher === fullLimit) return { ...budget, limit: fullLimit, rise: null };
    // A step that held makes the next one come sooner.
    const patience = rise.hasRisen ? Math.max(1, Math.floor(rise.patience / 2)) : rise.patience;
    return { ...budget, limit: higher, rise: { ...rise, patience, hasRisen: true } };
  });
  return forget(raised, [scope]);
}
