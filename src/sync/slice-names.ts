/** What the ids in the messages of a run's machines stand for: for whoever shows them to people. */
import type { SliceKey } from '../domain/slice.ts';

/** The slice with this id, while it is known: from its plan to its end. */
export type NameSlice = (sliceId: string) => SliceKey | undefined;

/** By the actor system of a run's coordinator. */
const names = new WeakMap<object, NameSlice>();

export function nameSlicesOf(system: object, name: NameSlice): void {
  names.set(system, name);
}

export function sliceIn(system: object, sliceId: string): SliceKey | undefined {
  return names.get(system)?.(sliceId);
}
