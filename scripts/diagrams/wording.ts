/** The text in a graph: the names of events, and the names of guards, delays, actors and actions in the setup. */
import type { Condition, GraphEdge, GraphNode, MachineGraph, Trigger } from './machine-graph.ts';

export function triggerText(trigger: Trigger): string {
  switch (trigger.kind) {
    case 'always':
      return 'always';
    case 'event':
      return trigger.event;
    case 'after':
      return `after ${trigger.delay}`;
    case 'stateDone':
      return 'done';
    case 'actorDone':
      return `${actorText(trigger.actor)} done`;
    case 'actorFailed':
      return `${actorText(trigger.actor)} failed`;
    case 'actorChanged':
      return `${actorText(trigger.actor)} changed`;
  }
}

const actorText = (actor: string): string => (actor === '*' ? 'any actor' : actor);

export function conditionText(condition: Condition): string {
  switch (condition.kind) {
    case 'named':
      return condition.name;
    case 'not':
      return `not ${grouped(condition.part)}`;
    default:
      return condition.parts.map(grouped).join(` ${condition.kind} `);
  }
}

const grouped = (condition: Condition): string =>
  condition.kind === 'and' || condition.kind === 'or'
    ? `(${conditionText(condition)})`
    : conditionText(condition);

/** The guard in brackets. Without a guard, `[else]` if other transitions are tried before. */
export function guardText({ guard, alternative }: GraphEdge): string {
  if (guard !== null) return `[${conditionText(guard)}]`;
  return alternative > 1 ? '[else]' : '';
}

/** The label of an arrow, such as `batch.ended [isDenied]`. */
export function arrowText(edge: GraphEdge): string {
  const guard = guardText(edge);
  const text = edge.trigger.kind === 'always' && guard !== '' ? guard : triggerText(edge.trigger);
  return text === guard || guard === '' ? text : `${text} ${guard}`;
}

/** The text for a transition that stays in its state. */
export const reactionText = ({ actions }: GraphEdge): string =>
  actions.length === 0 ? 'ignored' : actions.join(', ');

/** The id without the machine's, such as `running.working`. The root has the name of the machine. */
export function pathText(node: Pick<GraphNode, 'id' | 'parent'>): string {
  return node.parent === null ? node.id : node.id.slice(node.id.indexOf('.') + 1);
}

/** The machine in sentences, for readers who cannot see the picture. */
export function descriptionOf({ nodes, edges }: MachineGraph): string {
  const paths = new Map(nodes.map((node) => [node.id, node.parent === null ? 'any state' : pathText(node)]));
  const moves = edges.filter(({ source, targets }) => targets.some((target) => target !== source));
  return moves
    .map(
      (edge) =>
        `${paths.get(edge.source)} to ${edge.targets.map((id) => paths.get(id)).join(' and ')}: ${arrowText(edge)}.`,
    )
    .join(' ');
}
