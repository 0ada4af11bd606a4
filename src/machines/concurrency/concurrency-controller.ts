/**
 * The concurrency controller: finds how many concurrent calls pay off, and backs off at the first sign of trouble.
 * After a slow start it uses additive increase and multiplicative decrease, like TCP.
 *
 *   growing ───────────────► steady ◄───────────────────────────────────────────┐
 *   slow start: a worker      │ resting ─► due │                                │
 *   more for each call        └────────────────┘                                │
 *   that ends well, until      one more │  ▲ no gain: one less again            │
 *   throughput is flat, the             ▼  │                                    │
 *   quota is near, or the     raised ◄──────────┐                               │
 *   maximum is reached        │ soaking ─► due ─┘ it paid off: the next one     │
 *                                                                               │
 *   growing, steady, raised ── a refusal, or a failed call: ──► recovering ─────┘ a soak without trouble
 *                              straight to the last good level  │ soaking ─► due │
 *                                                               └─ trouble again: 1
 *
 *   from every state: release ──► released  (the user sets the level)
 *
 * Events report when calls begin and end, and how long they took: the machine has no clock. `resting` and `soaking` wait for
 * a time, `due` for enough calls to judge by. Trouble in a call that began before the last decrease is ignored. Calls with
 * less than a full batch (calendars, the last pages, partial grants) are not measured: they show how much work there was,
 * not how much was possible.
 */
import { and, assign, enqueueActions, type SnapshotFrom, setup } from 'xstate';
import {
  afterEnd,
  type ConcurrencyControllerContext,
  type ConcurrencyControllerEvent,
  type ConcurrencyControllerInput,
  type ConcurrencyDecision,
  type ConcurrencyReason,
  fallFrom,
  hasGained,
  isMeasured,
  isNearQuota,
  isRoundFlat,
  isRoundOver,
  kneeIn,
  mayGrow,
  mayRaise,
  newPhase,
  newsOf,
  nextRound,
  restMs,
  troubleOf,
  type Verdict,
} from './context.ts';
import { NO_SAMPLE, rateOf } from './throughput.ts';

interface Args {
  readonly context: ConcurrencyControllerContext;
  readonly event: ConcurrencyControllerEvent;
}
const decision = (params: (args: Args) => Verdict) => ({ type: 'decide', params }) as const;
const oneMore = (reason: ConcurrencyReason) => decision(({ context }) => ({ to: context.level + 1, reason }));
/** All allowed workers are busy, or the quota has no room for more. */
const stay = decision(({ context }) => ({
  to: context.level,
  reason: isNearQuota(context) ? 'quota' : 'most',
}));
const settleAtKnee = decision(({ context }) => ({ to: kneeIn(context), reason: 'noGain' }));
const backDown = decision(({ context }) => ({ to: context.lastGood, reason: 'noGain' }));
const fall = decision(({ context, event }) => ({ to: fallFrom(context), ...troubleOf(event) }));
const fallToOne = decision(({ event }) => ({ to: 1, reason: 'repeated', detail: troubleOf(event).detail }));

export const concurrencyControllerMachine = setup({
  types: {
    context: {} as ConcurrencyControllerContext,
    events: {} as ConcurrencyControllerEvent,
    input: {} as ConcurrencyControllerInput,
    emitted: {} as ConcurrencyDecision,
  },
  delays: {
    soak: ({ context }) => context.input.soakMs,
    rest: ({ context }) => restMs(context),
  },
  guards: {
    hasNoSlowStart: ({ context }) => !context.input.slowStart,
    isNews: ({ context, event }) => newsOf(context, event) !== undefined,
    isNearQuota: ({ context }) => isNearQuota(context),
    mayRaise: ({ context }) => mayRaise(context),
    mayGrow: ({ context, event }) => mayGrow(context, event),
    isRoundOver: ({ context }) => isRoundOver(context),
    isRoundFlat: ({ context }) => isRoundFlat(context),
    beganAtMost: ({ context }) => context.roundLevel >= context.input.most,
    isMeasured: ({ context }) => isMeasured(context),
    /** Or an extra worker would have no work. */
    wasUsed: ({ context }) => context.peak >= context.level,
    hasGained: ({ context }) => hasGained(context),
    isClean: ({ context }) => context.endedWell >= context.level,
  },
  actions: {
    noteBegun: assign(({ context, event }) => {
      if (event.type !== 'call.began') return {};
      const { callId, pages, quotaShare } = event;
      const sharers = context.calls.length + 1;
      const isFull = pages >= context.input.batchSize;
      const call = { callId, sharers, phase: context.phase, isFull, isRefused: false };
      return { calls: [...context.calls, call], peak: Math.max(context.peak, sharers), quotaShare };
    }),
    noteEnded: assign(({ context, event }) =>
      event.type === 'call.ended' ? afterEnd(context, event, false) : {},
    ),
    /** Like `noteEnded`, for slow start. */
    noteRound: assign(({ context, event }) =>
      event.type === 'call.ended' ? afterEnd(context, event, true) : {},
    ),
    /** The refusal of this call was already reported. Its other results add nothing. */
    noteRefused: assign(({ context, event }) =>
      event.type === 'call.refused'
        ? {
            calls: context.calls.map((call) =>
              call.callId === event.callId ? { ...call, isRefused: true } : call,
            ),
          }
        : {},
    ),
    dropCall: assign(({ context, event }) =>
      event.type === 'call.failed' || event.type === 'call.void'
        ? { calls: context.calls.filter(({ callId }) => callId !== event.callId) }
        : {},
    ),
    /** Emits the decision and its reason, and sets the new level. */
    decide: enqueueActions(({ context, enqueue }, { to, reason, detail }: Verdict) => {
      const from = context.level;
      if (to !== from) {
        enqueue.assign({ level: to });
        enqueue.sendTo(context.input.coordinator, { type: 'concurrency.change', maxConcurrency: to });
      }
      // Emitted last: a listener may set another level, and the last one set wins.
      enqueue.emit({ type: 'concurrency.decided', from, to, reason, detail: detail ?? null });
    }),
    beginRound: assign(({ context }) => nextRound(context)),
    beginPhase: assign(({ context }) => newPhase(context)),
    /** The gain from an extra worker is measured against the level without it. */
    takeBaseline: assign(({ context }) => ({
      baseline: rateOf(context.level, context.sample),
      lastGood: context.level,
    })),
    keepLevel: assign({ lastGood: ({ context }) => context.level }),
    beginFall: assign(({ context }) => ({ ...newPhase(context), fallPhase: context.phase + 1 })),
    countSetback: assign(({ context }) => ({ setbacks: context.setbacks + 1 })),
    forgetSetbacks: assign({ setbacks: 0 }),
  },
}).createMachine({
  id: 'concurrencyController',
  context: ({ input }) => ({
    input,
    level: input.start,
    lastGood: input.start,
    calls: [],
    phase: 0,
    fallPhase: 0,
    endedWell: 0,
    peak: 0,
    sample: NO_SAMPLE,
    roundLevel: input.start,
    first: null,
    baseline: null,
    quotaShare: 0,
    moreToDo: true,
    setbacks: 0,
  }),
  initial: 'growing',
  on: {
    'call.began': { actions: 'noteBegun' },
    'call.ended': { actions: 'noteEnded' },
    'call.void': { actions: 'dropCall' },
    'call.refused': [
      { guard: 'isNews', target: '.recovering', actions: [fall, 'noteRefused'] },
      { actions: 'noteRefused' },
    ],
    'call.failed': [
      { guard: 'isNews', target: '.recovering', actions: [fall, 'dropCall'] },
      { actions: 'dropCall' },
    ],
    release: '.released',
  },
  states: {
    growing: {
      always: [
        { guard: 'hasNoSlowStart', target: 'steady' },
        { guard: 'isNearQuota', target: 'steady', actions: stay },
        {
          guard: and(['isRoundOver', 'isRoundFlat']),
          target: 'steady',
          actions: [settleAtKnee, 'keepLevel', 'countSetback'],
        },
        { guard: and(['isRoundOver', 'beganAtMost']), target: 'steady', actions: ['keepLevel', stay] },
        { guard: 'isRoundOver', actions: 'beginRound' },
      ],
      on: {
        'call.ended': [
          { guard: 'mayGrow', actions: ['noteRound', oneMore('slowStart')] },
          { actions: 'noteRound' },
        ],
      },
    },
    steady: {
      entry: 'beginPhase',
      initial: 'resting',
      states: {
        resting: { after: { rest: 'due' } },
        due: {
          always: {
            guard: and(['isMeasured', 'wasUsed', 'mayRaise']),
            target: '#concurrencyController.raised',
            actions: ['takeBaseline', oneMore('trial')],
          },
        },
      },
    },
    raised: {
      entry: 'beginPhase',
      initial: 'soaking',
      states: {
        soaking: { after: { soak: 'due' } },
        due: {
          always: [
            {
              guard: and(['isMeasured', 'hasGained', 'mayRaise']),
              target: '#concurrencyController.raised',
              actions: ['takeBaseline', 'forgetSetbacks', oneMore('grew')],
            },
            {
              guard: and(['isMeasured', 'hasGained']),
              target: '#concurrencyController.steady',
              actions: ['keepLevel', 'forgetSetbacks', stay],
            },
            {
              guard: 'isMeasured',
              target: '#concurrencyController.steady',
              actions: [backDown, 'countSetback'],
            },
          ],
        },
      },
    },
    recovering: {
      entry: ['beginFall', 'keepLevel', 'countSetback'],
      initial: 'soaking',
      on: {
        'call.refused': {
          guard: 'isNews',
          target: 'recovering',
          reenter: true,
          actions: [fallToOne, 'noteRefused'],
        },
        'call.failed': {
          guard: 'isNews',
          target: 'recovering',
          reenter: true,
          actions: [fallToOne, 'dropCall'],
        },
      },
      states: {
        soaking: { after: { soak: 'due' } },
        due: { always: { guard: 'isClean', target: '#concurrencyController.steady' } },
      },
    },
    released: {
      on: {
        'call.refused': { actions: 'noteRefused' },
        'call.failed': { actions: 'dropCall' },
      },
    },
  },
});

export type ConcurrencyControllerSnapshot = SnapshotFrom<typeof concurrencyControllerMachine>;
