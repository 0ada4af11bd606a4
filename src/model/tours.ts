/**
 * Paths that together take every edge of the model's graph: for replaying it on the real thing. Visiting every state is
 * not enough: two events that should lead from one state to different ones, or to the same, are told apart by edges alone.
 */
import type { SystemModel } from './system-model.ts';
import type { World, WorldEvent } from './world.ts';

interface Node {
  readonly world: World;
  readonly parent: Node | undefined;
  /** The parent's event that first led here. */
  readonly event: WorldEvent | undefined;
  readonly edges: readonly Edge[];
  /** Edges from this one on have not been taken. */
  next: number;
}

interface Edge {
  readonly event: WorldEvent;
  /** The node's key. */
  readonly to: string;
}

/** Each path goes on from edge to edge that none before has taken, for as long as there is one. */
export function* edgeTours(model: SystemModel): Generator<readonly WorldEvent[]> {
  const nodes = graphOf(model);
  for (const node of nodes.values()) {
    while (node.next < node.edges.length) yield [...pathTo(node), ...tourFrom(node, nodes)];
  }
}

function tourFrom(start: Node, nodes: ReadonlyMap<string, Node>): WorldEvent[] {
  const events: WorldEvent[] = [];
  for (let node: Node | undefined = start; node !== undefined; ) {
    const edge: Edge | undefined = node.edges[node.next];
    node.next += 1;
    if (edge === undefined) break;
    events.push(edge.event);
    node = nodes.get(edge.to);
  }
  return events;
}

function pathTo(node: Node): WorldEvent[] {
  const events: WorldEvent[] = [];
  for (let at: Node | undefined = node; at?.event !== undefined; at = at.parent) events.push(at.event);
  return events.reverse();
}

function graphOf(model: SystemModel): ReadonlyMap<string, Node> {
  const nodes = new Map<string, Node>();
  const add = (world: World, parent: Node | undefined, event: WorldEvent | undefined): string => {
    const key = model.serializeState(world);
    if (!nodes.has(key)) nodes.set(key, { world, parent, event, edges: [], next: 0 });
    return key;
  };
  add(model.logic.getInitialSnapshot(NO_SCOPE, undefined), undefined, undefined);
  // A map is walked in the order of insertion, also of what is added on the way: breadth first.
  for (const [key, node] of nodes) {
    const edges = model
      .events(node.world)
      .map((event) => ({ event, to: add(model.logic.transition(node.world, event, NO_SCOPE), node, event) }));
    // Nobody has a node's edges before the walk is over.
    nodes.set(key, Object.assign(node, { edges }));
  }
  return nodes;
}

/** The world's logic needs no actor around it. */
const NO_SCOPE = undefined as never;
