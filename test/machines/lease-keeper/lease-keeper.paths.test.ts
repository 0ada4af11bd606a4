// Holds invariants 11 of SPEC.md.
/** Every path of the lease keeper, walked by the real one, with a book that says anything at any time. */

import { expect, test } from 'vitest';
import { createActor, fromCallback } from 'xstate';
import {
  type LeaseKeeperEvent,
  type LeaseKeeperInput,
  type LeaseKeeperSnapshot,
  leaseKeeperMachine,
  type RenewalOrder,
} from '../../../src/machines/lease-keeper/lease-keeper.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { type World, walkEveryEdge } from '../support/paths.ts';
import { createRig, Mailboxes } from '../support/rig.ts';

const mailboxes = new Mailboxes();
const machine = leaseKeeperMachine.provide({
  actors: {
    leaseBook: fromCallback<RenewalOrder>(({ receive, input }) => {
      mailboxes.noteStart('book', input);
      receive((event) => mailboxes.note({ to: 'book', event }));
    }),
  },
});

const input: LeaseKeeperInput = {
  leaseMs: 55_000,
  ageMs: 2_000,
  renewEveryMs: 10_000,
  retryMs: 1_000,
  giveUpMs: 300_000,
};

interface Notes {
  /** Renewals asked for, and the last one whose answer came while it was waited for. */
  readonly asked: number;
  readonly kept: number;
  /** What those who listen were told last. */
  readonly told: string;
}
type KeeperWorld = World<LeaseKeeperSnapshot, Notes>;

const MOST_RENEWALS = 3;

function checkWorld({ machine: keeper, timers, notes }: KeeperWorld): void {
  const { context } = keeper;
  expect(context.asked).toBe(notes.asked);
  expect(context.kept).toBe(notes.kept);
  const expiries = timers.flatMap(({ event }) => ('serial' in event ? [event.serial] : []));
  // No timer outlives what it belongs to, and none is set twice.
  expect(new Set(timers.map(({ id }) => id)).size).toBe(timers.length);
  expect(expiries.every((serial) => serial === context.kept || serial === context.asked)).toBe(true);
  if (keeper.status !== 'active') {
    expect(timers).toEqual([]);
    expect(notes.told === 'lease.lost').toBe(keeper.matches('lost'));
    return;
  }
  // Whoever thinks that it has a lease has a timer that ends that, and whoever does not has been told.
  if (keeper.matches('kept')) expect(expiries).toContain(context.kept);
  expect(notes.told === 'lease.doubted').toBe(keeper.matches('doubtful'));
  expect(timers.some(({ id }) => id?.includes('giveUp') === true)).toBe(keeper.matches('doubtful'));
  // There is always something that gets it out of where it is: an answer, or a timer.
  const isWaiting = keeper.matches({ kept: 'renewing' }) || keeper.matches({ doubtful: 'asking' });
  expect(timers.some(({ id }) => /renewal|retry/.test(id ?? ''))).toBe(!isWaiting);
}

test('every edge, walked by the real keeper', { timeout: 60_000 }, async () => {
  const walk = await walkEveryEdge({
    machine,
    input,
    notes: { asked: 0, kept: 0, told: '' } as Notes,
    events: ({ machine: { context } }): readonly LeaseKeeperEvent[] => [
      { type: 'lease.kept', serial: context.asked },
      { type: 'lease.unanswered', serial: context.asked, reason: 'away' },
      ...(context.asked > 1
        ? ([
            { type: 'lease.kept', serial: context.asked - 1 },
            { type: 'lease.unanswered', serial: context.asked - 1, reason: 'away' },
          ] as const)
        : []),
      { type: 'lease.taken', reason: 'taken' },
      { type: 'lease.changed' },
      { type: 'release' },
    ],
    isFarEnough: ({ machine: { context } }) => context.asked >= MOST_RENEWALS,
    note: (notes, event, turn, before, after) => {
      const renewals = turn.sent.filter(({ to }) => to === 'book');
      // One at a time, and never after the end.
      expect(renewals.length).toBeLessThanOrEqual(1);
      if (after.status !== 'active') expect(renewals).toEqual([]);
      for (const { event: order } of renewals) {
        expect(order).toEqual({ type: 'lease.renew', serial: notes.asked + 1 });
        // The lease counts from before the order is sent.
        expect(turn.timing).toContainEqual(
          expect.objectContaining({
            event: { type: 'lease.expired', serial: notes.asked + 1 },
            delayMs: input.leaseMs,
          }),
        );
      }
      const waits = before?.matches({ kept: 'renewing' }) || before?.matches({ doubtful: 'asking' });
      const isAnswer = event?.type === 'lease.kept' && 'serial' in event && event.serial === notes.asked;
      // Nothing but an answer to the last question makes a lease good again.
      if (before?.matches('doubtful') && after.matches('kept')) expect(isAnswer).toBe(true);
      const [told] = turn.emitted;
      return {
        asked: notes.asked + renewals.length,
        kept: waits && isAnswer ? notes.asked : notes.kept,
        told: told?.type ?? notes.told,
      };
    },
    check: checkWorld,
    createRig: () => createRig(machine, input, mailboxes),
  });
  expect([...walk.values].sort()).toEqual([
    '"lost"',
    '"released"',
    '{"doubtful":"asking"}',
    '{"doubtful":"resting"}',
    '{"kept":"renewing"}',
    '{"kept":"resting"}',
  ]);
  expect(walk.edges).toBeGreaterThan(100);
});

/** A keeper with a clock that is told how much time passes; the book answers by hand. */
function keep(ageMs = 0) {
  const clock = new ManualClock();
  const orders: number[] = [];
  const told: string[] = [];
  const actor = createActor(
    leaseKeeperMachine.provide({
      actors: {
        leaseBook: fromCallback<RenewalOrder>(({ receive }) => {
          receive(({ serial }) => orders.push(serial));
        }),
      },
    }),
    { input: { ...input, ageMs }, clock },
  );
  actor.on('*', ({ type }) => told.push(type));
  actor.start();
  const kept = (serial: number) => actor.send({ type: 'lease.kept', serial });
  return { clock, orders, told, actor, kept, isKept: () => actor.getSnapshot().matches('kept') };
}

test('a lease that was given after long is in doubt as long before', () => {
  const { clock, isKept } = keep(50_000);
  clock.advance(4_999);
  expect(isKept()).toBe(true);
  clock.advance(1);
  expect(isKept()).toBe(false);
});

test('a lease that took longer than it lasts is in doubt at once', () => {
  const { clock, isKept, orders } = keep(60_000);
  clock.advance(0);
  expect([isKept(), orders]).toEqual([false, [1]]);
});

test('an answer counts from before its question', () => {
  const { clock, kept, isKept } = keep();
  clock.advance(10_000);
  clock.advance(15_000);
  kept(1);
  // Asked for at 10 s, answered at 25 s, good until 65 s; the next question, at 35 s, has no answer.
  clock.advance(39_999);
  expect(isKept()).toBe(true);
  clock.advance(1);
  expect(isKept()).toBe(false);
});

test('in doubt, an answer that has expired by the time it comes is asked for again', () => {
  const { clock, kept, isKept, orders, told } = keep();
  clock.advance(65_000);
  kept(1);
  expect([isKept(), orders]).toEqual([false, [1, 2]]);
  kept(2);
  expect([isKept(), told]).toEqual([true, ['lease.doubted', 'lease.regained']]);
});

test('a presence that changes while it is told is told again, once', () => {
  const { clock, kept, orders, actor } = keep();
  clock.advance(10_000);
  actor.send({ type: 'lease.changed' });
  actor.send({ type: 'lease.changed' });
  expect(orders).toEqual([1]);
  kept(1);
  expect(orders).toEqual([1, 2]);
  kept(2);
  expect(orders).toEqual([1, 2]);
});

test('the same in doubt: the lease is good again, and the new presence told', () => {
  const { clock, kept, orders, actor, isKept } = keep(54_000);
  clock.advance(1_000);
  actor.send({ type: 'lease.changed' });
  kept(1);
  expect([isKept(), orders]).toEqual([true, [1, 2]]);
});

test('after five minutes in doubt it is lost, and no timer is left', () => {
  const { clock, told, actor } = keep();
  clock.advance(55_000 + 300_000);
  expect(told).toEqual(['lease.doubted', 'lease.lost']);
  expect(actor.getSnapshot().status).toBe('done');
  expect(clock.pending).toEqual([]);
});
