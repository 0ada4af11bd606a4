/** The words of a graph: event names as they are, guards, delays, actors and actions by their names in the setup. */
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

/** The guard in brackets; where none is, and others were tried before, `[else]`. */
export function guardText({ guard, alternative }: GraphEdge): string {
  if (guard !== null) return `[${conditionText(guard)}]`;
  return alternative > 1 ? '[else]' : '';
}

/** `batch.ended [isDenied]`, as it stands at an arrow. */
export function arrowText(edge: GraphEdge): string {
  const guard = guardText(edge);
  const text = edge.trigger.kind === 'always' && guard !== '' ? guard : triggerText(edge.trigger);
  return text === guard || guard === '' ? text : `${text} ${guard}`;
}

/** What a transition that stays does. */
export const reactionText = ({ actions }: GraphEdge): string =>
  actions.length === 0 ? 'ignored' : actions.join(', ');

/** `working`, `running.working`: the id without the machine's. The root is the machine itself. */
export function pathText(node: Pick<GraphNode, 'id' | 'parent'>): string {
  return node.parent === null ? node.id : node.id.slice(node.id.indexOf('.') + 1);
}

/** The machine in sentences, for those who cannot see its picture. */
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
