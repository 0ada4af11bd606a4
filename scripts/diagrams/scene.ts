/**
 * What is drawn of a machine: nested boxes, marks, and arrows with their lines of text, each with a size but without a
 * position. Pure.
 *
 * Arrows between the same two ends are one arrow with several lines. Transitions that stay in their state are text inside the
 * box. Transitions of a state that apply to all states inside it start from a mark in that box, `any state`. If many arrows
 * lead to one state, those from inside other boxes are written as text, `→ halting`, because they would be hard to follow.
 */
import type { GraphEdge, GraphNode, MachineGraph } from './machine-graph.ts';
import { textWidth } from './text-width.ts';
import { arrowText, guardText, reactionText, triggerText } from './wording.ts';

export interface Scene {
  readonly root: Box;
  readonly arrows: readonly Arrow[];
}

/** Runs of text in one line, each in its own style. */
export type Line = readonly Run[];
export interface Run {
  readonly text: string;
  readonly style: 'title' | 'trigger' | 'guard' | 'target' | 'muted';
}

export interface Box {
  readonly id: string;
  readonly kind: 'atomic' | 'compound' | 'final' | 'start' | 'anywhere';
  readonly title: string;
  /** Below the title. */
  readonly lines: readonly Line[];
  readonly children: readonly Box[];
  readonly width: number;
  /** The size of title and lines, without the children below. */
  readonly height: number;
}

export interface Arrow {
  readonly id: string;
  readonly source: string;
  readonly target: string;
  readonly lines: readonly Line[];
  readonly width: number;
  readonly height: number;
  /** With guards and actions. Shown on hover. */
  readonly tooltip: string;
}

export const FONT = { title: 14, text: 12.5 } as const;
export const LINE_HEIGHT = 17;
export const TITLE_HEIGHT = 20;
export const INSET = { x: 12, y: 8 } as const;
const START_SIZE = 12;

export const widthOfRun = ({ text, style }: Run): number =>
  style === 'title'
    ? textWidth(text, FONT.title, 'bold')
    : textWidth(text, FONT.text, style === 'target' ? 'bold' : 'normal');
export const widthOfLine = (line: Line): number => line.reduce((sum, run) => sum + widthOfRun(run), 0);

export const startOf = (id: string): string => `${id}:start`;
export const anywhereIn = (id: string): string => `${id}:anywhere`;

export function sceneOf(graph: MachineGraph): Scene {
  const isInside = insideOf(graph);
  const isTold = toldOf(graph, isInside);
  const drawn = graph.edges.filter((edge) => !isTold(edge));
  const sourceOf = ({ source, targets }: GraphEdge): string =>
    targets.some((target) => isInside(target, source)) ? anywhereIn(source) : source;
  // An arrow to a surrounding state leads to its beginning.
  const targetOf = (target: string, { source }: GraphEdge): string =>
    isInside(source, target) ? startOf(target) : target;

  const ends = new Map<string, { source: string; target: string; edges: GraphEdge[] }>();
  for (const edge of drawn) {
    for (const end of edge.targets) {
      const [source, target] = [sourceOf(edge), targetOf(end, edge)];
      const key = `${source} -> ${target}`;
      const known = ends.get(key);
      if (known === undefined) ends.set(key, { source, target, edges: [edge] });
      else known.edges.push(edge);
    }
  }
  const starts = graph.nodes.flatMap(({ id, initial }) =>
    initial.map((target) => arrow(startOf(id), target, [])),
  );
  const anywhere = new Set(drawn.map(sourceOf).filter((id) => id.endsWith(':anywhere')));
  const [root] = graph.nodes;
  if (root === undefined) throw new Error(`The machine ${graph.id} has no root.`);
  return {
    root: boxOf(root, graph, anywhere, isTold),
    arrows: [
      ...starts,
      ...[...ends.values()].map(({ source, target, edges }) => arrow(source, target, edges)),
    ],
  };
}

/** Whether a state is inside another, at any depth. */
function insideOf({ nodes }: MachineGraph): (id: string, ancestor: string) => boolean {
  const parents = new Map(nodes.map(({ id, parent }) => [id, parent]));
  const isInside = (id: string, ancestor: string): boolean => {
    const parent = parents.get(id) ?? null;
    return parent !== null && (parent === ancestor || isInside(parent, ancestor));
  };
  return isInside;
}

/** From this number of arrows on, those from inside other boxes are written as text. */
const CROWD = 4;

/** The transitions that are text in their state's box: those that stay, and those that leave a box for a crowded state. */
function toldOf(
  { nodes, edges }: MachineGraph,
  isInside: (id: string, ancestor: string) => boolean,
): (edge: GraphEdge) => boolean {
  const parents = new Map(nodes.map(({ id, parent }) => [id, parent]));
  const sources = new Map<string, Set<string>>();
  for (const { source, targets } of edges) {
    for (const target of targets) sources.set(target, (sources.get(target) ?? new Set()).add(source));
  }
  const isCrowded = (target: string): boolean => (sources.get(target)?.size ?? 0) >= CROWD;
  const leavesBox = (source: string, target: string): boolean =>
    parents.get(source) !== parents.get(target) && !isInside(target, source) && !isInside(source, target);
  return ({ source, targets }) =>
    targets.every((target) => target === source || (isCrowded(target) && leavesBox(source, target)));
}

function boxOf(
  node: GraphNode,
  graph: MachineGraph,
  anywhere: ReadonlySet<string>,
  isTold: (edge: GraphEdge) => boolean,
): Box {
  const lines: Line[] = [
    ...node.invokes.map(({ id, source }) => plain('invokes ', source, source === id ? '' : ` as ${id}`)),
    ...(node.parent === null && graph.spawned.length > 0 ? [plain('spawns ', graph.spawned.join(', '))] : []),
    ...(node.entry.length > 0 ? [plain('entry / ', node.entry.join(', '))] : []),
    ...(node.exit.length > 0 ? [plain('exit / ', node.exit.join(', '))] : []),
    ...graph.edges
      .filter((edge) => edge.source === node.id && isTold(edge))
      .flatMap((edge) => broken(toldLine(edge, graph))),
  ];
  const title = [{ text: node.key, style: 'title' }] satisfies Line;
  const children = [
    ...(node.initial.length > 0 ? [mark(startOf(node.id), 'start')] : []),
    ...(anywhere.has(anywhereIn(node.id)) ? [mark(anywhereIn(node.id), 'anywhere')] : []),
    ...graph.nodes
      .filter(({ parent }) => parent === node.id)
      .map((child) => boxOf(child, graph, anywhere, isTold)),
  ];
  return {
    id: node.id,
    kind: children.length > 0 ? 'compound' : node.type === 'final' ? 'final' : 'atomic',
    title: node.key,
    lines,
    children,
    width: Math.max(...[title, ...lines].map(widthOfLine)) + 2 * INSET.x,
    height: TITLE_HEIGHT + lines.length * LINE_HEIGHT + 2 * INSET.y,
  };
}

function mark(id: string, kind: 'start' | 'anywhere'): Box {
  const title = kind === 'start' ? '' : 'any state';
  return {
    id,
    kind,
    title,
    lines: [],
    children: [],
    width: kind === 'start' ? START_SIZE : textWidth(title, FONT.text) + 2 * INSET.x,
    height: kind === 'start' ? START_SIZE : 24,
  };
}

const plain = (before: string, name: string, after = ''): Line => [
  { text: before, style: 'muted' },
  { text: name, style: 'trigger' },
  { text: after, style: 'muted' },
];

function toldLine(edge: GraphEdge, { nodes }: MachineGraph): Line {
  const [target] = edge.targets;
  if (target === undefined) return [...edgeLine(edge), { text: ` / ${reactionText(edge)}`, style: 'muted' }];
  if (target !== edge.source) {
    const key = nodes.find(({ id }) => id === target)?.key ?? target;
    return [...edgeLine(edge), { text: ` → ${key}`, style: 'target' }];
  }
  return [...edgeLine(edge), { text: ` (enters again) / ${reactionText(edge)}`, style: 'muted' }];
}

/** From this width on, a line is broken before an `and` or `or` in its guard. */
const WIDE = 200;
/** The beginning of the second line. */
export const CONTINUED = '     ';

function broken(line: Line): readonly Line[] {
  const at = line.findIndex(({ style, text }) => style === 'guard' && / (and|or) /.test(text));
  const guard = line[at];
  if (guard === undefined || widthOfLine(line) <= WIDE) return [line];
  const [first = '', ...others] = guard.text.split(/ (?=(?:and|or) )/);
  const styled = (text: string): Run => ({ text, style: 'guard' });
  const lines = [first, ...others].map(
    (text, index): Line => [
      ...(index === 0 ? line.slice(0, at) : [styled(CONTINUED)]),
      styled(text),
      ...(index === others.length ? line.slice(at + 1) : []),
    ],
  );
  return lines;
}

function edgeLine(edge: GraphEdge): Line {
  const guard = guardText(edge);
  const trigger = edge.trigger.kind === 'always' && guard !== '' ? '' : triggerText(edge.trigger);
  return [
    { text: edge.alternatives > 1 ? `${edge.alternative} ` : '', style: 'muted' },
    { text: trigger, style: 'trigger' },
    { text: trigger !== '' && guard !== '' ? ` ${guard}` : guard, style: 'guard' },
  ];
}

function arrow(source: string, target: string, edges: readonly GraphEdge[]): Arrow {
  const lines = edges.flatMap((edge) => broken(edgeLine(edge)));
  return {
    id: `${source} -> ${target}`,
    source,
    target,
    lines,
    width: Math.max(0, ...lines.map(widthOfLine)) + (lines.length === 0 ? 0 : 8),
    height: lines.length * LINE_HEIGHT,
    tooltip: edges
      .map((edge) => [arrowText(edge), edge.actions.join(', ')].filter((text) => text !== '').join(' / '))
      .join('\n'),
  };
}
