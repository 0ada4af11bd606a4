/**
 * Caches the machines' steps. A step depends only on the machine's snapshot and the event, and even in a large world
 * each machine has few distinct states. Equal snapshots become one object, so cache lookups and comparing worlds cost
 * almost nothing.
 */
import type { AnyEventObject, AnyMachineSnapshot, AnyStateMachine } from 'xstate';
import { type Address, advance, begin, requireKnownXState, type Step } from '../internals/xstate.ts';
import { fingerprint } from './fingerprint.ts';

export class StepMemory {
  /** By fingerprint: the texts themselves would fill the memory. */
  readonly #numbers = new Map<string, number>();
  readonly #numberOf = new WeakMap<object, number>();
  readonly #snapshots = new Map<number, AnyMachineSnapshot>();
  readonly #beginnings = new Map<string, Step>();
  readonly #steps = new WeakMap<AnyMachineSnapshot, Map<number, Step>>();

  /** @throws Error if XState's internals have changed. */
  constructor() {
    requireKnownXState();
  }

  begin(machine: AnyStateMachine, address: Address, input: unknown): Step {
    const name = `${address} ${JSON.stringify(input)}`;
    const remembered = this.#beginnings.get(name);
    if (remembered !== undefined) return remembered;
    const step = begin(machine, address, input);
    const unique = { ...step, snapshot: this.unique(address, step.snapshot) };
    this.#beginnings.set(name, unique);
    return unique;
  }

  advance(
    machine: AnyStateMachine,
    address: Address,
    snapshot: AnyMachineSnapshot,
    event: AnyEventObject,
  ): Step {
    let known = this.#steps.get(snapshot);
    if (known === undefined) {
      known = new Map();
      this.#steps.set(snapshot, known);
    }
    const number = this.numberOf(event);
    const remembered = known.get(number);
    if (remembered !== undefined) return remembered;
    const step = advance(machine, address, snapshot, event);
    const unique = { ...step, snapshot: this.unique(address, step.snapshot) };
    known.set(number, unique);
    return unique;
  }

  /** The shared object for all equal snapshots of this actor. */
  unique<S extends AnyMachineSnapshot>(address: Address, snapshot: S): S {
    // The input never changes after a machine's first step, which is not cached.
    const { input: _, ...context } = snapshot.context;
    const text = JSON.stringify([
      address,
      snapshot.value,
      context,
      Object.keys(snapshot.children),
      snapshot.status,
      snapshot.output ?? null,
    ]);
    const number = this.#number(text);
    const known = this.#snapshots.get(number);
    // Equal texts of one actor's snapshots are snapshots of one machine.
    if (known !== undefined) return known as S;
    this.#snapshots.set(number, snapshot);
    this.#numberOf.set(snapshot, number);
    return snapshot;
  }

  /** Equal values have equal numbers. Values must be JSON, or snapshots from here, and must not be changed. */
  numberOf(value: object): number {
    const known = this.#numberOf.get(value);
    if (known !== undefined) return known;
    const number = this.#number(JSON.stringify(value));
    this.#numberOf.set(value, number);
    return number;
  }

  #number(text: string): number {
    const { high, low } = fingerprint(text);
    const name = String.fromCharCode(high >>> 16, high & 0xffff, low >>> 16, low & 0xffff);
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    const number = this.#numbers.size;
    this.#numbers.set(name, number);
    return number;
  }
}
