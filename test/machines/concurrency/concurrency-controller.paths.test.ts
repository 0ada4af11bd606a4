/** Every path of the concurrency controller, walked by the real one, with workers that keep as many calls under way as they may. */
import { afterAll, expect, test } from 'vitest';
import {
  type ConcurrencyControllerSnapshot,
  concurrencyControllerMachine,
} from '../../../src/machines/concurrency/concurrency-controller.ts';
import type {
  ConcurrencyControllerEvent,
  ConcurrencyControllerInput,
  ConcurrencyDecision,
} from '../../../src/machines/concurrency/context.ts';
import type { ControlEvent } from '../../../src/machines/messages.ts';
import { type World, walkEveryEdge } from '../support/paths.ts';
import { createBystander } from '../support/refs.ts';
import { createRig, Mailboxes } from '../support/rig.ts';

const mailboxes = new Mailboxes();
const coordinator = createBystander<ControlEvent>('coordinator', mailboxes.note);
afterAll(() => coordinator.stop());

/** What the workers and the server know of the controller. */
interface Notes {
  /** What the coordinator was told to allow. */
  readonly level: number;
  readonly underWay: readonly string[];
  readonly begun: number;
  readonly troubles: number;
  readonly refused: readonly string[];
}
/** `knee`: calls at once that the server does at full speed. */
interface Bounds {
  readonly slowStart: boolean;
  readonly start: number;
  readonly knee: number;
  readonly calls: number;
  readonly troubles: number;
  readonly states: readonly string[];
  readonly reasons: readonly ConcurrencyDecision['reason'][];
}
type ControllerWorld = World<ConcurrencyControllerSnapshot, Notes>;

const MOST = 2;
const ALWAYS = ['failed', 'refused'] as const;
const IDS = ['call 1', 'call 2', 'call 3'];

const inputOf = ({ slowStart, start }: Bounds): ConcurrencyControllerInput => ({
  coordinator: coordinator.ref,
  start,
  most: MOST,
  soakMs: 1_000,
  slowStart,
  batchSize: 50,
});

function eventsIn(
  { notes, machine }: ControllerWorld,
  bounds: Bounds,
): readonly ConcurrencyControllerEvent[] {
  const { underWay, begun, level, troubles, refused } = notes;
  if (machine.matches('released')) return [];
  if (underWay.length < level && begun < bounds.calls) {
    const callId = IDS.find((id) => !underWay.includes(id));
    if (callId === undefined) throw new Error('more calls than workers');
    const call = { type: 'call.began', callId, pages: 50 } as const;
    return [{ ...call, quotaShare: 0.2 }, ...(begun === 2 ? [{ ...call, quotaShare: 0.9 }] : [])];
  }
  const events: ConcurrencyControllerEvent[] = [{ type: 'release' }];
  // Which one ends makes no difference but in its age: the oldest and the newest say all.
  for (const callId of new Set([underWay.at(0), underWay.at(-1)])) {
    if (callId === undefined) continue;
    const durationMs = 1_000 * Math.max(1, underWay.length / bounds.knee);
    const moreToDo = begun < bounds.calls;
    const pages = refused.includes(callId) ? 0 : 50;
    events.push({ type: 'call.ended', callId, pages, rows: 0, durationMs, moreToDo });
    if (begun === 3) events.push({ type: 'call.void', callId });
    if (troubles >= bounds.troubles) continue;
    if (callId === underWay[0]) events.push({ type: 'call.failed', callId, detail: 'reset' });
    else if (!refused.includes(callId)) events.push({ type: 'call.refused', callId, detail: 'qps' });
  }
  return events;
}

function noteEvent(notes: Notes, event: ConcurrencyControllerEvent): Notes {
  const without = (callId: string) => ({
    underWay: notes.underWay.filter((id) => id !== callId),
    refused: notes.refused.filter((id) => id !== callId),
  });
  switch (event.type) {
    case 'call.began':
      return { ...notes, underWay: [...notes.underWay, event.callId], begun: notes.begun + 1 };
    case 'call.ended':
    case 'call.void':
      return { ...notes, ...without(event.callId) };
    case 'call.failed':
      return { ...notes, ...without(event.callId), troubles: notes.troubles + 1 };
    case 'call.refused':
      return { ...notes, refused: [...notes.refused, event.callId], troubles: notes.troubles + 1 };
    default:
      return notes;
  }
}

function checkWorld({ machine, timers, notes }: ControllerWorld): void {
  const { level, lastGood, calls } = machine.context;
  expect(level).toBeGreaterThanOrEqual(1);
  expect(level).toBeLessThanOrEqual(MOST);
  expect(lastGood).toBeLessThanOrEqual(level);
  // It knows what it has the coordinator do, and every call that is under way.
  expect(level).toBe(notes.level);
  expect(calls.map(({ callId }) => callId)).toEqual(notes.underWay);
  // Whoever waits for a time is woken, and nobody else is.
  const waits = ['resting', 'soaking'].some((state) => JSON.stringify(machine.value).includes(state));
  expect(timers.length).toBe(waits ? 1 : 0);
}

const SLOW_START: readonly Bounds[] = [
  {
    slowStart: true,
    start: 1,
    knee: 2,
    calls: 6,
    troubles: 2,
    reasons: [...ALWAYS, 'most', 'quota', 'repeated', 'slowStart'],
    states: [
      '"growing"',
      '"released"',
      '{"recovering":"due"}',
      '{"recovering":"soaking"}',
      '{"steady":"due"}',
      '{"steady":"resting"}',
    ],
  },
];
/** It takes many calls until a trial is over: most of the walk is what comes before. */
const TRIALS = [1, 2].map(
  (knee): Bounds => ({
    slowStart: false,
    start: 1,
    knee,
    calls: 14,
    troubles: 1,
    reasons: knee === 1 ? [...ALWAYS, 'noGain', 'trial'] : [...ALWAYS, 'most', 'trial'],
    states: [
      '"released"',
      '{"raised":"due"}',
      '{"raised":"soaking"}',
      '{"recovering":"due"}',
      '{"recovering":"soaking"}',
      '{"steady":"due"}',
      '{"steady":"resting"}',
    ],
  }),
);
const NAME = 'every edge of slow start $slowStart, knee $knee, walked by the real controller';

test.each(SLOW_START)(NAME, walkAndCheck);
test.each(TRIALS)(NAME, { tags: ['long'], timeout: 300_000 }, walkAndCheck);

async function walkAndCheck(bounds: Bounds): Promise<void> {
  const input = inputOf(bounds);
  const reasons = new Set<string>();
  const walk = await walkEveryEdge({
    machine: concurrencyControllerMachine,
    input,
    notes: { level: bounds.start, underWay: [], begun: 0, troubles: 0, refused: [] } as Notes,
    events: (world) => eventsIn(world, bounds),
    note: (notes, event, turn, before, after) => {
      let { level } = notes;
      // One decision a turn at most, and the coordinator is told of exactly those that change anything.
      const decisions = turn.emitted.map((emitted) => emitted as unknown as ConcurrencyDecision);
      expect(decisions.length).toBeLessThanOrEqual(1);
      const changes = decisions.filter(({ from, to }) => from !== to);
      expect(turn.sent).toEqual(
        changes.map(({ to }) => ({
          to: 'coordinator',
          event: { type: 'concurrency.change', maxConcurrency: to },
        })),
      );
      for (const { from, to, reason } of decisions) {
        expect(from).toBe(level);
        level = to;
        reasons.add(reason);
        const isTrouble = ['refused', 'failed', 'repeated'].includes(reason);
        expect(isTrouble).toBe(event?.type === 'call.refused' || event?.type === 'call.failed');
        if (isTrouble) expect(to).toBeLessThanOrEqual(from);
        if (reason === 'repeated') expect(before?.matches('recovering') && to === 1).toBe(true);
        if (isTrouble) expect(after.matches('recovering')).toBe(true);
      }
      if (before?.matches('released')) expect(decisions).toEqual([]);
      const noted = event === undefined ? notes : noteEvent(notes, event as ConcurrencyControllerEvent);
      return { ...noted, level };
    },
    check: checkWorld,
    createRig: () => createRig(concurrencyControllerMachine, input, mailboxes),
  });
  expect([...walk.values].sort()).toEqual(bounds.states);
  expect([...reasons].sort()).toEqual(bounds.reasons.toSorted());
}
