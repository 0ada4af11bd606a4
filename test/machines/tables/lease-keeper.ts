/** Every state of the lease keeper × every event. */
import { type EventObject, initialTransition, transition } from 'xstate';
import {
  type LeaseKeeperEvent,
  type LeaseKeeperInput,
  type LeaseKeeperSnapshot,
  leaseKeeperMachine,
} from '../../../src/machines/lease-keeper/lease-keeper.ts';
import type { StateOf, Whole } from './table.ts';

export type End = 'lost' | 'released';
export type State = Exclude<StateOf<typeof leaseKeeperMachine>, End>;

export const INPUT: LeaseKeeperInput = {
  leaseMs: 55_000,
  ageMs: 0,
  renewEveryMs: 10_000,
  retryMs: 1_000,
  giveUpMs: 300_000,
};

const timer = (delay: string, state: string) =>
  // The machine's own timer; XState keeps its type out of the events it takes from others.
  ({ type: `xstate.after.${delay}.leaseKeeper.${state}` }) as unknown as LeaseKeeperEvent;

/** In every state renewal 1 was asked for last. In those at rest it was answered, or has failed. */
export const CASES = {
  'lease.kept': { type: 'lease.kept', serial: 1 },
  'lease.kept: of an earlier renewal': { type: 'lease.kept', serial: 0 },
  'lease.unanswered': { type: 'lease.unanswered', serial: 1, reason: 'away' },
  'lease.unanswered: of an earlier renewal': { type: 'lease.unanswered', serial: 0, reason: 'away' },
  'lease.taken': { type: 'lease.taken', reason: 'taken' },
  'lease.changed': { type: 'lease.changed' },
  release: { type: 'release' },
  'lease.expired': { type: 'lease.expired', serial: 0 },
  'lease.expired: that of renewal 1': { type: 'lease.expired', serial: 1 },
  'after renewal': timer('renewal', 'kept.resting'),
  'after retry': timer('retry', 'doubtful.resting'),
  'after giveUp': timer('giveUp', 'doubtful'),
} as const satisfies Record<string, LeaseKeeperEvent>;
export type Case = keyof typeof CASES;

/** Does not compile when an event type has no case. @public */
export const WHOLE: Whole<LeaseKeeperEvent, typeof CASES> = true;

export const send = (snapshot: LeaseKeeperSnapshot, ...events: readonly EventObject[]): LeaseKeeperSnapshot =>
  events.reduce(
    (before, event) => transition(leaseKeeperMachine, before, event as LeaseKeeperEvent)[0],
    snapshot,
  );

export function fixture(): Record<State, LeaseKeeperSnapshot> {
  const taken = initialTransition(leaseKeeperMachine, INPUT)[0];
  const renewing = send(taken, CASES['after renewal']);
  const asking = send(renewing, CASES['lease.expired']);
  return {
    'kept.resting': send(renewing, CASES['lease.unanswered']),
    'kept.renewing': renewing,
    'doubtful.asking': asking,
    'doubtful.resting': send(asking, CASES['lease.unanswered']),
  };
}
