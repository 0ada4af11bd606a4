/**
 * The rate limiter: grants tokens through messages, one per API request. Grants are in order and may be partial.
 *
 *   open ⇄ exhausted
 *   (no request waits)  (a request waits: its budgets are full, or one of its scopes cools. It is served when a window or
 *                        the cooling ends)
 *
 * Each scope handles its own refusals (`quota-scope.ts`: calm, cooling, refusing), so a property that has to rest does not
 * delay others. A refusal applies to the scope that the server names, or else only to the property. It lowers the
 * per-minute limits of every scope in which the request was counted. A lowered limit rises again step by step, once per
 * window without a refusal (`limit.rises`).
 *
 * Leases are independent of these states: they settle, expire and come back at any time. The machine has no clock: a
 * settled token counts until the delayed event `lease.expired`.
 */

import { assign, enqueueActions, type SnapshotFrom, setup } from 'xstate';
import type { QuotaKind } from '../../domain/quota-kind.ts';
import { THRESHOLDS } from '../../domain/thresholds.ts';
import type { GrantEvent, LimiterEvent, Recipient } from '../messages.ts';
import { Lookup } from './lookup.ts';
import { CALM, isForgettable, nextCondition, type Patience, type ScopeCondition } from './quota-scope.ts';
import {
  BUCKET_MS,
  type Budget,
  type BudgetRule,
  type Budgets,
  budgetsOf,
  expire,
  fillBuckets,
  lowerLimits,
  raiseLimit,
  refund,
  rollBucket,
  room,
  scopeKindOf,
  scopesInBuckets,
  settle,
  spend,
  timedWindows,
  usesBuckets,
  withScopes,
} from './quota-window.ts';

export interface RateLimiterInput extends Patience {
  readonly rules: readonly BudgetRule[];
  /** Safety margin added to every window: timers fire up to a millisecond early, and clocks differ. */
  readonly marginMs: number;
}

interface Waiting {
  readonly requestId: string;
  readonly tokens: number;
  readonly scopes: readonly string[];
  readonly replyTo: Recipient<GrantEvent>;
}

interface Lease {
  readonly leaseId: string;
  readonly scopes: readonly string[];
  readonly unsettled: number;
}

export interface RateLimiterContext {
  readonly input: RateLimiterInput;
  readonly budgets: Budgets;
  readonly queue: readonly Waiting[];
  /** By lease ID. */
  readonly leases: Lookup<Lease>;
  /** Scopes with recent refusals. An entry goes when the server accepts a request again, or after enough time. */
  readonly conditions: Lookup<ScopeCondition>;
  /** Whether the timer that rolls bucketed budgets every minute is running. */
  readonly isTicking: boolean;
}

type InternalEvent =
  | {
      readonly type: 'lease.expired';
      readonly scopes: readonly string[];
      readonly windowMs: number;
      readonly tokens: number;
      readonly accepted: number;
    }
  /** Requests that got no answer can no longer arrive. */
  | { readonly type: 'grace.over'; readonly scopes: readonly string[]; readonly tokens: number }
  | { readonly type: 'bucket.rolled' }
  /** A scope has finished cooling or refusing, or it had no refusal for long enough to forget the earlier ones. */
  | { readonly type: 'scope.rested'; readonly scope: string }
  /** No refusal since the limit was lowered or last raised. */
  | { readonly type: 'limit.rises'; readonly scope: string; readonly windowMs: number };

/**
 * Tokens taken by other processes that may still count. They settled `settledMsAgo` ago; 0 if unknown, negative while
 * their grace period lasts.
 */
export interface RecoveredEvent {
  readonly type: 'leases.recovered';
  readonly leases: readonly {
    readonly scope: string;
    readonly tokens: number;
    readonly settledMsAgo: number;
  }[];
}

export type RateLimiterEvent = LimiterEvent | RecoveredEvent | InternalEvent;

/** Events the limiter emits (`actor.on(...)`). */
export type RateLimiterEmitted =
  | { readonly type: 'quota.used'; readonly scope: string; readonly spent: number; readonly limit: number }
  /** A budget crossed 80 %. */
  | {
      readonly type: 'quota.approaching';
      readonly scope: string;
      readonly spent: number;
      readonly limit: number;
    }
  | { readonly type: 'quota.refused'; readonly quota: QuotaKind; readonly scopes: readonly string[] }
  | { readonly type: 'quota.lowered'; readonly scope: string; readonly limit: number }
  /** A lowered limit was raised. */
  | { readonly type: 'quota.raised'; readonly scope: string; readonly limit: number }
  | {
      readonly type: 'quota.cooling';
      readonly quota: QuotaKind;
      readonly scope: string;
      readonly coolingMs: number;
    };

/** Share of a budget at which `quota.approaching` is emitted. */
export const APPROACHING = THRESHOLDS.quotaShare;

const isApproached = (budget: Budget): boolean => budget.spent >= budget.limit * APPROACHING;

const conditionOf = ({ conditions }: RateLimiterContext, scope: string): ScopeCondition =>
  conditions.get(scope) ?? CALM;

/** How many tokens a request for these scopes can get now. */
function grantable(context: RateLimiterContext, scopes: readonly string[]): number {
  return scopes.every((scope) => conditionOf(context, scope).state === 'calm')
    ? room(context.budgets, scopes)
    : 0;
}

/** The scope that causes a request to be denied, if any. */
const refusing = (context: RateLimiterContext, scopes: readonly string[]): ScopeCondition | undefined =>
  scopes.map((scope) => conditionOf(context, scope)).find(({ state }) => state === 'refusing');

/**
 * The scopes a refusal applies to: those the server names, or else the property. If the server reports the user's quota
 * without saying so, the user's other properties are soon refused too and cool the same way.
 */
function refusedScopes(event: Refusal): readonly string[] {
  const named = namedScopes(event);
  if (named.length > 0) return named;
  const sites = event.scopes.filter((scope) => scopeKindOf(scope) === 'site');
  return sites.length > 0 ? sites : event.scopes;
}

type Refusal = Extract<LimiterEvent, { type: 'quota.refused' }>;

const namedScopes = ({ scopes, scopeKind }: Refusal): readonly string[] =>
  scopes.filter((scope) => scopeKindOf(scope) === scopeKind);

const restId = (scope: string): string => `rest ${scope}`;
const riseId = ({ scope, windowMs }: Pick<Budget, 'scope' | 'windowMs'>): string =>
  `rise ${scope} ${windowMs}`;

export const rateLimiterMachine = setup({
  types: {
    context: {} as RateLimiterContext,
    events: {} as RateLimiterEvent,
    input: {} as RateLimiterInput,
    emitted: {} as RateLimiterEmitted,
  },
  guards: {
    somebodyWaits: ({ context }) => context.queue.length > 0,
    nobodyWaits: ({ context }) => context.queue.length === 0,
    canGrant: ({ context }) => context.queue.some((waiting) => grantable(context, waiting.scopes) > 0),
    mustDeny: ({ context }) =>
      context.conditions.size > 0 &&
      context.queue.some((waiting) => refusing(context, waiting.scopes) !== undefined),
  },
  actions: {
    takeRequest: assign({
      queue: ({ context, event }) =>
        event.type === 'tokens.request' && event.tokens > 0
          ? [
              ...context.queue,
              {
                requestId: event.requestId,
                tokens: event.tokens,
                scopes: event.scopes,
                replyTo: event.replyTo,
              },
            ]
          : context.queue,
    }),
    dropRequest: assign({
      queue: ({ context, event }) =>
        event.type === 'tokens.cancel'
          ? context.queue.filter((waiting) => waiting.requestId !== event.requestId)
          : context.queue,
    }),
    /**
     * Grants in order, partially if necessary. A request that waits for one property's budget does not block requests
     * for others.
     */
    grant: enqueueActions(({ context, enqueue }) => {
      let { budgets, leases } = context;
      const queue: Waiting[] = [];
      const spentFrom = new Set<string>();
      for (const waiting of context.queue) {
        const known = withScopes(budgets, context.input.rules, waiting.scopes);
        const tokens = Math.min(waiting.tokens, grantable({ ...context, budgets: known }, waiting.scopes));
        if (tokens === 0) {
          queue.push(waiting);
          continue;
        }
        budgets = spend(known, waiting.scopes, tokens);
        for (const scope of waiting.scopes) spentFrom.add(scope);
        const { requestId: leaseId, scopes } = waiting;
        leases = leases.with(leaseId, { leaseId, scopes, unsettled: tokens });
        enqueue.sendTo(waiting.replyTo, {
          type: 'tokens.granted',
          requestId: waiting.requestId,
          leaseId: waiting.requestId,
          tokens,
        });
      }
      enqueue.assign({ budgets, leases, queue });
      for (const scope of spentFrom) {
        const before = context.budgets.get(scope) ?? [];
        for (const [index, budget] of (budgets.get(scope) ?? []).entries()) {
          const { spent, limit } = budget;
          enqueue.emit({ type: 'quota.used', scope, spent, limit });
          const was = before[index];
          if (isApproached(budget) && (was === undefined || !isApproached(was))) {
            enqueue.emit({ type: 'quota.approaching', scope, spent, limit });
          }
        }
      }
    }),
    settleLease: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'lease.settled') return;
      const lease = context.leases.get(event.leaseId);
      if (lease === undefined) return;
      const { scopes } = lease;
      const { graceMs } = event;
      const tokens = Math.min(event.tokens, lease.unsettled);
      const accepted = Math.min(event.accepted, tokens);
      const budgets = settle(context.budgets, scopes, accepted);
      enqueue.assign({ budgets, leases: withUnsettled(context.leases, lease, lease.unsettled - tokens) });
      for (const windowMs of timedWindows(budgets, scopes)) {
        enqueue.raise(
          { type: 'lease.expired', scopes, windowMs, tokens, accepted },
          { delay: windowMs + graceMs + context.input.marginMs },
        );
      }
      if (usesBuckets(budgets, scopes)) {
        const arrived = { type: 'grace.over', scopes, tokens } as const;
        enqueue.raise(arrived, graceMs > 0 ? { delay: graceMs } : undefined);
      }
    }),
    /** The server accepted a request. This ends the series of refusals for every scope that is not resting. */
    noteAccepted: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'lease.settled' || event.accepted === 0 || context.conditions.size === 0) return;
      const scopes = context.leases.get(event.leaseId)?.scopes ?? [];
      let { conditions } = context;
      for (const scope of scopes) {
        const before = conditions.get(scope);
        if (before === undefined) continue;
        const after = nextCondition(before, { type: 'accepted' });
        if (after === before) continue;
        conditions = withCondition(conditions, scope, after);
        enqueue.cancel(restId(scope));
      }
      enqueue.assign({ conditions });
    }),
    returnLease: assign(({ context, event }) => {
      if (event.type !== 'lease.returned') return {};
      const lease = context.leases.get(event.leaseId);
      if (lease === undefined) return {};
      const tokens = Math.min(event.tokens, lease.unsettled);
      return {
        budgets: refund(context.budgets, lease.scopes, tokens),
        leases: withUnsettled(context.leases, lease, lease.unsettled - tokens),
      };
    }),
    expireLease: assign({
      budgets: ({ context, event }) =>
        event.type === 'lease.expired'
          ? expire(context.budgets, event.scopes, event.windowMs, event.tokens, event.accepted)
          : context.budgets,
    }),
    fillBuckets: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'grace.over') return;
      enqueue.assign({ budgets: fillBuckets(context.budgets, event.scopes, event.tokens), isTicking: true });
      if (!context.isTicking) enqueue.raise({ type: 'bucket.rolled' }, { delay: BUCKET_MS });
    }),
    rollBuckets: enqueueActions(({ context, enqueue }) => {
      const budgets = rollBucket(context.budgets);
      const isTicking = scopesInBuckets(budgets).length > 0;
      enqueue.assign({ budgets, isTicking });
      if (isTicking) enqueue.raise({ type: 'bucket.rolled' }, { delay: BUCKET_MS });
    }),
    recoverLeases: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'leases.recovered') return;
      let budgets = context.budgets;
      for (const { scope, tokens, settledMsAgo } of event.leases) {
        const scopes = [scope];
        budgets = spend(withScopes(budgets, context.input.rules, scopes), scopes, tokens);
        for (const windowMs of timedWindows(budgets, scopes)) {
          enqueue.raise(
            { type: 'lease.expired', scopes, windowMs, tokens, accepted: 0 },
            { delay: Math.max(0, windowMs - settledMsAgo) + context.input.marginMs },
          );
        }
        if (usesBuckets(budgets, scopes)) {
          const arrived = { type: 'grace.over', scopes, tokens } as const;
          enqueue.raise(arrived, settledMsAgo < 0 ? { delay: -settledMsAgo } : undefined);
        }
      }
      enqueue.assign({ budgets });
    }),
    takeRefusal: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'quota.refused') return;
      const { quota, retryAfterMs, scopes } = event;
      enqueue.emit({ type: 'quota.refused', quota, scopes });
      const refusal = { type: 'refused', quota, retryAfterMs, patience: context.input } as const;
      let { conditions, budgets } = context;
      let cooled: string | undefined;
      for (const scope of refusedScopes(event)) {
        const before = conditionOf(context, scope);
        const after = nextCondition(before, refusal);
        if (after === before) continue;
        conditions = conditions.with(scope, after);
        enqueue.cancel(restId(scope));
        enqueue.raise({ type: 'scope.rested', scope }, { id: restId(scope), delay: after.restMs });
        if (after.state !== 'cooling') continue;
        enqueue.emit({ type: 'quota.cooling', quota, scope, coolingMs: after.restMs });
        cooled ??= scope;
      }
      if (quota === 'qps' && cooled !== undefined) {
        const named = namedScopes(event);
        const isDigested = (other: string): boolean => conditionOf(context, other).state !== 'cooling';
        budgets = lowerLimits(budgets, named.length > 0 ? named : scopes, cooled, isDigested);
      }
      enqueue.assign({ conditions, budgets });
      for (const scope of scopes) {
        const before = context.budgets.get(scope) ?? [];
        for (const [index, budget] of (budgets.get(scope) ?? []).entries()) {
          if (budget === before[index] || budget.rise === null) continue;
          const delay = context.input.qpsCoolingMs + budget.windowMs * budget.rise.patience;
          const { windowMs } = budget;
          enqueue.cancel(riseId(budget));
          enqueue.raise({ type: 'limit.rises', scope, windowMs }, { id: riseId(budget), delay });
          if (budget.limit === before[index]?.limit) continue;
          enqueue.emit({ type: 'quota.lowered', scope, limit: budget.limit });
        }
      }
    }),
    /**
     * The scope is calm again but its refusals are still remembered. They are forgotten after a period without a
     * refusal.
     */
    endRest: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'scope.rested') return;
      const { scope } = event;
      const before = context.conditions.get(scope);
      if (before === undefined) return;
      const after = nextCondition(before, { type: 'rested' });
      enqueue.assign({ conditions: withCondition(context.conditions, scope, after) });
      if (isForgettable(after)) return;
      const delay = context.input.refusingMs;
      enqueue.raise({ type: 'scope.rested', scope }, { id: restId(scope), delay });
    }),
    raiseLimit: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'limit.rises') return;
      const { scope, windowMs } = event;
      const lowered = budgetsOf(context.budgets, [scope]).filter(
        (budget) => budget.windowMs === windowMs && budget.rise !== null,
      );
      const budgets = raiseLimit(context.budgets, scope, windowMs);
      enqueue.assign({ budgets });
      for (const { fullLimit } of lowered) {
        const budget = budgetsOf(budgets, [scope]).find(
          (other) => other.windowMs === windowMs && other.fullLimit === fullLimit,
        );
        enqueue.emit({ type: 'quota.raised', scope, limit: budget?.limit ?? fullLimit });
        if (budget === undefined || budget.rise === null) continue;
        const delay = windowMs * budget.rise.patience;
        enqueue.cancel(riseId(budget));
        enqueue.raise({ type: 'limit.rises', scope, windowMs }, { id: riseId(budget), delay });
      }
    }),
    deny: enqueueActions(({ context, enqueue }) => {
      const queue: Waiting[] = [];
      for (const waiting of context.queue) {
        const refused = refusing(context, waiting.scopes);
        if (refused === undefined) {
          queue.push(waiting);
          continue;
        }
        enqueue.sendTo(waiting.replyTo, {
          type: 'tokens.denied',
          requestId: waiting.requestId,
          quota: refused.quota,
        });
      }
      enqueue.assign({ queue });
    }),
  },
}).createMachine({
  id: 'rateLimiter',
  context: ({ input }) => ({
    input,
    budgets: Lookup.of<readonly Budget[]>(),
    queue: [],
    leases: Lookup.of<Lease>(),
    conditions: Lookup.of<ScopeCondition>(),
    isTicking: false,
  }),
  initial: 'open',
  on: {
    'tokens.request': { actions: 'takeRequest' },
    'tokens.cancel': { actions: 'dropRequest' },
    'lease.settled': { actions: ['noteAccepted', 'settleLease'] },
    'lease.returned': { actions: 'returnLease' },
    'lease.expired': { actions: 'expireLease' },
    'leases.recovered': { actions: 'recoverLeases' },
    'grace.over': { actions: 'fillBuckets' },
    'bucket.rolled': { actions: 'rollBuckets' },
    'quota.refused': { actions: 'takeRefusal' },
    'scope.rested': { actions: 'endRest' },
    'limit.rises': { actions: 'raiseLimit' },
  },
  always: [
    { guard: 'mustDeny', actions: 'deny' },
    { guard: 'canGrant', actions: 'grant' },
  ],
  states: {
    open: { always: { guard: 'somebodyWaits', target: 'exhausted' } },
    exhausted: { always: { guard: 'nobodyWaits', target: 'open' } },
  },
});

export type RateLimiterSnapshot = SnapshotFrom<typeof rateLimiterMachine>;

function withUnsettled(leases: Lookup<Lease>, lease: Lease, unsettled: number): Lookup<Lease> {
  return unsettled === 0
    ? leases.without(lease.leaseId)
    : leases.with(lease.leaseId, { ...lease, unsettled });
}

function withCondition(
  conditions: Lookup<ScopeCondition>,
  scope: string,
  condition: ScopeCondition,
): Lookup<ScopeCondition> {
  return isForgettable(condition) ? conditions.without(scope) : conditions.with(scope, condition);
}
