/**
 * Faults that a program makes in what a machine's actions do: an `assign` without one of its keys, and a message, a timer,
 * a child or a fact that is left out. What an action assigns and does is known only when it has been seen to do it.
 */
import type { AnyStateMachine } from 'xstate';

/** `key callFailures`, `sendTo batch.assign`, `cancel`. */
export type Part = string;
type Watch = (action: string, part: Part) => void;

type Actions = Readonly<Record<string, unknown>>;
type Call = (...args: readonly unknown[]) => unknown;

const isCall = (value: unknown): value is Call => typeof value === 'function';
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null;

/** What an action of `enqueueActions` may do, beside assigning. */
const EFFECTS = ['sendTo', 'raise', 'cancel', 'emit', 'spawnChild', 'stopChild'] as const;
type Effect = (typeof EFFECTS)[number];

function partOf(effect: Effect, args: readonly unknown[]): Part {
  const [first, second] = args;
  const event = effect === 'sendTo' ? second : first;
  if (effect === 'spawnChild') return `spawnChild ${String(first)}`;
  return isObject(event) && typeof event.type === 'string' ? `${effect} ${event.type}` : effect;
}

/** The machine's actions, without one part of one of them. */
export function actionsWithout(machine: AnyStateMachine, action: string, part: Part): Actions {
  return remade(machine, (name, other) => name === action && part === other);
}

/** The machine's actions, which tell of every part that they have as they do it. */
export function watchedActions(machine: AnyStateMachine, watch: Watch): Actions {
  return remade(machine, (name, part) => {
    watch(name, part);
    return false;
  });
}

type IsLeftOut = (action: string, part: Part) => boolean;

function remade(machine: AnyStateMachine, isLeftOut: IsLeftOut): Actions {
  const actions: Actions = { ...machine.implementations.actions };
  return Object.fromEntries(
    Object.entries(actions).map(([name, action]) => [
      name,
      typeof action === 'function' ? remadeAction(action, (part) => isLeftOut(name, part)) : action,
    ]),
  );
}

function remadeAction(action: object, isLeftOut: (part: Part) => boolean): object {
  const [assignment, collect]: readonly unknown[] = ['assignment', 'collect'].map((key) =>
    Reflect.get(action, key),
  );
  const kept = (update: unknown, context?: unknown): unknown => {
    if (!isObject(update)) return update;
    // Nobody assigns the input: this is the whole context, of which what is as it was is not assigned either.
    const before = 'input' in update && isObject(context) ? context : {};
    const isKept = ([key, value]: readonly [string, unknown]): boolean =>
      (key in before && value === before[key]) || !isLeftOut(`key ${key}`);
    return Object.fromEntries(Object.entries(update).filter(isKept));
  };
  if (isCall(assignment)) {
    return copyOf(action, {
      assignment: (args: unknown, params: unknown) =>
        kept(assignment(args, params), isObject(args) ? args.context : undefined),
    });
  }
  // A value, or how to come by it, for each key.
  if (isObject(assignment)) return copyOf(action, { assignment: kept(assignment) });
  if (!isCall(collect)) return action;
  return copyOf(action, {
    collect: (given: unknown, params: unknown) => {
      const args = isObject(given) ? given : {};
      return collect({ ...args, enqueue: enqueueWithout(args.enqueue, kept, isLeftOut) }, params);
    },
  });
}

/** What actions enqueue with, but for what is left out. */
function enqueueWithout(
  enqueue: unknown,
  kept: (update: unknown) => unknown,
  isLeftOut: (part: Part) => boolean,
): Readonly<Record<string, Call>> {
  const methodOf = (name: string): Call => {
    const method: unknown = isCall(enqueue) ? Reflect.get(enqueue, name) : undefined;
    if (!isCall(method)) throw new Error(`nothing can be enqueued with "${name}"`);
    return method;
  };
  const effects = EFFECTS.map((effect) => {
    const call: Call = (...args) => (isLeftOut(partOf(effect, args)) ? undefined : methodOf(effect)(...args));
    return [effect, call] as const;
  });
  return { ...Object.fromEntries(effects), assign: (update) => methodOf('assign')(kept(update)) };
}

/** XState's actions are functions that are never called: what they are is in their properties. */
function copyOf(action: object, changes: Readonly<Record<string, unknown>>): object {
  return Object.assign(() => undefined, { ...action, ...changes });
}
