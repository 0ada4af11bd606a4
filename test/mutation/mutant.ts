/** A fault made by the program, by name; and how a machine becomes the one that has it. */
import type { AnyStateMachine } from 'xstate';
import { batchWorkerMachine } from '../../src/machines/batch-worker/batch-worker.ts';
import { concurrencyControllerMachine } from '../../src/machines/concurrency/concurrency-controller.ts';
import { coordinatorMachine } from '../../src/machines/coordinator/coordinator.ts';
import { leaseKeeperMachine } from '../../src/machines/lease-keeper/lease-keeper.ts';
import { rateLimiterMachine } from '../../src/machines/rate-limiter/rate-limiter.ts';
import { runLifeMachine } from '../../src/machines/run-life/run-life.ts';
import { verificationMachine } from '../../src/machines/verification/verification.ts';
import { createSheets, type MachineName, recordText } from '../machines/tables/sheets.ts';
import { actionsWithout, watchedActions } from './action-mutants.ts';
import { chartMutants, type Definition, definitionOf, type Kind } from './chart-mutants.ts';

/** Enough to make it again, in another process. */
export interface Mutant {
  readonly machine: MachineName;
  readonly kind: Kind;
  /** Unique among the mutants of its machine. */
  readonly name: string;
  /** For those of a `key` or an `effect`: which action is to lack what. */
  readonly lacks?: { readonly action: string; readonly part: string };
}

export const MACHINES: Readonly<Record<MachineName, AnyStateMachine>> = {
  'batch worker': batchWorkerMachine,
  'rate limiter': rateLimiterMachine,
  'concurrency controller': concurrencyControllerMachine,
  'lease keeper': leaseKeeperMachine,
  coordinator: coordinatorMachine,
  'run life': runLifeMachine,
  verification: verificationMachine,
};

/** No step of ours takes so many: a machine with a fault may go round in a circle, and is to say so. */
const MOST_MICROSTEPS = 2_000;

/**
 * Makes the machine that everybody imports the one of this definition, for everything that is started from now on, also
 * for what `provide` makes of it. @returns what undoes it.
 */
function become(
  machine: AnyStateMachine,
  definition: Definition,
  actions: Readonly<Record<string, unknown>>,
): () => void {
  const config = { ...definition, options: { maxIterations: MOST_MICROSTEPS } };
  const implementations = { ...machine.implementations, actions };
  const other: AnyStateMachine = Reflect.construct(machine.constructor, [config, implementations]);
  const before = partsOf(machine);
  Object.assign(machine, partsOf(other));
  return () => {
    Object.assign(machine, before);
  };
}

/** All that a machine consists of, but for its methods, which are bound to it. */
const PARTS = ['config', 'implementations', 'options', 'idMap', 'root', 'states', 'events'];
const partsOf = (machine: AnyStateMachine): object =>
  Object.fromEntries(PARTS.map((part) => [part, Reflect.get(machine, part)]));

/** Puts the fault into the machine. @returns what takes it out again. */
export function plant({ machine: title, name, lacks }: Mutant): () => void {
  const machine = MACHINES[title];
  if (lacks !== undefined) {
    return become(machine, definitionOf(machine), actionsWithout(machine, lacks.action, lacks.part));
  }
  const mutant = chartMutants(machine).find((other) => other.name === name);
  if (mutant === undefined) throw new Error(`the ${title} has no place for "${name}"`);
  return become(machine, mutant.config, { ...machine.implementations.actions });
}

/** Every mutant of a machine. Of what its actions do, those parts are known that the tables have them do. */
export function mutantsOf(title: MachineName): readonly Mutant[] {
  const machine = MACHINES[title];
  const parts = new Map<string, Mutant>();
  const watched = watchedActions(machine, (action, part) => {
    const name = `${action}: without ${part}`;
    const kind = part.startsWith('key ') ? 'key' : 'effect';
    parts.set(name, { machine: title, kind, name, lacks: { action, part } });
  });
  const restore = become(machine, definitionOf(machine), watched);
  try {
    recordText(createSheets()[title]);
  } finally {
    restore();
  }
  const ofChart = chartMutants(machine).map(({ kind, name }): Mutant => ({ machine: title, kind, name }));
  return [...ofChart, ...[...parts.values()].sort((a, b) => (a.name < b.name ? -1 : 1))];
}
