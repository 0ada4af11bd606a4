/** Every state of the batch worker × every event. */
import { initialTransition, transition } from 'xstate';
import {
  type BatchWorkerEvent,
  type BatchWorkerInput,
  type BatchWorkerSnapshot,
  batchWorkerMachine,
} from '../../../src/machines/batch-worker/batch-worker.ts';
import type { Page } from '../../../src/machines/messages.ts';
import type { StateOf, Whole } from './table.ts';

export type State = StateOf<typeof batchWorkerMachine>;
/** Situations that have no row in the table: what is done in them is written down beside it. */
type Further = 'calling.fetching, after a failed call';

const page = (sliceId: string): Page => ({ sliceId, startRow: 0, attempts: 0, callFailures: 0 });
const ASSIGN: Extract<BatchWorkerEvent, { type: 'batch.assign' }> = {
  type: 'batch.assign',
  assignmentId: 'run:w0.1',
  pages: [page('a'), page('b')],
  maxAttempts: 3,
  blame: 'call',
};
const granted = (requestId: string, tokens: number): BatchWorkerEvent => ({
  type: 'tokens.granted',
  requestId,
  leaseId: requestId,
  tokens,
});
const ended = (kind: 'answered' | 'unauthorized' | 'aborted'): BatchWorkerEvent => ({
  type: 'call.ended',
  outcome: { kind },
  chance: 0.5,
});
const FAILED: BatchWorkerEvent = {
  type: 'call.ended',
  outcome: { kind: 'failed', reason: 'reset' },
  chance: 0.5,
};
const aboutPage = { type: 'call.page', sliceId: 'a', startRow: 0 } as const;

export const CASES = {
  'batch.assign': { ...ASSIGN, assignmentId: 'run:w0.2', blame: 'page' },
  'worker.pause': { type: 'worker.pause' },
  'worker.retry': { type: 'worker.retry' },
  'worker.halt': { type: 'worker.halt' },
  'tokens.granted': granted('run:w0.1', 2),
  'tokens.granted: fewer': granted('run:w0.1', 1),
  'tokens.granted: for another request': granted('run:w0.0', 2),
  'tokens.denied': { type: 'tokens.denied', requestId: 'run:w0.1', quota: 'daily' },
  'tokens.denied: for another request': { type: 'tokens.denied', requestId: 'run:w0.0', quota: 'daily' },
  'call.settled': { type: 'call.settled', tokens: 1, accepted: 1, graceMs: 0 },
  'call.unsent': { type: 'call.unsent', tokens: 2 },
  'call.page: committed': { ...aboutPage, result: { kind: 'committed', rows: 1, next: { kind: 'sealed' } } },
  'call.page: failed': { ...aboutPage, result: { kind: 'failed', reason: 'truncated', final: false } },
  'call.page: refused': { ...aboutPage, result: { kind: 'refused', quota: 'qps', retryAfterMs: null } },
  'call.stalled': { type: 'call.stalled', away: { reason: 'gone' }, chance: 0.5 },
  'call.ended: answered': ended('answered'),
  'call.ended: unauthorized': ended('unauthorized'),
  'call.ended: aborted': ended('aborted'),
  'call.ended: failed': FAILED,
  'call.ended: database away': {
    type: 'call.ended',
    outcome: { kind: 'databaseAway', reason: 'gone' },
    chance: 0.5,
  },
  'call.ended: fatal': {
    type: 'call.ended',
    outcome: { kind: 'fatal', fatal: { code: 'FORBIDDEN', reason: 'no' } },
    chance: 0.5,
  },
  // The machine's own timer; XState keeps its type out of the events it takes from others.
  'after backoff': { type: 'xstate.after.backoff.batchWorker.backingOff' } as unknown as BatchWorkerEvent,
} as const satisfies Record<string, BatchWorkerEvent>;
export type Case = keyof typeof CASES;

/** Does not compile when an event type has no case. @public */
export const WHOLE: Whole<BatchWorkerEvent, typeof CASES> = true;

export function fixture(input: BatchWorkerInput): Record<State | Further, BatchWorkerSnapshot> {
  const send = (snapshot: BatchWorkerSnapshot, ...events: readonly BatchWorkerEvent[]): BatchWorkerSnapshot =>
    events.reduce((before, event) => transition(batchWorkerMachine, before, event)[0], snapshot);
  const [idle] = initialTransition(batchWorkerMachine, input);
  const awaitingTokens = send(idle, ASSIGN);
  const fetching = send(awaitingTokens, CASES['tokens.granted']);
  return {
    idle,
    awaitingTokens,
    'calling.fetching': fetching,
    'calling.stalled': send(fetching, CASES['call.stalled']),
    'calling.aborting': send(fetching, CASES['worker.halt']),
    backingOff: send(fetching, FAILED),
    halted: send(idle, CASES['worker.halt']),
    'calling.fetching, after a failed call': send(
      fetching,
      FAILED,
      CASES['after backoff'],
      { ...ASSIGN, pages: ASSIGN.pages.map((page) => ({ ...page, callFailures: 1 })) },
      CASES['tokens.granted'],
    ),
  };
}
