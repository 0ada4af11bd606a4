/**
 * The concurrency controller: finds how many calls at once are worth while, and takes back at the first sign of trouble.
 * Additive increase and multiplicative decrease after a slow start, as TCP has it.
 *
 *   growing ───────────────► steady ◄───────────────────────────────────────────┐
 *   slow start: a worker      │ resting ─► due │                                │
 *   more for each call        └────────────────┘                                │
 *   that ends well, until      one more │  ▲ no gain: one less again            │
 *   throughput is flat, the             ▼  │                                    │
 *   quota is near, or the     raised ◄──────────┐                               │
 *   most is reached           │ soaking ─► due ─┘ it paid: the next one         │
 *                                                                               │
 *   growing, steady, raised ── a refusal, or a failed call: ──► recovering ─────┘ a soak without trouble
 *                              the last good level, at once     │ soaking ─► due │
 *                                                               └─ trouble again: 1
 *
 *   from everywhere: release ──► released  (the user sets the level)
 *
 * It is told of calls as they begin and end, with their durations: there is no clock in here. `resting` and `soaking` wait
 * for a time, `due` for enough calls to judge by. Trouble of a call that began before the last fall is no news. Calls with
 * less than a full batch (the calendar, the last pages, a partial grant) are not measured: they show what there was to do,
 * not what could be done.
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
/** As it is: as many as may be are at work, or the quota has no room for more. */
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
    /** Or a worker more would be one more without work. */
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
    /** As `noteEnded`, for slow start. */
    noteRound: assign(({ context, event }) =>
      event.type === 'call.ended' ? afterEnd(context, event, true) : {},
    ),
    /** Refused pages have been told of; whatever else becomes of the call says nothing more. */
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
    /** Says what is to be, and why; and has it done. */
    decide: enqueueActions(({ context, enqueue }, { to, reason, detail }: Verdict) => {
      const from = context.level;
      if (to !== from) {
        enqueue.assign({ level: to });
        enqueue.sendTo(context.input.coordinator, { type: 'concurrency.change', maxConcurrency: to });
      }
      // Last: who listens may set another level, and what comes last holds.
      enqueue.emit({ type: 'concurrency.decided', from, to, reason, detail: detail ?? null });
    }),
    beginRound: assign(({ context }) => nextRound(context)),
    beginPhase: assign(({ context }) => newPhase(context)),
    /** What a further worker brings is measured by what the level does without him. */
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
