/**
 * The rate limiter: grants tokens, one a request to the API, over messages. Grants go in order and may be partial.
 *
 *   granting ──────────────────────────────────────────┐  refused: qps, load         cooling
 *   │ open ⇄ exhausted                                 │ ──────────────────────────►  (no grant)
 *   │ (nobody waits)  (somebody waits, no budget has   │ ◄──────────────────────────
 *   │                  room: an expiry will serve him) │       after coolingMs
 *   └──────────────────────────────────────────────────┘
 *        │  refused: daily, or qps / load once too often             ▲
 *        ▼                                                            │ after refusingMs
 *   refusing (every request is answered with tokens.denied) ──────────┘
 *
 * Leases outlive all states: they settle, expire and come back at any time. There is no clock in here: a settled token
 * counts until the delayed event `lease.expired`.
 */
import { assign, enqueueActions, type SnapshotFrom, setup } from 'xstate';
import type { GrantEvent, LimiterEvent, QuotaKind, Recipient } from './messages.ts';
import {
  BUCKET_MS,
  type Budget,
  type BudgetRule,
  expire,
  fillBuckets,
  hasBuckets,
  lowerLimits,
  refund,
  rollBucket,
  room,
  settle,
  spend,
  timedWindows,
  usesBuckets,
  withScopes,
} from './quota-window.ts';

export interface RateLimiterInput {
  readonly rules: readonly BudgetRule[];
  /** Added to every window: timers fire up to a millisecond early, clocks differ. */
  readonly marginMs: number;
  /** How long a load refusal cools the limiter when the server does not say. */
  readonly loadCoolingMs: number;
  /** How long a QPS refusal does. */
  readonly qpsCoolingMs: number;
  /** Coolings in a row, without a request taken in between, after which it refuses. */
  readonly maxLoadCoolings: number;
  readonly maxQpsCoolings: number;
  /** How long it refuses before it tries again. */
  readonly refusingMs: number;
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
  readonly budgets: readonly Budget[];
  readonly queue: readonly Waiting[];
  readonly leases: readonly Lease[];
  /** Coolings of each kind since the server last took a request. */
  readonly coolings: { readonly qps: number; readonly load: number };
  readonly refusedFor: QuotaKind;
  readonly coolingMs: number;
}

type InternalEvent =
  | {
      readonly type: 'lease.expired';
      readonly scopes: readonly string[];
      readonly windowMs: number;
      readonly tokens: number;
      readonly accepted: number;
    }
  /** Requests that had no answer cannot arrive any more. */
  | { readonly type: 'grace.over'; readonly scopes: readonly string[]; readonly tokens: number }
  | { readonly type: 'bucket.rolled' };

/**
 * Tokens that a run before this one took and that may still count: settled `settledMsAgo`, or 0 when nobody knows. Less
 * than 0 while their grace lasts.
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

/** What the limiter tells those who listen (`actor.on(...)`). */
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
  | { readonly type: 'quota.cooling'; readonly quota: QuotaKind; readonly coolingMs: number };

/** A share of a budget from which on it is said to be approached. */
export const APPROACHING = 0.8;

/** Longer than any window; a timer of more than 24 days would fire at once. */
const LONGEST_COOLING_MS = 86_400_000;

/** As long as the server says, or else as its kind of refusal takes to go. */
function coolingMsOf(
  { quota, retryAfterMs }: { readonly quota: QuotaKind; readonly retryAfterMs: number | null },
  input: RateLimiterInput,
): number {
  const usualMs = quota === 'load' ? input.loadCoolingMs : input.qpsCoolingMs;
  return Math.min(retryAfterMs ?? usualMs, LONGEST_COOLING_MS);
}

const isApproached = (budget: Budget): boolean => budget.spent >= budget.limit * APPROACHING;

export const rateLimiterMachine = setup({
  types: {
    context: {} as RateLimiterContext,
    events: {} as RateLimiterEvent,
    input: {} as RateLimiterInput,
    emitted: {} as RateLimiterEmitted,
  },
  guards: {
    mustWait: ({ context }) =>
      context.queue.length > 0 &&
      context.queue.every((waiting) => room(context.budgets, waiting.scopes) === 0),
    nobodyWaits: ({ context }) => context.queue.length === 0,
    endsPatience: ({ context, event }) =>
      event.type === 'quota.refused' &&
      (event.quota === 'daily' ||
        (event.quota === 'load' && context.coolings.load >= context.input.maxLoadCoolings) ||
        (event.quota === 'qps' && context.coolings.qps >= context.input.maxQpsCoolings)),
    coolsLonger: ({ context, event }) =>
      event.type === 'quota.refused' &&
      event.quota === 'load' &&
      coolingMsOf(event, context.input) > context.coolingMs,
    canGrant: ({ context }) => context.queue.some((waiting) => room(context.budgets, waiting.scopes) > 0),
  },
  delays: {
    cooling: ({ context }) => context.coolingMs,
    refusing: ({ context }) => context.input.refusingMs,
  },
  actions: {
    takeRequest: assign({
      budgets: ({ context, event }) =>
        event.type === 'tokens.request'
          ? withScopes(context.budgets, context.input.rules, event.scopes)
          : context.budgets,
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
    /** In order, and partial: the head of the line takes what its budgets have; who waits for another site's is passed. */
    grant: enqueueActions(({ context, enqueue }) => {
      let budgets = context.budgets;
      const leases = [...context.leases];
      const queue: Waiting[] = [];
      for (const waiting of context.queue) {
        const tokens = Math.min(waiting.tokens, room(budgets, waiting.scopes));
        if (tokens === 0) {
          queue.push(waiting);
          continue;
        }
        budgets = spend(budgets, waiting.scopes, tokens);
        leases.push({ leaseId: waiting.requestId, scopes: waiting.scopes, unsettled: tokens });
        enqueue.sendTo(waiting.replyTo, {
          type: 'tokens.granted',
          requestId: waiting.requestId,
          leaseId: waiting.requestId,
          tokens,
        });
      }
      enqueue.assign({ budgets, leases, queue });
      for (const [index, budget] of budgets.entries()) {
        const before = context.budgets[index];
        if (before === undefined || before.spent === budget.spent) continue;
        enqueue.emit({ type: 'quota.used', scope: budget.scope, spent: budget.spent, limit: budget.limit });
        if (!isApproached(before) && isApproached(budget)) {
          enqueue.emit({
            type: 'quota.approaching',
            scope: budget.scope,
            spent: budget.spent,
            limit: budget.limit,
          });
        }
      }
    }),
    settleLease: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'lease.settled') return;
      const lease = context.leases.find(({ leaseId }) => leaseId === event.leaseId);
      if (lease === undefined) return;
      const tokens = Math.min(event.tokens, lease.unsettled);
      const accepted = Math.min(event.accepted, tokens);
      const budgets = settle(context.budgets, lease.scopes, accepted);
      enqueue.assign({ budgets, leases: withUnsettled(context.leases, lease, lease.unsettled - tokens) });
      for (const windowMs of timedWindows(budgets, lease.scopes)) {
        enqueue.raise(
          { type: 'lease.expired', scopes: lease.scopes, windowMs, tokens, accepted },
          { delay: windowMs + event.graceMs + context.input.marginMs },
        );
      }
      if (usesBuckets(budgets, lease.scopes)) {
        const arrived = { type: 'grace.over', scopes: lease.scopes, tokens } as const;
        enqueue.raise(arrived, event.graceMs > 0 ? { delay: event.graceMs } : undefined);
      }
    }),
    returnLease: assign(({ context, event }) => {
      if (event.type !== 'lease.returned') return {};
      const lease = context.leases.find(({ leaseId }) => leaseId === event.leaseId);
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
      const budgets = fillBuckets(context.budgets, event.scopes, event.tokens);
      enqueue.assign({ budgets });
      if (!hasBuckets(context.budgets)) enqueue.raise({ type: 'bucket.rolled' }, { delay: BUCKET_MS });
    }),
    rollBuckets: enqueueActions(({ context, enqueue }) => {
      const budgets = rollBucket(context.budgets);
      enqueue.assign({ budgets });
      if (hasBuckets(budgets)) enqueue.raise({ type: 'bucket.rolled' }, { delay: BUCKET_MS });
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
    reportRefusal: enqueueActions(({ event, enqueue }) => {
      if (event.type !== 'quota.refused') return;
      enqueue.emit({ type: 'quota.refused', quota: event.quota, scopes: event.scopes });
    }),
    beginCooling: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'quota.refused') return;
      const { input, coolings } = context;
      const coolingMs = coolingMsOf(event, input);
      enqueue.assign({
        coolingMs,
        coolings:
          event.quota === 'load'
            ? { ...coolings, load: coolings.load + 1 }
            : { ...coolings, qps: coolings.qps + 1 },
      });
      enqueue.emit({ type: 'quota.cooling', quota: event.quota, coolingMs });
      if (event.quota !== 'qps') return;
      const budgets = lowerLimits(context.budgets, event.scopes);
      enqueue.assign({ budgets });
      for (const [index, budget] of budgets.entries()) {
        if (budget.limit !== context.budgets[index]?.limit) {
          enqueue.emit({ type: 'quota.lowered', scope: budget.scope, limit: budget.limit });
        }
      }
    }),
    forgetCoolings: assign(({ context, event }) =>
      event.type === 'lease.settled' && event.accepted > 0 && context.coolings.qps + context.coolings.load > 0
        ? { coolings: { qps: 0, load: 0 } }
        : {},
    ),
    beginRefusing: assign({
      refusedFor: ({ context, event }) => (event.type === 'quota.refused' ? event.quota : context.refusedFor),
      coolings: { qps: 0, load: 0 },
    }),
    denyAll: enqueueActions(({ context, enqueue }) => {
      for (const waiting of context.queue) {
        enqueue.sendTo(waiting.replyTo, {
          type: 'tokens.denied',
          requestId: waiting.requestId,
          quota: context.refusedFor,
        });
      }
      enqueue.assign({ queue: [] });
    }),
  },
}).createMachine({
  id: 'rateLimiter',
  context: ({ input }) => ({
    input,
    budgets: [],
    queue: [],
    leases: [],
    coolings: { qps: 0, load: 0 },
    refusedFor: 'daily',
    coolingMs: 0,
  }),
  initial: 'granting',
  on: {
    'tokens.request': { actions: 'takeRequest' },
    'tokens.cancel': { actions: 'dropRequest' },
    'lease.settled': { actions: 'settleLease' },
    'lease.returned': { actions: 'returnLease' },
    'lease.expired': { actions: 'expireLease' },
    'leases.recovered': { actions: 'recoverLeases' },
    'grace.over': { actions: 'fillBuckets' },
    'bucket.rolled': { actions: 'rollBuckets' },
  },
  states: {
    granting: {
      initial: 'open',
      always: { guard: 'canGrant', actions: 'grant' },
      on: {
        'lease.settled': { actions: ['settleLease', 'forgetCoolings'] },
        'quota.refused': [
          { guard: 'endsPatience', target: 'refusing', actions: ['reportRefusal', 'beginRefusing'] },
          { target: 'cooling', actions: ['reportRefusal', 'beginCooling'] },
        ],
      },
      states: {
        open: { always: { guard: 'mustWait', target: 'exhausted' } },
        exhausted: { always: { guard: 'nobodyWaits', target: 'open' } },
      },
    },
    cooling: {
      on: {
        // Calls that were under way when the first refusal came are refused too: they say nothing new, but for the day's.
        'quota.refused': [
          {
            guard: ({ event }) => event.quota === 'daily',
            target: 'refusing',
            actions: ['reportRefusal', 'beginRefusing'],
          },
          // A minute's pause is no answer to a load that takes a quarter of an hour to go.
          {
            guard: 'coolsLonger',
            target: 'cooling',
            reenter: true,
            actions: ['reportRefusal', 'beginCooling'],
          },
          { actions: 'reportRefusal' },
        ],
      },
      after: { cooling: 'granting' },
    },
    refusing: {
      entry: 'denyAll',
      on: {
        'tokens.request': { actions: ['takeRequest', 'denyAll'] },
        'quota.refused': { actions: 'reportRefusal' },
      },
      after: { refusing: 'granting' },
    },
  },
});

export type RateLimiterSnapshot = SnapshotFrom<typeof rateLimiterMachine>;

function withUnsettled(leases: readonly Lease[], lease: Lease, unsettled: number): readonly Lease[] {
  return unsettled === 0
    ? leases.filter((other) => other !== lease)
    : leases.map((other) => (other === lease ? { ...lease, unsettled } : other));
}
