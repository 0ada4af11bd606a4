/**
 * Reads a state machine into a plain graph. The graph is data without functions, so that it can be drawn, compared, or sent
 * to a page that highlights the active states. Pure; uses only the types of XState.
 *
 * It contains everything that a machine may do: transitions without an event (`always`), after a delay (`after`), of invoked
 * actors, for any event (`*`), and those that stay in their state.
 */
import type { AnyStateMachine, AnyStateNode } from 'xstate';

export interface MachineGraph {
  readonly id: string;
  /** In document order; the first is the root. */
  readonly nodes: readonly GraphNode[];
  /** By source in document order, then in the order in which XState tries them. */
  readonly edges: readonly GraphEdge[];
  /** Actors that the machine declares but no state invokes. Actions spawn them. */
  readonly spawned: readonly string[];
}

export type NodeType = 'atomic' | 'compound' | 'parallel' | 'final' | 'history';

export interface GraphNode {
  /** As in `#id` of a target, and as in `snapshot.getMeta()`. */
  readonly id: string;
  readonly key: string;
  readonly parent: string | null;
  readonly type: NodeType;
  /** The states that are entered first. More than one only if a target is inside parallel states. */
  readonly initial: readonly string[];
  readonly entry: readonly string[];
  readonly exit: readonly string[];
  readonly invokes: readonly Invocation[];
}

export interface Invocation {
  readonly id: string;
  readonly source: string;
}

export interface GraphEdge {
  readonly source: string;
  readonly trigger: Trigger;
  /** Its position among the transitions of one trigger, from 1, and their number. The first whose guard holds is taken. */
  readonly alternative: number;
  readonly alternatives: number;
  readonly guard: Condition | null;
  /** Empty if the state does not change. */
  readonly targets: readonly string[];
  /** The source is left and entered again, even if the target is inside it. */
  readonly reenters: boolean;
  readonly actions: readonly string[];
}

export type Trigger =
  | { readonly kind: 'always' }
  | { readonly kind: 'event'; readonly event: string }
  /** A name of the setup, or milliseconds. */
  | { readonly kind: 'after'; readonly delay: string }
  /** Of an invoked actor, by its id, or of any (`*`). */
  | { readonly kind: 'actorDone' | 'actorFailed' | 'actorChanged'; readonly actor: string }
  /** A final child state was entered. */
  | { readonly kind: 'stateDone' };

export type Condition =
  | { readonly kind: 'named'; readonly name: string }
  | { readonly kind: 'and' | 'or'; readonly parts: readonly Condition[] }
  | { readonly kind: 'not'; readonly part: Condition };

const UNNAMED = '(unnamed)';

/** The whole machine as a graph. */
export function graphOf(machine: AnyStateMachine): MachineGraph {
  const stateNodes = withDescendants(machine.root);
  const nodes = stateNodes.map(nodeOf);
  const invoked = new Set(nodes.flatMap(({ invokes }) => invokes.map(({ source }) => source)));
  const declared = Object.keys(machine.implementations.actors);
  return {
    id: machine.id,
    nodes,
    edges: stateNodes.flatMap(edgesOf),
    spawned: declared.filter((name) => !invoked.has(name)),
  };
}

function withDescendants(node: AnyStateNode): AnyStateNode[] {
  return [node, ...Object.values(node.states).flatMap(withDescendants)];
}

function nodeOf(node: AnyStateNode): GraphNode {
  return {
    id: node.id,
    key: node.key,
    parent: node.parent?.id ?? null,
    type: node.type,
    // XState invents one for states without children.
    initial: node.type === 'compound' ? idsOf(node.initial.target) : [],
    // From the configuration, because `node.entry` and `node.exit` also contain the timers of `after`.
    entry: listOf(node.config.entry).map(nameOf),
    exit: listOf(node.config.exit).map(nameOf),
    invokes: node.invoke.map(({ id, src }) => ({ id, source: typeof src === 'string' ? src : UNNAMED })),
  };
}

function edgesOf(node: AnyStateNode): GraphEdge[] {
  const delays = new Map<string, string>(
    node.after.map(({ eventType, delay }) => [eventType, String(delay)]),
  );
  const groups: (readonly [Trigger, readonly Transition[]])[] = [
    [{ kind: 'always' }, node.always ?? []],
    ...[...node.transitions].map(
      ([descriptor, group]) =>
        [triggerOf(descriptor, delays), group] satisfies [Trigger, readonly Transition[]],
    ),
  ];
  return groups.flatMap(([trigger, group]) =>
    group.map((transition, index) => ({
      source: node.id,
      trigger,
      alternative: index + 1,
      alternatives: group.length,
      guard: transition.guard === undefined ? null : conditionOf(transition.guard),
      targets: idsOf(transition.target),
      reenters: transition.reenter,
      actions: transition.actions.map(nameOf),
    })),
  );
}

type Transition = NonNullable<AnyStateNode['always']>[number];

function idsOf(targets: readonly AnyStateNode[] | undefined): string[] {
  return (targets ?? []).map(({ id }) => id);
}

const ACTOR_EVENTS = [
  ['xstate.done.actor.', 'actorDone'],
  ['xstate.error.actor.', 'actorFailed'],
  ['xstate.snapshot.', 'actorChanged'],
] as const;

function triggerOf(descriptor: string, delays: ReadonlyMap<string, string>): Trigger {
  const delay = delays.get(descriptor);
  if (delay !== undefined) return { kind: 'after', delay };
  if (descriptor.startsWith('xstate.done.state.')) return { kind: 'stateDone' };
  for (const [prefix, kind] of ACTOR_EVENTS) {
    if (descriptor.startsWith(prefix)) return { kind, actor: descriptor.slice(prefix.length) };
  }
  return { kind: 'event', event: descriptor };
}

/** A guard: `name`, `{ type: 'name' }`, a function, or `and`, `or`, `not` of others (functions that carry `guards`). */
function conditionOf(reference: unknown): Condition {
  if (typeof reference === 'function') {
    const parts: unknown = Reflect.get(reference, 'guards');
    if (Array.isArray(parts)) {
      const conditions = parts.map(conditionOf);
      const [first] = conditions;
      if (reference.name === 'not' && first !== undefined) return { kind: 'not', part: first };
      return { kind: reference.name === 'or' ? 'or' : 'and', parts: conditions };
    }
  }
  return { kind: 'named', name: nameOf(reference) };
}

/** The name of an action or guard in the setup, with its parameter if that is a plain word. */
function nameOf(reference: unknown): string {
  if (typeof reference === 'string') return reference;
  if (typeof reference === 'function') {
    const { name } = reference;
    return name === '' || name === 'guard' || name === 'actions' ? UNNAMED : name;
  }
  if (typeof reference !== 'object' || reference === null || !('type' in reference)) return UNNAMED;
  const name = String(reference.type);
  const params = 'params' in reference ? reference.params : undefined;
  return typeof params === 'string' || typeof params === 'number' ? `${name}(${params})` : name;
}

function listOf(value: unknown): readonly unknown[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}
