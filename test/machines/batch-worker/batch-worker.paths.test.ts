/** Every path of the batch worker, walked by the real one: `fetchBatch` is faked, limiter and coordinator listen. */

import { afterAll, expect, test } from 'vitest';
import { type EventObject, fromCallback } from 'xstate';
import { backoffMs } from '../../../src/machines/backoff.ts';
import {
  type BatchWorkerEvent,
  type BatchWorkerInput,
  batchWorkerMachine,
  type FetchBatchInput,
} from '../../../src/machines/batch-worker/batch-worker.ts';
import type {
  CallEvent,
  CallOrder,
  LimiterEvent,
  Page,
  WorkerReport,
} from '../../../src/machines/messages.ts';
import { walkEveryEdge } from '../support/paths.ts';
import { createBystander, type Sent } from '../support/refs.ts';
import { createRig, Mailboxes } from '../support/rig.ts';

const mailboxes = new Mailboxes();
const limiter = createBystander<LimiterEvent>('limiter', mailboxes.note);
const coordinator = createBystander<WorkerReport>('coordinator', mailboxes.note);
afterAll(() => {
  limiter.stop();
  coordinator.stop();
});

const input: BatchWorkerInput = {
  workerId: 'w0',
  assignmentId: 'run:w0.0',
  coordinator: coordinator.ref,
  limiter: limiter.ref,
  scopes: ['site:a'],
  backoff: { baseMs: 100, maxMs: 1_000 },
};

const CHANCE = 0.5;
const page = (sliceId: string): Page => ({ sliceId, startRow: 0, attempts: 0, callFailures: 0 });
const BATCH = [page('a'), page('b')];
const assignmentId = (serial: number): string => `run:w0.${serial}`;

/** What limiter, coordinator and fetchBatch know of the worker. */
interface Notes {
  readonly assigned: number;
  readonly halted: boolean;
  /** Requests that the limiter has not answered and may still answer, even though they were cancelled. */
  readonly open: readonly { readonly requestId: string; readonly tokens: number }[];
  /** Tokens granted and neither settled nor returned. */
  readonly tokens: number;
  /** Pages that the coordinator thinks are with the worker. */
  readonly pages: readonly string[];
  /** Tokens and pages that the call under way has yet to speak of. */
  readonly unsettled: number;
  readonly calls: number;
  /** Calls that failed since the last that was answered, or brought a page. */
  readonly failures: number;
}

const isEvent = (event: EventObject | undefined): event is BatchWorkerEvent => event !== undefined;

function failuresAfter(
  { outcome: { kind } }: Extract<CallEvent, { type: 'call.ended' }>,
  before: number,
): number {
  if (kind === 'failed') return before + 1;
  return kind === 'answered' ? 0 : before;
}

function noteEvent(notes: Notes, event: EventObject | undefined): Notes {
  if (!isEvent(event)) return notes;
  switch (event.type) {
    case 'batch.assign':
      return { ...notes, assigned: notes.assigned + 1, pages: event.pages.map(({ sliceId }) => sliceId) };
    case 'tokens.granted':
    case 'tokens.denied': {
      const open = notes.open.filter(({ requestId }) => requestId !== event.requestId);
      return { ...notes, open, tokens: notes.tokens + (event.type === 'tokens.granted' ? event.tokens : 0) };
    }
    case 'worker.halt':
      return { ...notes, halted: true };
    case 'call.settled':
    case 'call.unsent':
      return { ...notes, unsettled: notes.unsettled - event.tokens };
    case 'call.page':
      // What brings a page is not to be slowed down.
      return event.result.kind === 'committed' ? { ...notes, failures: 0 } : notes;
    case 'call.ended':
      return { ...notes, failures: failuresAfter(event, notes.failures) };
    default:
      return notes;
  }
}

function noteSent(notes: Notes, { event }: Sent): Notes {
  const message = event as LimiterEvent | WorkerReport;
  switch (message.type) {
    case 'tokens.request':
      return { ...notes, open: [...notes.open, { requestId: message.requestId, tokens: message.tokens }] };
    case 'lease.settled':
    case 'lease.returned':
      return { ...notes, tokens: notes.tokens - message.tokens };
    case 'page.committed':
    case 'page.failed':
      return { ...notes, pages: notes.pages.filter((sliceId) => sliceId !== message.sliceId) };
    case 'pages.returned': {
      const back = message.pages.map(({ sliceId }) => sliceId);
      return { ...notes, pages: notes.pages.filter((sliceId) => !back.includes(sliceId)) };
    }
    case 'batch.ended':
      // Invariant 4: at the end of an assignment the coordinator has every page, before it hears of the end.
      expect(notes.pages).toEqual([]);
      return notes;
    default:
      return notes;
  }
}

/** What the call under way can say: tokens first, then pages, then its end, once all tokens are accounted for. */
function callEvents(pages: readonly Page[], unsettled: number): readonly CallEvent[] {
  const events: CallEvent[] = [];
  if (unsettled > 0) {
    events.push({ type: 'call.settled', tokens: 1, accepted: 1, graceMs: 0 });
    events.push({ type: 'call.unsent', tokens: unsettled });
    events.push({ type: 'call.settled', tokens: unsettled, accepted: 0, graceMs: 70_000 });
    return events;
  }
  const [next] = pages;
  if (next !== undefined) {
    const { sliceId, startRow } = next;
    const result = (result: Extract<CallEvent, { type: 'call.page' }>['result']): CallEvent => ({
      type: 'call.page',
      sliceId,
      startRow,
      result,
    });
    events.push(result({ kind: 'committed', rows: 5, next: { kind: 'sealed' } }));
    events.push(result({ kind: 'failed', reason: 'truncated', final: false }));
    events.push(result({ kind: 'refused', quota: 'qps', retryAfterMs: null }));
  }
  const kinds = ['answered', 'unauthorized', 'aborted'] as const;
  events.push(...kinds.map((kind): CallEvent => ({ type: 'call.ended', outcome: { kind }, chance: CHANCE })));
  events.push({ type: 'call.ended', outcome: { kind: 'failed', reason: 'reset' }, chance: CHANCE });
  events.push({ type: 'call.ended', outcome: { kind: 'databaseAway', reason: 'gone' }, chance: CHANCE });
  const fatal = { code: 'FORBIDDEN', reason: 'no' };
  events.push({ type: 'call.ended', outcome: { kind: 'fatal', fatal }, chance: CHANCE });
  return events;
}

test('every edge: messages, pages and tokens are accounted for, and the real worker does the same', async () => {
  let sendBack: ((event: CallEvent) => void) | undefined;
  const fetchBatch = fromCallback<CallOrder, FetchBatchInput>((call) => {
    mailboxes.noteStart('call', call.input);
    call.receive((event) => mailboxes.note({ to: 'call', event }));
    sendBack = call.sendBack;
    return () => {
      sendBack = undefined;
    };
  });
  const machine = batchWorkerMachine.provide({ actors: { fetchBatch } });
  const walk = await walkEveryEdge({
    machine,
    input,
    notes: {
      assigned: 0,
      halted: false,
      open: [],
      tokens: 0,
      pages: [],
      unsettled: 0,
      calls: 0,
      failures: 0,
    } as Notes,
    events: ({ machine: { value, context }, notes }) => {
      const events: BatchWorkerEvent[] = [];
      const isCalling = typeof value === 'object';
      // The coordinator gives work to the idle only, and never after it ordered a halt.
      if (value === 'idle' && notes.assigned < 2 && !notes.halted) {
        const pages = notes.assigned === 0 ? BATCH : BATCH.slice(0, 1);
        events.push({
          type: 'batch.assign',
          assignmentId: assignmentId(notes.assigned + 1),
          pages,
          maxAttempts: 3,
          blame: 'call',
        });
      }
      for (const { requestId, tokens } of notes.open) {
        for (let granted = 1; granted <= tokens; granted += 1) {
          events.push({ type: 'tokens.granted', requestId, leaseId: requestId, tokens: granted });
        }
        events.push({ type: 'tokens.denied', requestId, quota: 'daily' });
      }
      events.push({ type: 'worker.pause' }, { type: 'worker.halt' });
      if (isCalling) events.push(...callEvents(context.pages, notes.unsettled));
      return events;
    },
    note: (notes, event, turn, before, after) => {
      let next = turn.sent.reduce(noteSent, noteEvent(notes, event));
      const [call] = turn.spawned;
      if (call !== undefined) {
        const { pages } = call.input as FetchBatchInput;
        next = { ...next, unsettled: pages.length, calls: next.calls + 1 };
        // Invariant 5: no call starts once a halt was ordered. And no page is sent without a token.
        expect(notes.halted).toBe(false);
        expect(next.tokens).toBe(pages.length);
      }
      const leaseId = before?.context.assignmentId;
      if (event?.type === 'call.settled') {
        expect(turn.sent).toEqual([{ to: 'limiter', event: { ...event, type: 'lease.settled', leaseId } }]);
      }
      if (event?.type === 'call.unsent') {
        expect(turn.sent).toEqual([{ to: 'limiter', event: { ...event, type: 'lease.returned', leaseId } }]);
      }
      if (typeof before?.value === 'object' && typeof after.value === 'string') {
        // `calling` is left on the call's own end only, whatever was ordered.
        expect(event?.type).toBe('call.ended');
      }
      if (isEvent(event) && event.type === 'call.ended' && before?.matches({ calling: 'fetching' })) {
        // A batch that fails again and again is to be made smaller: its pages remember how often it did.
        const pages = before.context.pages.map((page) => ({
          ...page,
          callFailures: failuresAfter(event, page.callFailures),
        }));
        const back = turn.sent.map(({ event }) => event).filter(({ type }) => type === 'pages.returned');
        expect(back).toMatchObject(pages.length === 0 ? [] : [{ pages }]);
      }
      return next;
    },
    check: ({ machine: { value, context }, timers, notes }) => {
      // Each failure in a row doubles the wait.
      if (value === 'backingOff') {
        expect(timers.map(({ delayMs }) => delayMs)).toEqual([
          backoffMs(input.backoff, notes.failures, CHANCE),
        ]);
      }
      // Invariant 4: a token is with the call that it was granted for, or settled, or returned.
      expect(notes.tokens).toBe(typeof value === 'object' ? notes.unsettled : 0);
      if (typeof value === 'object' || value === 'awaitingTokens') {
        expect(notes.pages).toEqual(context.pages.map(({ sliceId }) => sliceId));
      } else expect(notes.pages).toEqual([]);
      if (value === 'halted') expect(notes.halted).toBe(true);
    },
    createRig: () =>
      createRig(machine, input, mailboxes, (event) => {
        const call = sendBack;
        return event.type.startsWith('call.') && call !== undefined
          ? () => call(event as CallEvent)
          : undefined;
      }),
  });
  expect([...walk.values].sort()).toEqual([
    '"awaitingTokens"',
    '"backingOff"',
    '"halted"',
    '"idle"',
    '{"calling":"aborting"}',
    '{"calling":"fetching"}',
  ]);
});
