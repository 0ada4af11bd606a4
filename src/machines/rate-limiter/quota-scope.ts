/**
 * The state of one scope (a property, a user or a project) after refusals by the server. Each scope has its own, so that a
 * property that has to rest does not delay others.
 *
 *   calm ──refused: qps, load──► cooling (grants nothing; requests wait)
 *    │  ▲                           │ │ refused: load, for longer than it cools ──► cooling anew
 *    │  └───────────rested──────────┘ │
 *    │                                │ refused: daily
 *    └─refused: daily, or qps, load ──┴──► refusing (requests are denied) ──rested──► calm
 *      too often in a row
 *
 * `accepted` (the server took a request) ends the series of refusals. So does `rested` while the scope is calm: nothing was
 * refused for `refusingMs`. The statechart has no clock. Its owner sets a timer for `restMs` when the scope starts to rest,
 * and for `refusingMs` when it has rested but the series is not over, and sends `rested` when the timer fires.
 */

import { assign, setup, transition } from 'xstate';
import type { QuotaKind } from '../../domain/quota-kind.ts';

/** How long a refused scope rests, and after how many refusals. */
export interface Patience {
  /** Cooling time after a load refusal if the server names none. */
  readonly loadCoolingMs: number;
  /** Cooling time after a QPS refusal. */
  readonly qpsCoolingMs: number;
  /** Consecutive coolings without an accepted request before the scope refuses. */
  readonly maxLoadCoolings: number;
  readonly maxQpsCoolings: number;
  /**
   * How long a scope refuses before it tries again, and how long a series of coolings is remembered without further
   * refusals.
   */
  readonly refusingMs: number;
}

export interface QuotaScopeContext {
  /** Coolings of each kind since the server last accepted a request. */
  readonly coolings: { readonly qps: number; readonly load: number };
  /** Kind of the last refusal. */
  readonly quota: QuotaKind;
  /** How long the current rest lasts. */
  readonly restMs: number;
}

export type QuotaScopeEvent =
  | {
      readonly type: 'refused';
      readonly quota: QuotaKind;
      readonly retryAfterMs: number | null;
      readonly patience: Patience;
    }
  | { readonly type: 'accepted' }
  | { readonly type: 'rested' };

/** Longer than any window. Timers over 24 days would fire immediately. */
const LONGEST_COOLING_MS = 86_400_000;

/** As long as the server says, or else the usual time for this kind of refusal. */
function coolingMsOf({ quota, retryAfterMs, patience }: Extract<QuotaScopeEvent, { type: 'refused' }>) {
  const usualMs = quota === 'load' ? patience.loadCoolingMs : patience.qpsCoolingMs;
  return Math.min(retryAfterMs ?? usualMs, LONGEST_COOLING_MS);
}

const NO_COOLINGS = { qps: 0, load: 0 };

export const quotaScopeMachine = setup({
  types: { context: {} as QuotaScopeContext, events: {} as QuotaScopeEvent },
  guards: {
    endsPatience: ({ context: { coolings }, event }) =>
      event.type === 'refused' &&
      (event.quota === 'daily' ||
        (event.quota === 'load' && coolings.load >= event.patience.maxLoadCoolings) ||
        (event.quota === 'qps' && coolings.qps >= event.patience.maxQpsCoolings)),
    isDaily: ({ event }) => event.type === 'refused' && event.quota === 'daily',
    // A one-minute pause does not help against a load limit that takes 15 minutes to clear.
    coolsLonger: ({ context, event }) =>
      event.type === 'refused' && event.quota === 'load' && coolingMsOf(event) > context.restMs,
  },
  actions: {
    beginCooling: assign(({ context: { coolings }, event }) => {
      if (event.type !== 'refused') return {};
      const { quota } = event;
      return {
        quota,
        restMs: coolingMsOf(event),
        coolings:
          quota === 'load'
            ? { ...coolings, load: coolings.load + 1 }
            : { ...coolings, qps: coolings.qps + 1 },
      };
    }),
    beginRefusing: assign(({ event }) =>
      event.type === 'refused'
        ? { quota: event.quota, restMs: event.patience.refusingMs, coolings: NO_COOLINGS }
        : {},
    ),
    forgetCoolings: assign({ coolings: NO_COOLINGS }),
  },
}).createMachine({
  id: 'quotaScope',
  context: { coolings: NO_COOLINGS, quota: 'daily', restMs: 0 },
  initial: 'calm',
  states: {
    calm: {
      on: {
        refused: [
          { guard: 'endsPatience', target: 'refusing', actions: 'beginRefusing' },
          { target: 'cooling', actions: 'beginCooling' },
        ],
        accepted: { actions: 'forgetCoolings' },
        rested: { actions: 'forgetCoolings' },
      },
    },
    cooling: {
      on: {
        // Calls already under way at the first refusal are refused too. Only a daily refusal is news then.
        refused: [
          { guard: 'isDaily', target: 'refusing', actions: 'beginRefusing' },
          { guard: 'coolsLonger', target: 'cooling', reenter: true, actions: 'beginCooling' },
        ],
        rested: 'calm',
      },
    },
    refusing: {
      on: { rested: 'calm' },
    },
  },
});

/** A scope's condition, as the limiter stores it. */
export interface ScopeCondition extends QuotaScopeContext {
  readonly state: 'calm' | 'cooling' | 'refusing';
}

/** A scope without remembered refusals. */
export const CALM: ScopeCondition = { state: 'calm', coolings: NO_COOLINGS, quota: 'daily', restMs: 0 };

/**
 * The scope after an event. Returns the same object if nothing changed, so a new object that rests has just started to.
 */
export function nextCondition(before: ScopeCondition, event: QuotaScopeEvent): ScopeCondition {
  const { state, ...context } = before;
  const snapshot = quotaScopeMachine.resolveState({ value: state, context });
  const [next] = transition(quotaScopeMachine, snapshot, event);
  if (next.value === state && next.context === snapshot.context) return before;
  return { ...next.context, state: next.value };
}

/** Whether the scope has anything to remember. */
export const isForgettable = ({ state, coolings }: ScopeCondition): boolean =>
  state === 'calm' && coolings.qps + coolings.load === 0;
