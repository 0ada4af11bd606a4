/** Invariants of leases, each checked on a single state. */
import { isValid } from '../domain/lease-rules.ts';
import { isKept } from '../machines/index.ts';
import type { InvariantOf } from './explore.ts';
import { mayCall } from './lease-events.ts';
import { mayRecord } from './lease-table.ts';
import {
  holderOf,
  type Keeping,
  type LeaseModelOptions,
  type LeaseProcess,
  type LeaseWorld,
  PROCESSES,
  type ProcessId,
} from './lease-world.ts';

/** The processes whose runs keep a lease. */
function keepers(world: LeaseWorld): { id: ProcessId; entry: LeaseProcess; run: Keeping }[] {
  return PROCESSES.flatMap((id) => {
    const entry = world.processes[id];
    return entry.run.kind === 'keeping' ? [{ id, entry, run: entry.run }] : [];
  });
}

/** Every due timer has fired. */
const isPunctual = ({ run }: { readonly run: Keeping }): boolean =>
  run.timers.every(({ dueIn }) => dueIn > 0);

export type LeaseInvariant = InvariantOf<LeaseWorld, LeaseModelOptions>;

export const LEASE_INVARIANTS: readonly LeaseInvariant[] = [
  {
    number: 11,
    name: 'a live process that reaches the database keeps its lease, a dead one is replaced, and every request is counted',
    check: ({ broken }) => broken[0]?.what,
  },
  {
    number: 11,
    name: 'two processes never have the right to send at the same time',
    applies: (world) => keepers(world).length === 2,
    check: (world) => {
      const senders = keepers(world).filter(
        ({ id, entry, run }) => mayCall(run) && mayRecord(world.rows, holderOf(id, entry)),
      );
      return senders.length > 1 ? 'two processes may send' : undefined;
    },
  },
  {
    number: 11,
    name: 'a process that may send has an unexpired lease, unless it looked dead',
    applies: (world) => keepers(world).some(({ run }) => mayCall(run) && !run.misjudged),
    check: (world) => {
      const wrong = keepers(world).find(({ id, entry, run }) => {
        const row = world.rows.find(({ holder }) => holder === holderOf(id, entry));
        return mayCall(run) && !run.misjudged && (row === undefined || row.expiresIn === 0);
      });
      return wrong && `${wrong.id} may send, and its lease has expired`;
    },
  },
  {
    number: 11,
    name: 'a process whose lease is in doubt, lost or released may not send',
    applies: (world) => keepers(world).some(({ run }) => !run.keeper.matches('kept')),
    check: (world) => {
      const wrong = keepers(world).find(({ run }) => !run.keeper.matches('kept') && mayCall(run));
      return wrong && `${wrong.id} may send while it is ${JSON.stringify(wrong.run.keeper.value)}`;
    },
  },
  {
    number: 11,
    name: 'if timers are punctual, they alone stop the calls in time',
    applies: (world) => keepers(world).some(isPunctual),
    check: (world) => {
      const wrong = keepers(world).find(
        (keeper) => isPunctual(keeper) && isKept(keeper.run.keeper) && !isValid(keeper.run.validity, 0),
      );
      return wrong && `the keeper of ${wrong.id} assumes a lease that has expired`;
    },
  },
  {
    number: 11,
    name: 'the table has at most one holder',
    check: ({ rows }) => (rows.length > 1 ? 'two runs hold the property' : undefined),
  },
];
