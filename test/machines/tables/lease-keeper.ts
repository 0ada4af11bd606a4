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

/** Situations that have no row in the table: what is done in them is written down beside it. */
type Further =
  | 'kept.renewing, what it tells has changed'
  | 'kept.renewing, the last one was not answered'
  | 'doubtful.asking, what it tells has changed'
  | 'doubtful.asking, for too long'
  | 'doubtful.asking, the first one was refused';

export function fixture(): Record<State | Further, LeaseKeeperSnapshot> {
  const taken = initialTransition(leaseKeeperMachine, INPUT)[0];
  const renewing = send(taken, CASES['after renewal']);
  const asking = send(renewing, CASES['lease.expired']);
  return {
    'kept.resting': send(renewing, CASES['lease.unanswered']),
    'kept.renewing': renewing,
    'doubtful.asking': asking,
    'doubtful.resting': send(asking, CASES['lease.unanswered']),
    'kept.renewing, what it tells has changed': send(renewing, CASES['lease.changed']),
    // The renewal under way is again renewal 1: a reason is left of what was asked before.
    'kept.renewing, the last one was not answered': withReason(renewing),
    'doubtful.asking, what it tells has changed': send(asking, CASES['lease.changed']),
    'doubtful.asking, for too long': send(asking, CASES['lease.expired: that of renewal 1']),
    'doubtful.asking, the first one was refused': withReason(asking),
  };
}

const withReason = (snapshot: LeaseKeeperSnapshot): LeaseKeeperSnapshot =>
  leaseKeeperMachine.resolveState({
    value: snapshot.value,
    context: { ...snapshot.context, reason: 'away' },
  });
