/**
 * A batch worker: takes a batch of pages, gets a token for each, fetches them in one call, and reports page by page.
 *
 *                  batch.assign                 tokens.granted                    call.ended: answered,
 *   ┌─► idle ───────────────────► awaitingTokens ─────────────► calling           unauthorized, databaseAway, fatal
 *   │    ▲                          │ tokens.denied,             │ fetching ──────────────────────────► idle
 *   │    └──────────────────────────┘ worker.pause               │    │ ▲ call.stalled, worker.retry
 *   │                                                            │    │ └─► stalled: the database does not accept the pages
 *   │                                                            │    ▼ worker.halt
 *   │                                                            │ aborting ──────► halted (on call.ended, only then)
 *   │      backoff over                 call.ended: failed       │
 *   └──────────────────── backingOff ◄───────────────────────────┘
 *                             (its pages are back with the coordinator before it sleeps)
 *
 *   worker.halt leads to `halted` from every state. From `calling` it goes through `aborting`, because an abort cannot
 *   stop a COMMIT that has already been sent.
 *
 * A grant that arrives after its request was cancelled is returned, whatever the state.
 */

import { assign, enqueueActions, fromCallback, type SnapshotFrom, setup } from 'xstate';
import type { QuotaKind } from '../../domain/quota-kind.ts';
import { type BackoffRule, backoffMs } from '../backoff.ts';
import type {
  Blame,
  CallEvent,
  CallOrder,
  GrantEvent,
  LimiterEvent,
  Page,
  Recipient,
  WorkerOrder,
  WorkerReport,
} from '../messages.ts';

/** Input of `fetchBatch`. */
export interface FetchBatchInput {
  readonly workerId: string;
  readonly assignmentId: string;
  readonly leaseId: string;
  readonly scopes: readonly string[];
  readonly pages: readonly Page[];
  readonly maxAttempts: number;
  readonly blame: Blame;
}

export interface BatchWorkerInput {
  readonly workerId: string;
  /** The assignment ID it reports before its first assignment. */
  readonly assignmentId: string;
  readonly coordinator: Recipient<WorkerReport>;
  readonly limiter: Recipient<LimiterEvent>;
  /** The budgets that each token is taken from. */
  readonly scopes: readonly string[];
  readonly backoff: BackoffRule;
}

export interface BatchWorkerContext {
  readonly input: BatchWorkerInput;
  readonly assignmentId: string;
  readonly maxAttempts: number;
  readonly blame: Blame;
  /** Pages of the assignment without a result so far. */
  readonly pages: readonly Page[];
  /** Consecutive calls that failed and brought no page. */
  readonly failures: number;
  readonly backoffMs: number;
}

export type BatchWorkerEvent = WorkerOrder | GrantEvent | CallEvent;

const isSame = (
  a: { sliceId: string; startRow: number },
  b: { sliceId: string; startRow: number },
): boolean => a.sliceId === b.sliceId && a.startRow === b.startRow;

export const batchWorkerMachine = setup({
  types: {
    context: {} as BatchWorkerContext,
    events: {} as BatchWorkerEvent,
    input: {} as BatchWorkerInput,
    children: {} as { call: 'fetchBatch' },
  },
  actors: {
    fetchBatch: fromCallback<CallOrder, FetchBatchInput>(() => {
      throw new Error('fetchBatch is provided by the composition root');
    }),
  },
  guards: {
    isMyGrant: ({ context, event }) =>
      event.type === 'tokens.granted' && event.requestId === context.assignmentId && event.tokens > 0,
    isMyDenial: ({ context, event }) =>
      event.type === 'tokens.denied' && event.requestId === context.assignmentId,
    callFailed: ({ event }) => event.type === 'call.ended' && event.outcome.kind === 'failed',
  },
  delays: { backoff: ({ context }) => context.backoffMs },
  actions: {
    acceptBatch: assign(({ event }) =>
      event.type === 'batch.assign'
        ? {
            assignmentId: event.assignmentId,
            pages: event.pages,
            maxAttempts: event.maxAttempts,
            blame: event.blame,
          }
        : {},
    ),
    requestTokens: enqueueActions(({ context, enqueue, self }) => {
      enqueue.sendTo(context.input.limiter, {
        type: 'tokens.request',
        requestId: context.assignmentId,
        tokens: context.pages.length,
        scopes: context.input.scopes,
        replyTo: self,
      });
    }),
    cancelTokens: enqueueActions(({ context, enqueue }) => {
      enqueue.sendTo(context.input.limiter, { type: 'tokens.cancel', requestId: context.assignmentId });
    }),
    /** Fewer tokens than requested: pages without one go back before anything is sent. */
    returnSurplus: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'tokens.granted' || event.tokens >= context.pages.length) return;
      enqueue.sendTo(context.input.coordinator, {
        type: 'pages.returned',
        workerId: context.input.workerId,
        assignmentId: context.assignmentId,
        pages: context.pages.slice(event.tokens),
      });
      enqueue.assign({ pages: context.pages.slice(0, event.tokens) });
    }),
    returnGrant: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'tokens.granted') return;
      enqueue.sendTo(context.input.limiter, {
        type: 'lease.returned',
        leaseId: event.leaseId,
        tokens: event.tokens,
      });
    }),
    returnPages: enqueueActions(({ context, enqueue }) => {
      if (context.pages.length === 0) return;
      enqueue.sendTo(context.input.coordinator, {
        type: 'pages.returned',
        workerId: context.input.workerId,
        assignmentId: context.assignmentId,
        pages: context.pages,
      });
      enqueue.assign({ pages: [] });
    }),
    /** The whole call failed. No page is to blame, but a batch that keeps failing must be made smaller. */
    noteFailedCall: assign(({ context, event }) => {
      if (event.type !== 'call.ended') return {};
      const failures = context.failures + 1;
      return {
        failures,
        backoffMs: backoffMs(context.input.backoff, failures, event.chance),
        pages: context.pages.map((page) => ({ ...page, callFailures: page.callFailures + 1 })),
      };
    }),
    noteAnswer: assign(({ context, event }) => {
      if (event.type !== 'call.ended' || event.outcome.kind !== 'answered') return {};
      return { failures: 0, pages: context.pages.map((page) => ({ ...page, callFailures: 0 })) };
    }),
    settleTokens: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'call.settled') return;
      enqueue.sendTo(context.input.limiter, {
        type: 'lease.settled',
        leaseId: context.assignmentId,
        tokens: event.tokens,
        accepted: event.accepted,
        graceMs: event.graceMs,
      });
    }),
    returnTokens: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'call.unsent') return;
      enqueue.sendTo(context.input.limiter, {
        type: 'lease.returned',
        leaseId: context.assignmentId,
        tokens: event.tokens,
      });
    }),
    /** Records one page's result. A page refused for quota stays here and goes back when the call ends. */
    reportPage: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'call.page') return;
      const { sliceId, startRow, result } = event;
      const { workerId, coordinator, limiter, scopes } = context.input;
      const page = { workerId, assignmentId: context.assignmentId, sliceId, startRow };
      switch (result.kind) {
        case 'committed':
          enqueue.sendTo(coordinator, {
            type: 'page.committed',
            ...page,
            rows: result.rows,
            next: result.next,
          });
          enqueue.assign({ failures: 0 });
          break;
        case 'failed':
          enqueue.sendTo(coordinator, {
            type: 'page.failed',
            ...page,
            reason: result.reason,
            final: result.final,
          });
          break;
        case 'refused':
          enqueue.sendTo(limiter, {
            type: 'quota.refused',
            scopes,
            quota: result.quota,
            retryAfterMs: result.retryAfterMs,
            scopeKind: result.scopeKind ?? null,
          });
          return;
      }
      enqueue.assign({ pages: context.pages.filter((other) => !isSame(other, event)) });
    }),
    reportEnd: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'call.ended') return;
      const { workerId, coordinator } = context.input;
      enqueue.sendTo(coordinator, {
        type: 'batch.ended',
        workerId,
        assignmentId: context.assignmentId,
        outcome: event.outcome,
        chance: event.chance,
      });
    }),
    reportCancelled: enqueueActions(({ context, enqueue }) => {
      const { workerId, coordinator } = context.input;
      enqueue.sendTo(coordinator, {
        type: 'batch.ended',
        workerId,
        assignmentId: context.assignmentId,
        outcome: { kind: 'cancelled' },
        chance: 0,
      });
    }),
    reportDenied: enqueueActions(({ context, event, enqueue }) => {
      const quota: QuotaKind = event.type === 'tokens.denied' ? event.quota : 'daily';
      const { workerId, coordinator } = context.input;
      enqueue.sendTo(coordinator, {
        type: 'batch.ended',
        workerId,
        assignmentId: context.assignmentId,
        outcome: { kind: 'denied', quota },
        chance: 0,
      });
    }),
    reportReady: enqueueActions(({ context, enqueue }) => {
      const { workerId, coordinator } = context.input;
      enqueue.sendTo(coordinator, { type: 'worker.ready', workerId, assignmentId: context.assignmentId });
    }),
    reportHalted: enqueueActions(({ context, enqueue }) => {
      const { workerId, coordinator } = context.input;
      enqueue.sendTo(coordinator, { type: 'worker.halted', workerId, assignmentId: context.assignmentId });
    }),
    reportStalled: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'call.stalled') return;
      const { workerId, coordinator } = context.input;
      const { away, chance } = event;
      const { assignmentId } = context;
      enqueue.sendTo(coordinator, { type: 'batch.stalled', workerId, assignmentId, away, chance });
    }),
    retryCall: enqueueActions(({ enqueue }) => {
      enqueue.sendTo('call', { type: 'call.retry' });
    }),
    abortCall: enqueueActions(({ enqueue }) => {
      enqueue.sendTo('call', { type: 'call.abort' });
    }),
  },
}).createMachine({
  id: 'batchWorker',
  context: ({ input }) => ({
    input,
    assignmentId: input.assignmentId,
    maxAttempts: 1,
    blame: 'call',
    pages: [],
    failures: 0,
    backoffMs: 0,
  }),
  initial: 'idle',
  on: {
    'tokens.granted': { actions: 'returnGrant' },
    'worker.halt': '.halted',
  },
  states: {
    idle: {
      on: { 'batch.assign': { target: 'awaitingTokens', actions: 'acceptBatch' } },
    },
    awaitingTokens: {
      entry: 'requestTokens',
      on: {
        'tokens.granted': { guard: 'isMyGrant', target: 'calling', actions: 'returnSurplus' },
        'tokens.denied': { guard: 'isMyDenial', target: 'idle', actions: ['returnPages', 'reportDenied'] },
        'worker.pause': { target: 'idle', actions: ['cancelTokens', 'returnPages', 'reportCancelled'] },
        'worker.halt': { target: 'halted', actions: ['cancelTokens', 'returnPages', 'reportCancelled'] },
      },
    },
    calling: {
      initial: 'fetching',
      invoke: {
        id: 'call',
        src: 'fetchBatch',
        input: ({ context }) => ({
          workerId: context.input.workerId,
          assignmentId: context.assignmentId,
          leaseId: context.assignmentId,
          scopes: context.input.scopes,
          pages: context.pages,
          maxAttempts: context.maxAttempts,
          blame: context.blame,
        }),
      },
      on: {
        'call.settled': { actions: 'settleTokens' },
        'call.unsent': { actions: 'returnTokens' },
        'call.page': { actions: 'reportPage' },
        'call.ended': [
          {
            guard: 'callFailed',
            target: 'backingOff',
            actions: ['noteFailedCall', 'returnPages', 'reportEnd'],
          },
          { target: 'idle', actions: ['noteAnswer', 'returnPages', 'reportEnd'] },
        ],
        'worker.halt': { target: '.aborting', actions: 'abortCall' },
      },
      states: {
        fetching: {
          on: { 'call.stalled': { target: 'stalled', actions: 'reportStalled' } },
        },
        stalled: {
          on: { 'worker.retry': { target: 'fetching', actions: 'retryCall' } },
        },
        aborting: {
          on: {
            'call.ended': { target: '#batchWorker.halted', actions: ['returnPages', 'reportEnd'] },
            'worker.halt': {},
          },
        },
      },
    },
    backingOff: {
      after: { backoff: { target: 'idle', actions: 'reportReady' } },
    },
    halted: {
      entry: 'reportHalted',
      on: { 'worker.halt': {} },
    },
  },
});

export type BatchWorkerSnapshot = SnapshotFrom<typeof batchWorkerMachine>;
