/** Every path of the coordinator with few pages, walked by the real one; plan, workers, probe and reaper are faked. */
import { afterAll, expect, test } from 'vitest';
import type { EventObject } from 'xstate';
import type { CoordinatorEvent, CoordinatorInput } from '../../../src/machines/coordinator/context.ts';
import type { CoordinatorSnapshot } from '../../../src/machines/coordinator/coordinator.ts';
import type { LimiterEvent } from '../../../src/machines/messages.ts';
import { type CoordinatorBounds, eventsIn } from '../support/coordinator-neighbours.ts';
import {
  allPages,
  type CoordinatorNotes,
  freshNotes,
  noteEvent,
  noteSent,
} from '../support/coordinator-notes.ts';
import { createFakeChildren } from '../support/fake-children.ts';
import { type World, walkEveryEdge } from '../support/paths.ts';
import { createBystander } from '../support/refs.ts';
import { createRig, Mailboxes } from '../support/rig.ts';

const mailboxes = new Mailboxes();
const limiter = createBystander<LimiterEvent>('limiter', mailboxes.note);
afterAll(() => limiter.stop());

const MAX_RESTARTS = 1;
const backoff = { baseMs: 100, maxMs: 1_000 };
const inputFor = (bounds: CoordinatorBounds): CoordinatorInput => ({
  runId: 'run',
  limiter: limiter.ref,
  scopes: ['site:a'],
  maxConcurrency: bounds.workers,
  batchSize: bounds.batchSize,
  maxAttempts: 2,
  maxConsecutiveCallFailures: 2,
  callFailuresOfOutage: 1,
  soundAnswers: 1,
  maxGoogleProbes: 2,
  googleBackoff: backoff,
  maxWorkerRestarts: MAX_RESTARTS,
  maxDatabaseProbes: 2,
  haltDeadlineMs: 5_000,
  finishDeadlineMs: 180_000,
  retryBackoff: backoff,
  callBackoff: backoff,
  probeBackoff: backoff,
});

type CoordinatorWorld = World<CoordinatorSnapshot, CoordinatorNotes>;

function checkWorld({ machine, timers, notes }: CoordinatorWorld): void {
  const { context, value, status, output } = machine;
  // Invariant 4: every page is in exactly one place.
  expect(allPages(context, notes)).toEqual([...notes.planned].sort());
  // Invariant 8: workers above a lowered limit finish what they have; nobody else is given work.
  const busy = context.workers.filter(({ status }) => status === 'busy').length;
  expect(busy).toBeLessThanOrEqual(Math.max(notes.maxConcurrency, notes.busyWhenLowered));
  // Crashes are not mended without end.
  expect(notes.restarts).toBeLessThanOrEqual(MAX_RESTARTS);
  if (status === 'done') {
    expect(output?.status).toBe(value);
    if (value === 'complete') expect([...notes.committed].sort()).toEqual([...notes.planned].sort());
    if (value === 'completeWithFailures') expect(notes.failed.length).toBeGreaterThan(0);
    return;
  }
  // Invariant 5: a halt ends within its deadline, whatever was under way.
  if (value === 'halting') expect(timers.map(({ delayMs }) => delayMs)).toContain(5_000);
  // Every delayed group has the timer that releases it.
  const due = timers.flatMap(({ event }) => ('groupId' in event ? [event.groupId] : []));
  if (value !== 'halting') expect(context.queues.delayed.map(({ groupId }) => groupId)).toEqual(due);
}

const USUAL = [
  '{"running":{"working":"planning"}}',
  '{"running":{"working":"draining"}}',
  '{"running":{"working":"waitingForRetry"}}',
  '"halting"',
  '"complete"',
];
const SELDOM = [
  '{"running":{"waitingForDatabase":"sleeping"}}',
  '{"running":{"waitingForDatabase":"probing"}}',
  '{"running":{"waitingForGoogle":"sleeping"}}',
  '{"running":{"waitingForGoogle":"probing"}}',
  '"pausing"',
  '"paused"',
  '"halted"',
  '"failed"',
];

const NAME = 'every edge with $workers workers, slices of $slices pages and $rare rare events';
const SMALL: readonly CoordinatorBounds[] = [
  { workers: 2, batchSize: 2, slices: [1, 1], failures: true, rare: 0 },
  // A page that comes back goes out together with one that waits, or should not.
  { workers: 1, batchSize: 2, slices: [1, 1], failures: false, rare: 1 },
];
const LARGE: readonly CoordinatorBounds[] = [
  { workers: 2, batchSize: 2, slices: [1, 1], failures: false, rare: 1 },
  { workers: 1, batchSize: 2, slices: [1], failures: false, rare: 2 },
];

test.each(SMALL)(NAME, walkAndCheck);
test.each(LARGE)(NAME, { tags: ['long'], timeout: 300_000 }, walkAndCheck);

async function walkAndCheck(bounds: CoordinatorBounds): Promise<void> {
  const { machine, deliver } = createFakeChildren(mailboxes);
  const input = inputFor(bounds);
  const walk = await walkEveryEdge({
    machine,
    input,
    notes: freshNotes(bounds.workers, bounds.batchSize),
    events: ({ machine, notes }) => eventsIn(machine, notes, bounds),
    note: (notes: CoordinatorNotes, event: EventObject | undefined, turn) =>
      turn.sent.reduce(noteSent, noteEvent(notes, event as CoordinatorEvent | undefined, turn)),
    check: checkWorld,
    createRig: () => createRig(machine, input, mailboxes, deliver),
  });
  for (const state of bounds.rare === 0 ? USUAL : [...USUAL, ...SELDOM]) expect(walk.values).toContain(state);
}
