/** References to actors in what is compared: by name, since each run of a machine has its own. */

import { type AnyActorRef, createActor, type EventObject, fromCallback } from 'xstate';
import type { Recipient } from '../../../src/machines/messages.ts';
import { Lookup } from '../../../src/machines/rate-limiter/lookup.ts';

export interface Sent {
  readonly to: string;
  readonly event: EventObject;
}

/** Who takes part in a test beside the machine that is tested; what they are sent goes to `log`. */
export interface Bystander<E extends EventObject> {
  readonly ref: Recipient<E>;
  stop(): void;
}

const names = new WeakMap<object, string>();

/** An actor that takes messages and does nothing but note them. */
export function createBystander<E extends EventObject>(
  name: string,
  note: (sent: { to: string; event: E }) => void,
): Bystander<E> {
  const actor = createActor(
    fromCallback<E>(({ receive }) => {
      receive((event) => note({ to: name, event }));
    }),
  );
  names.set(actor, name);
  actor.start();
  return { ref: actor, stop: () => actor.stop() };
}

export function isRef(value: unknown): value is AnyActorRef {
  return typeof value === 'object' && value !== null && 'sessionId' in value && 'send' in value;
}

/** A bystander's name, a child's id, or `self`: a root's id is a serial number of XState's. */
export function nameOf(ref: AnyActorRef): string {
  return names.get(ref) ?? (/^x:\d+$/.test(ref.id) || ref.id === '' ? 'self' : ref.id);
}

/** A plain copy, with names for references and keys in order. */
export function plain(value: unknown): unknown {
  if (isRef(value)) return `@${nameOf(value)}`;
  if (value instanceof Error) return `Error: ${value.message}`;
  if (value instanceof Lookup) return plain(value.toJSON());
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  const keys = Object.keys(value).sort();
  return Object.fromEntries(keys.map((key) => [key, plain(Reflect.get(value, key))]));
}
