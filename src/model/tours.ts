/**
 * Paths that together take every edge of the model's graph, for replay on the real system. Visiting every state is not
 * enough: only edges show whether two events from one state lead to the same next state or to different ones.
 */
import type { SystemModel } from './system-model.ts';
import type { World, WorldEvent } from './world.ts';

interface Node {
  readonly world: World;
  readonly parent: Node | undefined;
  /** The parent's event that first led here. */
  readonly event: WorldEvent | undefined;
  readonly edges: readonly Edge[];
  /** Index of the first edge not taken so far. */
  next: number;
}

interface Edge {
  readonly event: WorldEvent;
  /** The node's key. */
  readonly to: string;
}

/** Each path continues along unused edges as long as there are any. */
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
  // A map is iterated in insertion order, including entries added on the way: breadth first.
  for (const [key, node] of nodes) {
    const edges = model
      .events(node.world)
      .map((event) => ({ event, to: add(model.logic.transition(node.world, event, NO_SCOPE), node, event) }));
    // No code uses a node's edges before the walk is over.
    nodes.set(key, Object.assign(node, { edges }));
  }
  return nodes;
}

/** The world's logic needs no actor around it. */
const NO_SCOPE = undefined as never;
