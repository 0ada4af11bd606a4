/** What a state × event table is made of. `Record<State, Record<Case, Expected>>` makes the compiler ask for all of it. */
import { createHash } from 'node:crypto';
import {
  type AnyMachineSnapshot,
  type AnyStateMachine,
  type EventFromLogic,
  type EventObject,
  type InputFrom,
  initialTransition,
  type SnapshotFrom,
  transition,
} from 'xstate';
import { plain } from '../support/refs.ts';
import { type InspectedAction, readTurn } from '../support/turn.ts';

/** A machine's states as paths: `{ calling: 'fetching' }` → `calling.fetching`. */
export type PathOf<Value> = Value extends string
  ? Value
  : { [Key in keyof Value & string]: `${Key}.${PathOf<NonNullable<Value[Key]>>}` }[keyof Value & string];
export type StateOf<M extends AnyStateMachine> = PathOf<SnapshotFrom<M>['value']>;

/** Every event type of the machine, with the open-ended ones of XState (`xstate.done.actor.…`) by their beginning. */
export type TypeOf<E extends EventObject> = E['type'] extends infer T
  ? T extends `xstate.done.actor.${string}`
    ? 'xstate.done.actor'
    : T extends `xstate.error.actor.${string}`
      ? 'xstate.error.actor'
      : T
  : never;

/** Events to try, by a name that is their type, or begins with it: `batch.ended: answered`. */
export type Cases<E extends EventObject> = Readonly<Record<string, E>>;

type NamedType<Name> = Name extends `${infer Type}: ${string}` ? Type : Name;
type Uncovered<E extends EventObject, C extends Cases<E>> = Exclude<TypeOf<E>, NamedType<keyof C>>;

/** `true`, or the names of the event types that are missing: what is declared with it does not compile then. */
export type Whole<E extends EventObject, C extends Cases<E>> = [Uncovered<E, C>] extends [never]
  ? true
  : { readonly missing: Uncovered<E, C> };

/**
 * `ignored`: nothing changes, nobody is told. Otherwise the state that follows (`stay`: the same one) and what is done, in
 * order: messages (`limiter tokens.request`), children (`start call`, `stop call`), timers (`set …`, `cancel …`), facts told
 * to those who listen (`tell …`). No effect at all means that the machine only notes it.
 */
export type Expected<State extends string> = 'ignored' | readonly [to: State | 'stay', ...effects: string[]];

/** `End`: states that are reached and never left. */
export type Table<State extends string, Case extends string, End extends string = never> = Readonly<
  Record<State, Readonly<Record<Case, Expected<State | End>>>>
>;

function pathOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  const [entry] = Object.entries(value);
  return entry === undefined ? '' : `${entry[0]}.${pathOf(entry[1])}`;
}

export const stateOf = (snapshot: AnyMachineSnapshot): string => pathOf(snapshot.value);

/** What the machine does with an event, in the table's words, and what it keeps in mind of it. */
export interface Answer {
  readonly outcome: 'ignored' | readonly string[];
  /** What of its context becomes another, and what: `failures 0, pages (2)`. Empty where nothing does. */
  readonly keeps: string;
  /** Stands for all that is too long to be written down: what messages hold, delays, the whole context. */
  readonly seal: string;
}

export function answerOf<M extends AnyStateMachine>(
  machine: M,
  before: SnapshotFrom<M>,
  event: EventFromLogic<M>,
): Answer {
  const [after, actions] = transition(machine, before, event);
  return answerFrom(before, after, actions);
}

/** What it does as it begins. */
export function beginningOf<M extends AnyStateMachine>(machine: M, input: InputFrom<M>): Answer {
  const [after, actions] = initialTransition(machine, input);
  return answerFrom(undefined, after, actions);
}

/** Snapshots are of one machine; XState's types of them are many. */
function answerFrom(given: unknown, then: unknown, actions: readonly InspectedAction[]): Answer {
  const [before, after] = [given as AnyMachineSnapshot | undefined, then as AnyMachineSnapshot];
  const turn = readTurn(actions);
  const effects = [
    ...turn.sent.map((message) => `${message.to} ${message.event.type}`),
    ...turn.stopped.map((id) => `stop ${id}`),
    ...turn.spawned.map(({ id }) => `start ${id}`),
    ...turn.timing.map((change) =>
      typeof change === 'string' ? `cancel ${shortOf(change)}` : `set ${shortOf(change.event.type)}`,
    ),
    ...turn.emitted.map(({ type }) => `tell ${type}`),
  ];
  const [from, to] = [before === undefined ? '' : stateOf(before), stateOf(after)];
  const keeps = before === undefined ? '' : changesOf(before.context, after.context);
  if (from === to && effects.length === 0 && keeps === '') return { outcome: 'ignored', keeps, seal: '' };
  const { context, output, status } = after;
  const all = JSON.stringify(plain({ turn, context, output, status }));
  const seal = createHash('sha256').update(all).digest('hex').slice(0, 6);
  return { outcome: [from === to ? 'stay' : to, ...effects], keeps, seal };
}

/** Keys of the context that are not what they were: with their value, or, where that is long, with how many it holds. */
function changesOf(before: object, after: object): string {
  const textAt = (context: object, key: string) => JSON.stringify(plain(Reflect.get(context, key)));
  return Object.keys(after)
    .filter((key) => Reflect.get(before, key) !== Reflect.get(after, key))
    .filter((key) => textAt(before, key) !== textAt(after, key))
    .sort()
    .map((key) => `${key} ${shortened(Reflect.get(after, key))}`.trimEnd())
    .join(', ');
}

const MOST_LETTERS = 80;

function shortened(value: unknown): string {
  const text = JSON.stringify(plain(value)) ?? 'undefined';
  if (text.length <= MOST_LETTERS) return text;
  const count: unknown = Array.isArray(value) ? value.length : Reflect.get(Object(value), 'size');
  return typeof count === 'number' ? `(${count})` : '…';
}

/** `xstate.after.backoff.batchWorker.backingOff` → `after backoff`. */
const shortOf = (type: string): string => type.replace(/^xstate\.after\.([^.]+)\..*$/, 'after $1');
