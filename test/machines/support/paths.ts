/**
 * A machine's paths, from `@xstate/graph`, walked by the real machine.
 *
 * The model is the machine by pure `transition`, together with its pending timers and what the test wants to remember
 * (`notes`). The edge is part of a state's key, so that every edge is covered: a dropped transition to the same state is
 * missed when only states are. Each path is then replayed on a started actor, which must agree at every step: state,
 * context, children, timers, and the messages sent to whom.
 */
import { TestModel } from '@xstate/graph';
import {
  type ActorLogic,
  type AnyMachineSnapshot,
  type AnyStateMachine,
  type EventFromLogic,
  type EventObject,
  type InputFrom,
  initialTransition,
  isMachineSnapshot,
  type Snapshot,
  type SnapshotFrom,
  transition,
} from 'xstate';
import { plain, type Sent } from './refs.ts';
import { afterTurn, type InspectedAction, readTurn, type Timer, type Turn } from './turn.ts';

/** `send`: someone sends the machine an event. `timer`: the `index`th pending timer fires. */
export type Step<E extends EventObject> =
  | { readonly type: 'send'; readonly event: E }
  | { readonly type: 'timer'; readonly index: number };

export type World<S, N> = Snapshot<undefined> & {
  readonly machine: S;
  readonly timers: readonly Timer[];
  /** What the last turn did. */
  readonly turn: Turn;
  readonly notes: N;
};

/** What can be seen of a machine from outside, model or real, as text. */
export interface View {
  readonly state: string;
  readonly children: readonly string[];
  readonly timers: readonly number[];
  readonly sent: readonly Sent[];
  /** Children started in the last turn, and what with. */
  readonly started: readonly { readonly id: string; readonly input: unknown }[];
  readonly emitted: readonly EventObject[];
}

/** A real actor that replays a path. */
export interface Rig<E extends EventObject> {
  send(event: E): void | Promise<void>;
  fire(index: number): void;
  /** What can be seen now, and what was done since the last look. */
  view(): View;
  forget(): void;
  stop(): void;
}

export interface PathTest<M extends AnyStateMachine, N> {
  readonly machine: M;
  readonly input: InputFrom<M>;
  readonly notes: N;
  /** What can happen next. Timers are added by themselves. */
  readonly events: (world: World<SnapshotFrom<M>, N>) => readonly EventFromLogic<M>[];
  /** Where the walk ends, although the machine goes on. */
  readonly isFarEnough?: (world: World<SnapshotFrom<M>, N>) => boolean;
  /** What the test remembers of a turn. `event` is undefined for the first one. */
  readonly note: (
    notes: N,
    event: EventObject | undefined,
    turn: Turn,
    before: SnapshotFrom<M> | undefined,
    after: SnapshotFrom<M>,
  ) => N;
  /** Throws where an invariant is broken. */
  readonly check: (world: World<SnapshotFrom<M>, N>) => void;
  readonly createRig: () => Rig<EventFromLogic<M>>;
}

function read(snapshot: unknown): AnyMachineSnapshot {
  if (!isMachineSnapshot(snapshot)) throw new Error('not a snapshot of a machine');
  return snapshot;
}

export function stateText(snapshot: unknown): string {
  const { value, context, status } = read(snapshot);
  return JSON.stringify(plain({ value, context, status }));
}

export function childrenOf(snapshot: unknown): readonly string[] {
  const { status, children } = read(snapshot);
  return status === 'active' ? Object.keys(children).sort() : [];
}

const viewOf = <S, N>({ machine, timers, turn }: World<S, N>): View => ({
  state: stateText(machine),
  children: childrenOf(machine),
  timers: timers.map(({ delayMs }) => delayMs),
  sent: turn.sent,
  started: turn.spawned,
  emitted: turn.emitted,
});

function createLogic<M extends AnyStateMachine, N>(test: PathTest<M, N>) {
  type S = SnapshotFrom<M>;
  type W = World<S, N>;
  const base = { status: 'active', output: undefined, error: undefined } as const;
  const world = (
    machine: S,
    actions: readonly InspectedAction[],
    timers: readonly Timer[],
    notes: N,
    event?: EventObject,
    before?: S,
  ): W => {
    const turn = readTurn(actions);
    const after = test.note(notes, event, turn, before, machine);
    const left = read(machine).status === 'active' ? afterTurn(timers, turn) : [];
    // The graph functions describe a path by its state's JSON; that of a whole world would be pages long.
    const toJSON = () => stateText(machine);
    return { ...base, machine, timers: left, turn, notes: after, ...{ toJSON } };
  };
  const logic: ActorLogic<W, Step<EventFromLogic<M>>, undefined> = {
    getInitialSnapshot: () => {
      const [machine, actions] = initialTransition(test.machine, test.input);
      return world(machine, actions, [], test.notes);
    },
    transition: ({ machine, timers, notes }, step) => {
      const timer = step.type === 'timer' ? timers[step.index] : undefined;
      if (step.type === 'timer' && timer === undefined) throw new Error('no such timer');
      // A timer's event is the machine's own; its type is not part of the ones it takes from others.
      const event = (step.type === 'send' ? step.event : timer?.event) as EventFromLogic<M>;
      const [next, actions] = transition(test.machine, machine, event);
      const left = timers.filter((other) => other !== timer);
      return world(next, actions, left, notes, event, machine);
    },
    getPersistedSnapshot: (snapshot) => snapshot,
  };
  return logic;
}

/** Walks every edge on the real machine. @returns how much there was to walk, and the state values that were met. */
export async function walkEveryEdge<M extends AnyStateMachine, N>(
  test: PathTest<M, N>,
): Promise<{ readonly edges: number; readonly states: number; readonly values: ReadonlySet<string> }> {
  type W = World<SnapshotFrom<M>, N>;
  const ids = new Map<string, number>();
  const known = new WeakMap<W, number>();
  const values = new Set<string>();
  /** A number for each state that differs in anything: state, context, pending timers, notes. */
  const idOf = (world: W): number => {
    const found = known.get(world);
    if (found !== undefined) return found;
    const { machine, timers, notes } = world;
    const key = `${stateText(machine)} ${textOf(timers)} ${textOf(notes)}`;
    const id = ids.get(key) ?? ids.size;
    if (id === ids.size) test.check(world);
    ids.set(key, id);
    known.set(world, id);
    values.add(JSON.stringify(read(machine).value));
    return id;
  };
  const model = new TestModel(createLogic(test), {
    events: (world) =>
      read(world.machine).status !== 'active' || test.isFarEnough?.(world) === true
        ? []
        : [
            ...world.timers.map((_, index) => ({ type: 'timer', index }) as const),
            ...test.events(world).map((event) => ({ type: 'send', event }) as const),
          ],
    serializeEvent: textOf,
    serializeState: (world, step, before) =>
      before === undefined ? `${idOf(world)}` : `${idOf(before)} ${textOf(step)} ${idOf(world)}`,
  });
  const paths = model.getShortestPaths({ allowDuplicatePaths: true });
  // Longest first: what they pass through need not be walked again.
  const walked = new WeakSet<W>();
  for (const path of paths.toSorted((a, b) => b.steps.length - a.steps.length)) {
    if (walked.has(path.state)) continue;
    const rig = test.createRig();
    try {
      await model.testPath(path, {
        states: {
          '*': (world) => {
            if (walked.has(world)) rig.forget();
            else compare(world, rig);
            walked.add(world);
          },
        },
        events: {
          send: ({ event }) => act(rig, event as Step<EventFromLogic<M>>),
          timer: ({ event }) => act(rig, event as Step<EventFromLogic<M>>),
        },
      });
    } catch (error) {
      const [message] = (error instanceof Error ? error.message : String(error)).split('\nPath:');
      const steps = path.steps.map(({ event }) => textOf(event)).join('\n  ');
      throw new Error(`${message}\non the path\n  ${steps}`);
    } finally {
      rig.stop();
    }
  }
  return { edges: paths.length, states: ids.size, values };
}

/** `testPath`'s types keep the type of an event alone; what comes in is the whole step. */
async function act<E extends EventObject>(rig: Rig<E>, step: Step<E>): Promise<void> {
  if (step.type === 'send') await rig.send(step.event);
  else rig.fire(step.index);
}

const textOf = (value: unknown): string => JSON.stringify(plain(value));

function compare<S, N, E extends EventObject>(world: World<S, N>, rig: Rig<E>): void {
  const [model, real] = [viewOf(world), rig.view()].map((view) => JSON.stringify(plain(view), null, 1));
  if (model !== real) throw new Error(`the real machine differs\nmodel ${model}\nreal ${real}`);
}
