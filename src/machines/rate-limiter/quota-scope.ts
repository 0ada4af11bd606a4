/**
 * What the server's refusals have made of one scope: a property, a user, a project. Each has its own, so that one property
 * that has to rest stops no other.
 *
 *   calm ──refused: qps, load──► cooling (nothing of this scope is granted; who waits goes on waiting)
 *    │  ▲                           │ │ refused: load, for longer than it cools ──► cooling anew
 *    │  └───────────rested──────────┘ │
 *    │                                │ refused: daily
 *    └─refused: daily, or qps, load ──┴──► refusing (whoever asks is denied) ──rested──► calm
 *      once too often in a row
 *
 * `accepted` (the server took a request) ends the row, and so does `rested` while it is calm: nothing was refused for
 * `refusingMs`. Whoever keeps it sets a timer for `restMs` when it begins to rest, and another when it has rested and the row
 * is not over, and says `rested` when that has passed: the statechart has no clock.
 */

import { assign, setup, transition } from 'xstate';
import type { QuotaKind } from '../../domain/quota-kind.ts';

/** How long a refused scope rests, and how often in a row. */
export interface Patience {
  /** How long a load refusal cools when the server does not say. */
  readonly loadCoolingMs: number;
  /** How long a QPS refusal does. */
  readonly qpsCoolingMs: number;
  /** Coolings in a row, without a request taken in between, after which it refuses. */
  readonly maxLoadCoolings: number;
  readonly maxQpsCoolings: number;
  /** How long it refuses before it tries again, and how long a row of coolings is remembered when nothing more is refused. */
  readonly refusingMs: number;
}

export interface QuotaScopeContext {
  /** Coolings of each kind since the server last took a request. */
  readonly coolings: { readonly qps: number; readonly load: number };
  /** What it was refused for last. */
  readonly quota: QuotaKind;
  /** How long it rests, now that it does. */
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

/** Longer than any window; a timer of more than 24 days would fire at once. */
const LONGEST_COOLING_MS = 86_400_000;

/** As long as the server says, or else as its kind of refusal takes to go. */
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
    // A minute's pause is no answer to a load that takes a quarter of an hour to go.
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
        // Calls that were under way when the first refusal came are refused too: they say nothing new, but for the day's.
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

/** A scope's condition, as the limiter keeps it. */
export interface ScopeCondition extends QuotaScopeContext {
  readonly state: 'calm' | 'cooling' | 'refusing';
}

/** Of a scope of which nothing is remembered. */
export const CALM: ScopeCondition = { state: 'calm', coolings: NO_COOLINGS, quota: 'daily', restMs: 0 };

/** The scope after an event: the same object when it changes nothing, so a new one that rests has just begun to. */
export function nextCondition(before: ScopeCondition, event: QuotaScopeEvent): ScopeCondition {
  const { state, ...context } = before;
  const snapshot = quotaScopeMachine.resolveState({ value: state, context });
  const [next] = transition(quotaScopeMachine, snapshot, event);
  if (next.value === state && next.context === snapshot.context) return before;
  return { ...next.context, state: next.value };
}

/** Whether anything of it has to be remembered. */
export const isForgettable = ({ state, coolings }: ScopeCondition): boolean =>
  state === 'calm' && coolings.qps + coolings.load === 0;
