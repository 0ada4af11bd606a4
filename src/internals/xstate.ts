/**
 * The only place that knows XState's internals. It takes a machine's step without running an actor, and reports what
 * the step asked for. The refs, the system and the actor scope are stand-ins with just what `StateMachine` uses (5.33).
 *
 * XState's `transition()` would do the same five times slower, and would create new refs each time.
 */
import {
  type AnyActorRef,
  type AnyEventObject,
  type AnyMachineSnapshot,
  type AnyStateMachine,
  cancel,
  emit,
  fromPromise,
  raise,
  sendTo,
  setup,
} from 'xstate';

/**
 * Where an actor lives: `coordinator`, `limiter`, `keeper`, `w0`, `w0/call`, `plan`, `probe`, `reap:w0`. If several
 * runs share a limiter, addresses have the run's letter as prefix: `b.coordinator`, `b.w0`.
 */
export type Address = string;

/** What a step asks for, in XState's order of execution. */
export type Effect =
  | { readonly kind: 'send'; readonly to: Address; readonly event: AnyEventObject }
  | {
      readonly kind: 'schedule';
      /** Absent if it cannot be cancelled. */
      readonly id: string | undefined;
      readonly event: AnyEventObject;
      readonly delayMs: number;
    }
  | { readonly kind: 'cancel'; readonly id: string }
  | {
      readonly kind: 'spawn';
      readonly address: Address;
      readonly source: string;
      readonly input: unknown;
    }
  | { readonly kind: 'stop'; readonly address: Address }
  | { readonly kind: 'emit'; readonly event: AnyEventObject };

export interface Step {
  readonly snapshot: AnyMachineSnapshot;
  readonly effects: readonly Effect[];
}

interface RefStandIn {
  readonly address: Address;
  readonly id: string;
  readonly sessionId: string;
  readonly _parent: RefStandIn | undefined;
  readonly system: typeof system;
  send(): never;
  toJSON(): string;
}

/** Every actor that a machine creates during a step asks its system for these. None is ever started. */
const system = {
  _bookId: () => 'model',
  _register: (sessionId: string) => sessionId,
  _unregister: () => {},
  _set: () => {},
  _sendInspectionEvent: () => {},
  _relay: () => {},
  _clock: { setTimeout: () => 0, clearTimeout: () => {} },
  _logger: () => {},
  _snapshot: { _scheduledEvents: {} },
  scheduler: { schedule: () => {}, cancel: () => {}, cancelAll: () => {} },
  get: () => undefined,
  getAll: () => ({}),
  inspect: () => ({ unsubscribe: () => {} }),
  getSnapshot: () => ({ _scheduledEvents: {} }),
  start: () => {},
};

const ROOTS: readonly Address[] = ['coordinator', 'limiter', 'keeper'];

/** The actor's parent. Undefined for a root. */
export function parentOf(address: Address): Address | undefined {
  const prefix = prefixOf(address);
  if (ROOTS.includes(address.slice(prefix.length))) return undefined;
  const slash = address.lastIndexOf('/');
  return slash === -1 ? `${prefix}coordinator` : address.slice(0, slash);
}

/** The ID by which the parent knows it. */
export function idOf(address: Address): string {
  return address.slice(Math.max(address.lastIndexOf('/') + 1, prefixOf(address).length));
}

/** The address prefix of one run's actors. Empty with a single run, and for the limiter. */
export const prefixOf = (address: Address): string => /^[a-z]\./.exec(address)?.[0] ?? '';

const refs = new Map<Address, RefStandIn>();

function standIn(address: Address): RefStandIn {
  const known = refs.get(address);
  if (known !== undefined) return known;
  const parent = parentOf(address);
  const ref: RefStandIn = {
    address,
    id: idOf(address),
    sessionId: address,
    _parent: parent === undefined ? undefined : standIn(parent),
    system,
    send: () => {
      throw new Error(`an action sent to "${address}" by itself, and not through XState`);
    },
    toJSON: () => `@${address}`,
  };
  refs.set(address, ref);
  return ref;
}

/** A ref to give a machine as input. Only the machine's own actions can send through it. */
export function refTo(address: Address): AnyActorRef {
  // The stand-in has only what a machine's step uses, far less than the type requires.
  return standIn(address) as unknown as AnyActorRef;
}

/** The address of a stand-in, or of an actor that a machine created for its own child. */
export function addressOf(ref: unknown): Address {
  // XState's `Actor` has `_parent` and `id`, but its type hides `_parent`.
  const { address, id, _parent } = ref as Partial<RefStandIn> & { id: string };
  if (address !== undefined) return address;
  const parent = _parent === undefined ? undefined : addressOf(_parent);
  if (parent === undefined) return id;
  return parentOf(parent) === undefined ? `${prefixOf(parent)}${id}` : `${parent}/${id}`;
}

interface RecordedAction {
  readonly type: string;
  readonly params: unknown;
}

function record(address: Address, step: (scope: never) => AnyMachineSnapshot): Step {
  const actions: RecordedAction[] = [];
  const self = standIn(address);
  const scope = {
    self,
    id: self.id,
    sessionId: self.sessionId,
    system,
    logger: () => {},
    defer: () => {},
    emit: () => {},
    stopChild: () => {},
    actionExecutor: (action: RecordedAction) => {
      actions.push(action);
    },
  };
  // `ActorScope` is generic over the whole system. The stand-in has the parts that `StateMachine` uses.
  const snapshot = step(scope as never);
  return { snapshot: withRefs(snapshot), effects: actions.flatMap(effectOf) };
}

/** A machine creates an actor for every child it spawns. The model keeps only its address. */
function withRefs(snapshot: AnyMachineSnapshot): AnyMachineSnapshot {
  const children = Object.fromEntries(
    Object.keys(snapshot.children)
      .sort()
      .map((id) => [id, refTo(addressOf(snapshot.children[id]))]),
  );
  return { ...snapshot, children } as AnyMachineSnapshot;
}

/** Parameters of XState's built-in actions, as its `resolve…` functions create them. */
interface ActionParams {
  readonly to?: unknown;
  readonly event?: AnyEventObject;
  readonly id?: string;
  readonly delay?: number;
  readonly sendId?: string;
  readonly src?: string;
  readonly actorRef?: unknown;
  readonly input?: unknown;
}

function effectOf({ type, params: given }: RecordedAction): Effect[] {
  const params = (given ?? {}) as ActionParams;
  const event = params.event ?? { type: 'none' };
  switch (type) {
    case 'xstate.sendTo':
      if (typeof params.delay === 'number') throw new Error('delayed messages are not modelled');
      return [{ kind: 'send', to: addressOf(params.to), event }];
    case 'xstate.raise':
      return typeof params.delay === 'number'
        ? [{ kind: 'schedule', id: params.id, event, delayMs: params.delay }]
        : [];
    case 'xstate.cancel':
      return [{ kind: 'cancel', id: String(params.sendId) }];
    case 'xstate.spawnChild':
      return [
        {
          kind: 'spawn',
          address: addressOf(params.actorRef),
          source: String(params.src),
          input: params.input,
        },
      ];
    case 'xstate.stopChild':
      return given === undefined ? [] : [{ kind: 'stop', address: addressOf(given) }];
    case 'xstate.emit':
      return [{ kind: 'emit', event }];
    default:
      throw new Error(`the machines use the action "${type}", which the model does not know`);
  }
}

/** The machine's first snapshot, and the effects of entering it. */
export function begin(machine: AnyStateMachine, address: Address, input: unknown): Step {
  return record(address, (scope) => machine.getInitialSnapshot(scope, input as never));
}

/** Runs one event to completion. Throws what an action or a guard throws. */
export function advance(
  machine: AnyStateMachine,
  address: Address,
  snapshot: AnyMachineSnapshot,
  event: AnyEventObject,
): Step {
  return record(address, (scope) => machine.transition(snapshot, event, scope));
}

/** Uses every kind of action that the model reads. */
const probeMachine = setup({
  types: { emitted: {} as { type: 'said' } },
  actors: { child: fromPromise(() => Promise.resolve()) },
}).createMachine({
  id: 'probe',
  initial: 'first',
  states: {
    first: {
      entry: raise({ type: 'later' }, { delay: 5, id: 'timer' }),
      invoke: { src: 'child', id: 'child' },
      on: {
        go: {
          target: 'second',
          actions: [
            cancel('timer'),
            sendTo(() => refTo('limiter'), { type: 'hello' }),
            emit({ type: 'said' }),
          ],
        },
      },
    },
    second: { type: 'final' },
  },
});

/** The two steps of {@link probeMachine} in XState 5.33. */
const KNOWN_STEPS = [
  {
    status: 'active',
    value: 'first',
    children: ['child'],
    effects: [
      { kind: 'schedule', id: 'timer', event: { type: 'later' }, delayMs: 5 },
      { kind: 'spawn', address: 'child', source: 'child' },
    ],
  },
  {
    status: 'done',
    value: 'second',
    children: [],
    effects: [
      { kind: 'stop', address: 'child' },
      { kind: 'cancel', id: 'timer' },
      { kind: 'send', to: 'limiter', event: { type: 'hello' } },
      { kind: 'emit', event: { type: 'said' } },
    ],
  },
];

/**
 * The probe: takes two steps of a small machine and compares them with those of XState 5.33. There is no public
 * interface to fall back to, and after any difference the model would explore another system than the one that runs.
 * @throws Error with a message of one line if anything differs
 */
export function requireKnownXState(machine: AnyStateMachine = probeMachine): void {
  let found: string;
  try {
    const first = begin(machine, 'coordinator', undefined);
    const second = advance(machine, 'coordinator', first.snapshot, { type: 'go' });
    found = JSON.stringify([first, second].map(probed));
  } catch (error) {
    found = error instanceof Error ? error.message : String(error);
  }
  if (found !== JSON.stringify(KNOWN_STEPS)) {
    throw new Error(
      'longtail/model relies on internals of XState 5.33, and the installed version differs: install xstate 5.33.',
      { cause: found },
    );
  }
}

function probed({ snapshot: { status, value, children }, effects }: Step) {
  return { status, value, children: Object.keys(children), effects };
}
