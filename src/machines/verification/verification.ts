/**
 * A verification: draws keys from the table, asks Google for each by filter, one call at a time, and counts what differs.
 *
 *   drawing ──sample.drawn──► awaitingTokens ──tokens.granted──► asking
 *     │  ▲                      ▲   ▲  ▲                          │ answering ──┐ halt, fail
 *     │  │ not drawn yet        │   │  └── call.ended: checks left┤             ▼
 *     │  └── waitingForDatabase ┘   │                             │          aborting
 *     │         ▲   call.ended,     └─ backingOff ◄─ call.ended:  │             │ call.ended, deadline
 *     └─────────┘   sample.failed: away              failed ──────┤             │
 *                                                                 │ call.ended: │
 *                                                                 │ none left   │
 *   halt, fail, too long away, denied ─────────► halting ◄────────┴─────────────┘
 *                                                   │ nothing is under way
 *                                                   ▼
 *                                        complete · halted · failed
 *
 * A check that differs is asked again, in a later call: an answer may be wrong for a moment, and a difference is a grave
 * thing to say. The last answer counts.
 *
 * Every end passes through `halting`, one timer long: a grant that was on its way when its request was cancelled is returned
 * there, as in every other state.
 */
import { assign, enqueueActions, fromCallback, type SnapshotFrom, setup } from 'xstate';
import { backoffMs } from '../backoff.ts';
import type { HaltReason } from '../messages.ts';
import {
  type AskGoogleInput,
  type AskOrder,
  awayIn,
  blameFor,
  type Check,
  endingOfAway,
  failureIn,
  initialContext,
  isTooLongAway,
  nextChecks,
  requestIdOf,
  type VerificationContext,
  type VerificationEmitted,
  type VerificationEnding,
  type VerificationEvent,
  type VerificationInput,
} from './context.ts';

const missing = (name: string) => new Error(`${name} is provided by the composition root`);

const halted = (reason: HaltReason): VerificationEnding => ({ status: 'halted', reason });

export const verificationMachine = setup({
  types: {
    context: {} as VerificationContext,
    events: {} as VerificationEvent,
    input: {} as VerificationInput,
    output: {} as VerificationEnding,
    emitted: {} as VerificationEmitted,
    children: {} as { draw: 'drawSample'; call: 'askGoogle' },
  },
  actors: {
    /** Draws the sample. Sends `sample.drawn` or `sample.failed`. */
    drawSample: fromCallback(() => {
      throw missing('drawSample');
    }),
    /** Makes one call, and compares its answers with the table's rows. */
    askGoogle: fromCallback<AskOrder, AskGoogleInput>(() => {
      throw missing('askGoogle');
    }),
  },
  delays: {
    backoff: ({ context }) => context.delayMs,
    deadline: ({ context }) => context.input.haltDeadlineMs,
    quiet: 0,
  },
  guards: {
    isDrawn: ({ context }) => context.sample === 'drawn',
    isEmpty: ({ event }) => event.type === 'sample.drawn' && event.checkIds.length === 0,
    isMyGrant: ({ context, event }) =>
      event.type === 'tokens.granted' && event.requestId === requestIdOf(context) && event.tokens > 0,
    isMyDenial: ({ context, event }) =>
      event.type === 'tokens.denied' && event.requestId === requestIdOf(context),
    isFatal: ({ event }) =>
      (event.type === 'call.ended' || event.type === 'sample.failed') && event.outcome.kind === 'fatal',
    isAway: ({ event }) => awayIn(event) !== undefined,
    isTooLongAway: ({ context, event }) => {
      const away = awayIn(event);
      return away !== undefined && isTooLongAway(context, away);
    },
    callFailed: ({ event }) => event.type === 'call.ended' && failureIn(event.outcome) !== undefined,
    failedTooOften: ({ context, event }) =>
      event.type === 'call.ended' &&
      failureIn(event.outcome) !== undefined &&
      context.callFailures + 1 >= context.input.maxCallFailures,
    isDone: ({ context }) => context.open.length + context.asked.length === 0,
    isHalted: ({ context }) => context.ending.status === 'halted',
    hasFailed: ({ context }) => context.ending.status === 'failed',
  },
  actions: {
    takeSample: assign(({ event }) => {
      if (event.type !== 'sample.drawn') return {};
      const open = event.checkIds.map((id): Check => ({ id, attempts: 0, differed: 0 }));
      return { sample: 'drawn', open, databaseFailures: 0 } as const;
    }),
    requestTokens: enqueueActions(({ context, enqueue, self }) => {
      const serial = context.serial + 1;
      enqueue.assign({ serial });
      enqueue.sendTo(context.input.limiter, {
        type: 'tokens.request',
        requestId: requestIdOf({ ...context, serial }),
        tokens: nextChecks(context).length,
        scopes: context.input.scopes,
        replyTo: self,
      });
    }),
    cancelTokens: enqueueActions(({ context, enqueue }) => {
      enqueue.sendTo(context.input.limiter, { type: 'tokens.cancel', requestId: requestIdOf(context) });
    }),
    /** With fewer tokens than requested, fewer checks are asked. */
    takeGrant: assign(({ context, event }) => {
      if (event.type !== 'tokens.granted') return {};
      return { asked: context.open.slice(0, event.tokens), open: context.open.slice(event.tokens) };
    }),
    returnGrant: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'tokens.granted') return;
      const { leaseId, tokens } = event;
      enqueue.sendTo(context.input.limiter, { type: 'lease.returned', leaseId, tokens });
    }),
    settleTokens: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'call.settled') return;
      const { tokens, accepted, graceMs } = event;
      const leaseId = requestIdOf(context);
      enqueue.sendTo(context.input.limiter, { type: 'lease.settled', leaseId, tokens, accepted, graceMs });
    }),
    returnTokens: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'call.unsent') return;
      const leaseId = requestIdOf(context);
      enqueue.sendTo(context.input.limiter, { type: 'lease.returned', leaseId, tokens: event.tokens });
    }),
    /** Records one check's result. A check refused for quota stays, and is asked again with the next tokens. */
    takeResult: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'call.check') return;
      const { checkId, result } = event;
      const check = context.asked.find(({ id }) => id === checkId);
      if (check === undefined) return;
      const { input, open } = context;
      if (result.kind === 'refused') {
        const { quota, retryAfterMs, scopeKind = null } = result;
        const { limiter, scopes } = input;
        enqueue.sendTo(limiter, { type: 'quota.refused', scopes, quota, retryAfterMs, scopeKind });
        return;
      }
      const asked = context.asked.filter(({ id }) => id !== checkId);
      const tried: Check = {
        id: checkId,
        attempts: check.attempts + (result.kind === 'failed' ? 1 : 0),
        differed: check.differed + (result.kind === 'different' ? 1 : 0),
      };
      const isAgain =
        (result.kind === 'different' && tried.differed < input.looks) ||
        (result.kind === 'failed' && !result.final && tried.attempts < input.maxAttempts);
      enqueue.assign({ asked, open: isAgain ? [...open, tried] : open });
      // A call that brings something is no sign of an outage, even if it is cut off afterwards.
      if (result.kind !== 'failed') enqueue.assign({ callFailures: 0 });
      if (isAgain) return;
      const told = result.kind === 'failed' ? 'unanswered' : result.kind;
      enqueue.emit({ type: 'check.done', checkId, result: told });
    }),
    returnChecks: assign(({ context }) => ({ open: [...context.asked, ...context.open], asked: [] })),
    noteAnswer: assign({ callFailures: 0, databaseFailures: 0 }),
    noteFailedCall: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'call.ended') return;
      const callFailures = context.callFailures + 1;
      const delayMs = backoffMs(context.input.callBackoff, callFailures, event.chance);
      enqueue.assign({ callFailures, delayMs });
      const reason = failureIn(event.outcome) ?? '';
      enqueue.emit({ type: 'call.failed', reason, consecutive: callFailures, delayMs });
    }),
    noteAway: enqueueActions(({ context, event, enqueue }) => {
      const away = awayIn(event);
      if (away === undefined || !('chance' in event)) return;
      const databaseFailures = context.databaseFailures + 1;
      const delayMs = backoffMs(context.input.databaseBackoff, databaseFailures, event.chance);
      enqueue.assign({ databaseFailures, delayMs });
      enqueue.emit({ type: 'database.away', reason: away.reason, delayMs });
    }),
    endAway: assign(({ event }) => {
      const away = awayIn(event);
      return away === undefined ? {} : { ending: endingOfAway(away) };
    }),
    endTooManyFailures: assign(({ event }) => {
      const reason = event.type === 'call.ended' ? failureIn(event.outcome) : undefined;
      return reason === undefined ? {} : { ending: halted({ kind: 'callFailures', reason }) };
    }),
    endDenied: assign(({ event }) =>
      event.type === 'tokens.denied' ? { ending: halted({ kind: 'quota', quota: event.quota }) } : {},
    ),
    /** From outside, or because no retry can help. */
    endNow: assign(({ event }) => {
      switch (event.type) {
        case 'halt':
          return { ending: halted(event.reason) };
        case 'fail':
          return { ending: { status: 'failed', fatal: event.fatal } as const };
        case 'call.ended':
        case 'sample.failed':
          return event.outcome.kind === 'fatal'
            ? { ending: { status: 'failed', fatal: event.outcome.fatal } as const }
            : {};
        default:
          return {};
      }
    }),
    abortCall: enqueueActions(({ enqueue }) => {
      enqueue.sendTo('call', { type: 'call.abort' });
    }),
  },
}).createMachine({
  id: 'verification',
  context: ({ input }) => initialContext(input),
  initial: 'drawing',
  output: ({ context }) => context.ending,
  on: {
    'tokens.granted': { actions: 'returnGrant' },
    halt: { target: '.halting', actions: 'endNow' },
    fail: { target: '.halting', actions: 'endNow' },
  },
  states: {
    drawing: {
      invoke: { id: 'draw', src: 'drawSample' },
      on: {
        'sample.drawn': [
          { guard: 'isEmpty', target: 'halting', actions: 'takeSample' },
          { target: 'awaitingTokens', actions: 'takeSample' },
        ],
        'sample.failed': [
          { guard: 'isFatal', target: 'halting', actions: 'endNow' },
          { guard: 'isTooLongAway', target: 'halting', actions: 'endAway' },
          { target: 'waitingForDatabase', actions: 'noteAway' },
        ],
      },
    },
    awaitingTokens: {
      entry: 'requestTokens',
      on: {
        'tokens.granted': [
          { guard: 'isMyGrant', target: 'asking', actions: 'takeGrant' },
          { actions: 'returnGrant' },
        ],
        'tokens.denied': { guard: 'isMyDenial', target: 'halting', actions: 'endDenied' },
        halt: { target: 'halting', actions: ['cancelTokens', 'endNow'] },
        fail: { target: 'halting', actions: ['cancelTokens', 'endNow'] },
      },
    },
    asking: {
      initial: 'answering',
      invoke: {
        id: 'call',
        src: 'askGoogle',
        input: ({ context }) => ({
          leaseId: requestIdOf(context),
          scopes: context.input.scopes,
          checks: context.asked,
          blame: blameFor(context.asked),
        }),
      },
      on: {
        'call.settled': { actions: 'settleTokens' },
        'call.unsent': { actions: 'returnTokens' },
        'call.check': { actions: 'takeResult' },
      },
      states: {
        answering: {
          on: {
            'call.ended': [
              { guard: 'isFatal', target: '#verification.halting', actions: ['returnChecks', 'endNow'] },
              // Also after a call that was cut off: it has brought everything that was left.
              { guard: 'isDone', target: '#verification.halting' },
              {
                guard: 'isTooLongAway',
                target: '#verification.halting',
                actions: ['returnChecks', 'endAway'],
              },
              {
                guard: 'isAway',
                target: '#verification.waitingForDatabase',
                actions: ['returnChecks', 'noteAway'],
              },
              {
                guard: 'failedTooOften',
                target: '#verification.halting',
                actions: ['returnChecks', 'endTooManyFailures'],
              },
              {
                guard: 'callFailed',
                target: '#verification.backingOff',
                actions: ['returnChecks', 'noteFailedCall'],
              },
              { target: '#verification.awaitingTokens', actions: ['returnChecks', 'noteAnswer'] },
            ],
            halt: { target: 'aborting', actions: ['abortCall', 'endNow'] },
            fail: { target: 'aborting', actions: ['abortCall', 'endNow'] },
          },
        },
        aborting: {
          on: {
            'call.ended': { target: '#verification.halting', actions: 'returnChecks' },
            halt: {},
            fail: {},
          },
          after: { deadline: { target: '#verification.halting', actions: 'returnChecks' } },
        },
      },
    },
    backingOff: { after: { backoff: 'awaitingTokens' } },
    waitingForDatabase: {
      after: { backoff: [{ guard: 'isDrawn', target: 'awaitingTokens' }, { target: 'drawing' }] },
    },
    halting: {
      on: { halt: {}, fail: {} },
      after: {
        quiet: [
          { guard: 'hasFailed', target: 'failed' },
          { guard: 'isHalted', target: 'halted' },
          { target: 'complete' },
        ],
      },
    },
    complete: { type: 'final' },
    halted: { type: 'final' },
    failed: { type: 'final' },
  },
});

export type VerificationSnapshot = SnapshotFrom<typeof verificationMachine>;
