/**
 * The outline of a machine as a Mermaid state diagram: its outermost states, and the events that lead from one to another.
 * The SVG shows what happens inside a state. Pure.
 */
import type { GraphEdge, MachineGraph } from './machine-graph.ts';
import { triggerText } from './wording.ts';

/** Maximum names at one arrow. */
const MOST_NAMES = 3;

export function mermaidOutline(graph: MachineGraph): string {
  const [root] = graph.nodes;
  const outer = outermostOf(graph);
  const names = graph.nodes.filter(({ parent }) => parent === root?.id);
  const nameOf = new Map(names.map(({ id, key }) => [id, key]));
  const arrows = new Map<string, string[]>();
  for (const edge of graph.edges) {
    for (const end of edge.targets) {
      const target = nameOf.get(outer(end) ?? '');
      // It applies to every state that is not final and does not handle the event itself. One arrow stands for them all.
      const source = edge.source === root?.id ? ANY : nameOf.get(outer(edge.source) ?? '');
      if (source === undefined || target === undefined || source === target) continue;
      const key = `${source} --> ${target}`;
      const words = outlineText(edge);
      const known = arrows.get(key) ?? [];
      if (!known.includes(words)) known.push(words);
      arrows.set(key, known);
    }
  }
  const lines = [
    ...(root?.initial ?? []).map((id) => `[*] --> ${nameOf.get(outer(id) ?? '')}`),
    ...([...arrows.keys()].some((key) => key.startsWith(ANY)) ? [`state "any state" as ${ANY}`] : []),
    ...[...arrows].map(([key, words]) => `${key}: ${shortened(words)}`),
    ...names.filter(({ type }) => type === 'final').map(({ key }) => `${key} --> [*]`),
  ];
  return ['stateDiagram-v2', '  direction LR', ...lines.map((line) => `  ${line}`)].join('\n');
}

const ANY = 'any_state';

/** `:` and `;` have a meaning in Mermaid. */
const outlineText = ({ trigger, guard }: GraphEdge): string => {
  if (trigger.kind === 'always') return guard === null ? 'always' : guardNames(guard);
  return triggerText(trigger).replace(/[:;#]/g, ' ');
};

function guardNames(guard: NonNullable<GraphEdge['guard']>): string {
  switch (guard.kind) {
    case 'named':
      return guard.name;
    case 'not':
      return `not ${guardNames(guard.part)}`;
    default:
      return guard.parts.map(guardNames).join(` ${guard.kind} `);
  }
}

const shortened = (words: readonly string[]): string =>
  words.length <= MOST_NAMES ? words.join(' · ') : `${words.slice(0, MOST_NAMES - 1).join(' · ')} · …`;

/** A state's ancestor directly below the root, or itself. */
function outermostOf({ nodes }: MachineGraph): (id: string) => string | undefined {
  const parents = new Map(nodes.map(({ id, parent }) => [id, parent]));
  const rootId = nodes[0]?.id;
  const outer = (id: string): string | undefined => {
    const parent = parents.get(id) ?? null;
    if (parent === null) return undefined;
    return parent === rootId ? id : outer(parent);
  };
  return outer;
}
