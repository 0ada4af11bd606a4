/**
 * Assignment IDs contain an ever-growing serial, which would make every world a new one. The machines only compare two
 * IDs for equality, and a new ID is always greater than all live ones. So after every event the serials in use are
 * renumbered in order: worlds that differ only in serials are equal.
 */
import type { AnyMachineSnapshot } from 'xstate';
import type { Address } from '../internals/xstate.ts';
import { Lookup } from '../machines/rate-limiter/lookup.ts';
import { ALONE, type Property } from './options.ts';
import type { StepMemory } from './step-memory.ts';
import type { World } from './world.ts';

type Renaming = ReadonlyMap<string, string>;
const NOTHING: Renaming = new Map();
const NONE = {};

/** An assignment that a value mentions. */
interface Mention {
  readonly id: string;
  readonly workerId: string;
  readonly serial: number;
}

/** For one run. Assignments of other runs on the same limiter stay unchanged. */
export class AssignmentIds {
  readonly #memory: StepMemory;
  readonly #property: Property;
  readonly #id: RegExp;
  readonly #mentions = new WeakMap<object, readonly Mention[]>();
  /** One object per renaming, so that its effect on a value can be looked up. */
  readonly #renamings = new Map<string, Renaming>();
  readonly #renamed = new WeakMap<Renaming, WeakMap<object, object>>();

  constructor(memory: StepMemory, property: Property = ALONE) {
    this.#memory = memory;
    this.#property = property;
    this.#id = new RegExp(`${property.runId}:(w\\d+)\\.(\\d+)`, 'g');
  }

  renumber(world: World): World {
    const renaming = this.#renamingFor(world);
    if (renaming.size === 0) return world;
    const rename = <T extends object>(value: T): T => this.#rename(value, renaming);
    const { prefix } = this.#property;
    return {
      ...world,
      coordinator: this.#renameSnapshot(`${prefix}coordinator`, world.coordinator, renaming),
      limiter: this.#renameSnapshot('limiter', world.limiter, renaming),
      workers: mapValues(world.workers, (worker, id) =>
        this.#renameSnapshot(`${prefix}${id}`, worker, renaming),
      ),
      channels: mapValues(world.channels, (events) => events.map(rename)),
      timers: world.timers.map((timer) => ({
        ...timer,
        name: renaming.get(timer.name) ?? timer.name,
        event: rename(timer.event),
      })),
      calls: mapValues(world.calls, rename),
      reapers: mapValues(world.reapers, rename),
    };
  }

  #renameSnapshot<S extends AnyMachineSnapshot>(address: Address, snapshot: S, renaming: Renaming): S {
    return this.#remember(snapshot, renaming, () => {
      // The input contains the ID the worker started with, which no machine reads again.
      const context = this.#renameWithin(withoutInput(snapshot.context), renaming);
      return this.#memory.unique(address, {
        ...snapshot,
        context: Object.assign({}, context, { input: snapshot.context.input }),
      });
    });
  }

  #renamingFor(world: World): Renaming {
    const serials = new Map<string, number[]>();
    for (const { workerId, serial } of world.coordinator.context.workers) serials.set(workerId, [serial]);
    const scan = (value: object): void => {
      for (const { workerId, serial } of this.#mentionedIn(value)) {
        const known = serials.get(workerId);
        if (known === undefined) serials.set(workerId, [serial]);
        else if (!known.includes(serial)) known.push(serial);
      }
    };
    scan(world.coordinator);
    scan(world.limiter);
    for (const id in world.workers) scan(world.workers[id] ?? NONE);
    for (const name in world.channels) for (const event of world.channels[name] ?? []) scan(event);
    for (const { event } of world.timers) scan(event);
    for (const id in world.calls) scan(world.calls[id] ?? NONE);
    for (const id in world.reapers) scan(world.reapers[id] ?? NONE);

    const renaming = new Map<string, string>();
    for (const [workerId, live] of serials) {
      if (Math.max(...live) === live.length - 1) continue;
      for (const [rank, serial] of live.sort((a, b) => a - b).entries()) {
        if (rank !== serial) renaming.set(this.#idOf(workerId, serial), this.#idOf(workerId, rank));
      }
    }
    if (renaming.size === 0) return NOTHING;
    const name = [...renaming].join();
    const known = this.#renamings.get(name);
    if (known === undefined) this.#renamings.set(name, renaming);
    return known ?? renaming;
  }

  #mentionedIn(value: object): readonly Mention[] {
    const known = this.#mentions.get(value);
    if (known !== undefined) return known;
    const text = JSON.stringify('context' in value ? withoutInput(value.context as object) : value);
    const mentions = [...new Set(text.match(this.#id) ?? [])].map((id): Mention => {
      const dot = id.indexOf('.');
      return {
        id,
        workerId: id.slice(this.#property.runId.length + 1, dot),
        serial: Number(id.slice(dot + 1)),
      };
    });
    this.#mentions.set(value, mentions);
    return mentions;
  }

  #rename<T extends object>(value: T, renaming: Renaming): T {
    // Renaming changes strings and serials, never the shape.
    return this.#remember(value, renaming, () => this.#renameWithin(value, renaming) as T);
  }

  #remember<T extends object>(value: T, renaming: Renaming, rename: () => T): T {
    // The coordinator's slots store their IDs as serials, which `mentions` does not see.
    const hasSlots = 'children' in value;
    if (!hasSlots && !this.#mentionedIn(value).some(({ id }) => renaming.has(id))) return value;
    let known = this.#renamed.get(renaming);
    if (known === undefined) {
      known = new WeakMap();
      this.#renamed.set(renaming, known);
    }
    const remembered = known.get(value);
    // The remembered value is the renamed one, and of the same type.
    if (remembered !== undefined) return remembered as T;
    const renamed = rename();
    known.set(value, renamed);
    return renamed;
  }

  #renameWithin(value: unknown, renaming: Renaming): unknown {
    if (typeof value === 'string') return renaming.get(value) ?? value;
    if (Array.isArray(value)) return value.map((item) => this.#renameWithin(item, renaming));
    if (typeof value !== 'object' || value === null || 'sessionId' in value) return value;
    if (value instanceof Lookup) {
      const entries = [...value].map(([key, item]) => {
        return [renaming.get(key) ?? key, this.#renameWithin(item, renaming)] as const;
      });
      return Lookup.of(entries);
    }
    const renamed = Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, this.#renameWithin(item, renaming)]),
    );
    // A slot of the coordinator's pool. Its serial is part of its current assignment's ID.
    if (typeof renamed.serial === 'number' && typeof renamed.workerId === 'string') {
      const present = this.#idOf(renamed.workerId, renamed.serial);
      renamed.serial = Number((renaming.get(present) ?? present).split('.')[1]);
    }
    return renamed;
  }

  #idOf(workerId: string, serial: number): string {
    return `${this.#property.runId}:${workerId}.${serial}`;
  }
}

function withoutInput(context: object): object {
  const { input: _, ...rest } = context as { input?: unknown };
  return rest;
}

function mapValues<V extends object>(
  record: Readonly<Record<string, V>>,
  change: (value: V, key: string) => V,
): Readonly<Record<string, V>> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value, key)]));
}
