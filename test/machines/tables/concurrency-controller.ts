/** Every state of the concurrency controller × every event. */
import { initialTransition, transition } from 'xstate';
import {
  type ConcurrencyControllerSnapshot,
  concurrencyControllerMachine,
} from '../../../src/machines/concurrency/concurrency-controller.ts';
import type {
  ConcurrencyControllerEvent,
  ConcurrencyControllerInput,
} from '../../../src/machines/concurrency/context.ts';
import type { ControlEvent, Recipient } from '../../../src/machines/messages.ts';
import type { StateOf, Whole } from './table.ts';

export type State = StateOf<typeof concurrencyControllerMachine>;

export const inputFor = (coordinator: Recipient<ControlEvent>): ConcurrencyControllerInput => ({
  coordinator,
  start: 4,
  most: 8,
  soakMs: 1_000,
  slowStart: true,
  batchSize: 50,
});

const began = (
  callId: string,
  more: { pages?: number; quotaShare?: number } = {},
): ConcurrencyControllerEvent => ({
  type: 'call.began',
  callId,
  pages: 50,
  quotaShare: 0,
  ...more,
});
const ended = (callId: string, durationMs = 1_000): ConcurrencyControllerEvent => ({
  type: 'call.ended',
  callId,
  pages: 50,
  rows: 0,
  durationMs,
  moreToDo: true,
});
const timer = (delay: string, state: string) =>
  // The machine's own timer; XState keeps its type out of the events it takes from others.
  ({
    type: `xstate.after.${delay}.concurrencyController.${state}`,
  }) as unknown as ConcurrencyControllerEvent;

/**
 * Calls `old` (of before the last fall, if there was one), `a` and `b` are under way in every state. In those that wait for
 * calls to judge by, the end of `a` is the last one that is needed.
 */
export const CASES = {
  'call.began': began('z'),
  'call.began: near the quota': began('z', { quotaShare: 0.8 }),
  'call.ended': ended('a'),
  'call.ended: unknown': ended('nobody'),
  'call.refused': { type: 'call.refused', callId: 'a', detail: 'qps' },
  'call.refused: old news': { type: 'call.refused', callId: 'old', detail: 'qps' },
  'call.failed': { type: 'call.failed', callId: 'b', detail: 'ECONNRESET' },
  'call.failed: unknown': { type: 'call.failed', callId: 'nobody', detail: 'ECONNRESET' },
  'call.refused: unknown': { type: 'call.refused', callId: 'nobody', detail: 'qps' },
  'call.void': { type: 'call.void', callId: 'a' },
  release: { type: 'release' },
  'after rest': timer('rest', 'steady.resting'),
  'after soak: of a trial': timer('soak', 'raised.soaking'),
  'after soak: of a recovery': timer('soak', 'recovering.soaking'),
} as const satisfies Record<string, ConcurrencyControllerEvent>;
export type Case = keyof typeof CASES;

/** Does not compile when an event type has no case. @public */
export const WHOLE: Whole<ConcurrencyControllerEvent, typeof CASES> = true;

/** Events that have no column in the table: what is done about them is written down beside it. */
export const FURTHER: Readonly<Record<string, ConcurrencyControllerEvent>> = {
  'call.failed: old news': { type: 'call.failed', callId: 'old', detail: 'ECONNRESET' },
};

/** With situations that have no row in the table: what is done in them is written down beside it. */
export function fixture(
  input: ConcurrencyControllerInput,
): Record<State, ConcurrencyControllerSnapshot> & Record<string, ConcurrencyControllerSnapshot> {
  type Snapshot = ConcurrencyControllerSnapshot;
  const send = (snapshot: Snapshot, ...events: readonly ConcurrencyControllerEvent[]): Snapshot =>
    events.reduce((before, event) => transition(concurrencyControllerMachine, before, event)[0], snapshot);
  /** So many calls, one after the other, beside those under way. */
  const calls = (snapshot: Snapshot, count: number, durationMs = 1_000): Snapshot =>
    Array.from({ length: count }, (_, index) => `c${index}`).reduce(
      (before, id) => send(before, began(id), ended(id, durationMs)),
      snapshot,
    );
  const withTwo = (snapshot: Snapshot) => send(snapshot, began('a'), began('b'));
  const start = (slowStart: boolean) =>
    send(initialTransition(concurrencyControllerMachine, { ...input, slowStart })[0], began('old'));
  const growing = withTwo(start(true));
  const resting = withTwo(start(false));
  const due = calls(send(resting, CASES['after rest']), 4 * 4 - 1);
  const raised = withTwo(send(due, ended('a'), ended('b')));
  const recovering = withTwo(
    send(start(true), began('x'), { type: 'call.failed', callId: 'x', detail: 'reset' }),
  );
  const raisedDue = calls(send(raised, CASES['after soak: of a trial']), 5 * 5 - 1);
  const gaining = calls(send(raised, CASES['after soak: of a trial']), 5 * 5 - 1, 300);
  const knowing = (snapshot: Snapshot, context: Partial<Snapshot['context']>): Snapshot => ({
    ...snapshot,
    context: { ...snapshot.context, ...context },
  });
  const sound = calls(send(recovering, CASES['after soak: of a recovery']), 4);
  const afterRound = withTwo(calls(growing, 4));
  const atMost = send(
    initialTransition(concurrencyControllerMachine, { ...input, start: 8 })[0],
    began('old'),
  );
  return {
    growing,
    'steady.resting': resting,
    'steady.due': due,
    'raised.soaking': raised,
    'raised.due': raisedDue,
    'recovering.soaking': recovering,
    'recovering.due': calls(send(recovering, CASES['after soak: of a recovery']), 1),
    released: send(resting, { type: 'release' }),
    'growing, a round is nearly over': knowing(calls(growing, 3), { lastGood: 1 }),
    'growing, a flat round is nearly over': knowing(
      calls(afterRound, 2 * afterRound.context.roundLevel - 1, 9_000),
      { lastGood: 1 },
    ),
    'growing, the last round is nearly over': knowing(calls(withTwo(atMost), 7), { lastGood: 1 }),
    'steady.due, after setbacks': knowing(due, { lastGood: 1, setbacks: 2 }),
    'steady.due, nobody more is needed': knowing(due, { peak: 0 }),
    'steady.due, near the quota': send(due, CASES['call.began: near the quota']),
    'steady.resting, after a fall': sound,
    'raised.soaking, nothing is gained': calls(raised, 5 * 5, 9_000),
    'raised.due, nothing is gained': calls(send(raised, CASES['after soak: of a trial']), 5 * 5 - 1, 9_000),
    'raised.due, something is gained': knowing(gaining, { lastGood: 1, setbacks: 2 }),
    'raised.due, something is gained, at the most': knowing(gaining, {
      lastGood: 1,
      setbacks: 2,
      input: { ...gaining.context.input, most: gaining.context.level },
    }),
  };
}
