/**
 * Ids of assignments hold a serial that only grows, which would make every world a new one. Nothing in the machines ever
 * asks more of two ids than whether they are equal, and a new one is always past all that live. So after every event the
 * serials that still occur anywhere are numbered anew, in their order: worlds that differ in serials alone are one.
 */
import type { AnyMachineSnapshot } from 'xstate';
import { RUN_ID } from './options.ts';
import type { StepMemory } from './step-memory.ts';
import type { World } from './world.ts';
import type { Address } from './xstate-internals.ts';

const ID = new RegExp(`${RUN_ID}:(w\\d+)\\.(\\d+)`, 'g');
const idOf = (workerId: string, serial: number): string => `${RUN_ID}:${workerId}.${serial}`;

type Renaming = ReadonlyMap<string, string>;

export class AssignmentIds {
  readonly #memory: StepMemory;
  readonly #mentions = new WeakMap<object, readonly string[]>();
  readonly #renamed = new Map<string, WeakMap<object, object>>();

  constructor(memory: StepMemory) {
    this.#memory = memory;
  }

  renumber(world: World): World {
    const renaming = this.#renamingFor(world);
    if (renaming.size === 0) return world;
    const rename = <T extends object>(value: T): T => this.#rename(value, renaming);
    const snapshot = <S extends AnyMachineSnapshot>(address: Address, value: S): S =>
      this.#memory.unique(address, {
        ...value,
        // The input holds the id the worker was born with, which no machine reads again.
        context: { ...rename(withoutInput(value.context)), input: value.context.input },
      });
    return {
      ...world,
      coordinator: snapshot('coordinator', world.coordinator),
      limiter: snapshot('limiter', world.limiter),
      workers: mapValues(world.workers, (worker, id) => snapshot(id, worker)),
      channels: mapValues(world.channels, (events) => events.map(rename)),
      timers: world.timers.map(rename),
      calls: mapValues(world.calls, rename),
      reapers: mapValues(world.reapers, rename),
    };
  }

  #renamingFor(world: World): Renaming {
    const serials = new Map<string, Set<number>>();
    const add = (workerId: string, serial: number): void => {
      const known = serials.get(workerId);
      if (known === undefined) serials.set(workerId, new Set([serial]));
      else known.add(serial);
    };
    for (const { workerId, serial } of world.coordinator.context.workers) add(workerId, serial);
    const scan = (value: object): void => {
      for (const id of this.#mentionsIn(value)) {
        const dot = id.indexOf('.');
        add(id.slice(RUN_ID.length + 1, dot), Number(id.slice(dot + 1)));
      }
    };
    scan(world.coordinator);
    scan(world.limiter);
    for (const worker of Object.values(world.workers)) scan(worker);
    for (const events of Object.values(world.channels)) for (const event of events) scan(event);
    for (const timer of world.timers) scan(timer);
    for (const call of Object.values(world.calls)) scan(call);
    for (const reaper of Object.values(world.reapers)) scan(reaper);

    const renaming = new Map<string, string>();
    for (const [workerId, live] of serials) {
      const highest = Math.max(...live);
      if (highest === live.size - 1) continue;
      for (const [rank, serial] of [...live].sort((a, b) => a - b).entries()) {
        if (rank !== serial) renaming.set(idOf(workerId, serial), idOf(workerId, rank));
      }
    }
    return renaming;
  }

  #mentionsIn(value: object): readonly string[] {
    const known = this.#mentions.get(value);
    if (known !== undefined) return known;
    const text = JSON.stringify('context' in value ? withoutInput(value.context as object) : value);
    const mentions = [...new Set(text.match(ID) ?? [])];
    this.#mentions.set(value, mentions);
    return mentions;
  }

  #rename<T extends object>(value: T, renaming: Renaming): T {
    const name = [...renaming].flat().join();
    let known = this.#renamed.get(name);
    if (known === undefined) {
      known = new WeakMap();
      this.#renamed.set(name, known);
    }
    let renamed = known.get(value);
    if (renamed === undefined) {
      renamed = renameWithin(value, renaming) as object;
      known.set(value, renamed);
    }
    // Renaming changes strings and serials, never the shape.
    return renamed as T;
  }
}

function withoutInput(context: object): object {
  const { input: _, ...rest } = context as { input?: unknown };
  return rest;
}

function renameWithin(value: unknown, renaming: Renaming): unknown {
  if (typeof value === 'string') return renaming.get(value) ?? value;
  if (Array.isArray(value)) return value.map((item) => renameWithin(item, renaming));
  if (typeof value !== 'object' || value === null || 'sessionId' in value) return value;
  const renamed = Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, renameWithin(item, renaming)]),
  );
  // A slot of the coordinator's pool: its serial is the number that its present assignment's id is made of.
  if (typeof renamed.serial === 'number' && typeof renamed.workerId === 'string') {
    const present = idOf(renamed.workerId, renamed.serial);
    renamed.serial = Number((renaming.get(present) ?? present).split('.')[1]);
  }
  return renamed;
}

function mapValues<V extends object>(
  record: Readonly<Record<string, V>>,
  change: (value: V, key: string) => V,
): Readonly<Record<string, V>> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value, key)]));
}
