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
    name: 'who lives and reaches the database keeps its lease, who is dead is replaced, and every request is counted',
    check: ({ broken }) => broken[0]?.what,
  },
  {
    number: 11,
    name: 'never do two processes have the right to send',
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
    name: 'who may send has a lease that has not expired, unless it looked dead',
    applies: (world) => keepers(world).some(({ run }) => mayCall(run) && !run.misjudged),
    check: (world) => {
      const wrong = keepers(world).find(({ id, entry, run }) => {
        const row = world.rows.find(({ holder }) => holder === holderOf(id, entry));
        return mayCall(run) && !run.misjudged && (row === undefined || row.expiresIn === 0);
      });
      return wrong && `${wrong.id} may send, and its lease is over`;
    },
  },
  {
    number: 11,
    name: 'who is in doubt, has lost its lease or has given it up may not send',
    applies: (world) => keepers(world).some(({ run }) => !run.keeper.matches('kept')),
    check: (world) => {
      const wrong = keepers(world).find(({ run }) => !run.keeper.matches('kept') && mayCall(run));
      return wrong && `${wrong.id} may send while it is ${JSON.stringify(wrong.run.keeper.value)}`;
    },
  },
  {
    number: 11,
    name: 'where timers are punctual, they alone stop the calls in time',
    applies: (world) => keepers(world).some(isPunctual),
    check: (world) => {
      const wrong = keepers(world).find(
        (keeper) => isPunctual(keeper) && isKept(keeper.run.keeper) && !isValid(keeper.run.validity, 0),
      );
      return wrong && `the keeper of ${wrong.id} thinks that it has a lease that is over`;
    },
  },
  {
    number: 11,
    name: 'the table has one holder at most',
    check: ({ rows }) => (rows.length > 1 ? 'two runs hold the property' : undefined),
  },
];
