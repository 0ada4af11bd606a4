/** Positions each box, arrow and label of a scene. Uses ELK's layered algorithm over all levels of nesting together. */
import elkjs from 'elkjs';
import type { ElkNode } from 'elkjs/lib/elk-api.js';
import { type Arrow, type Box, INSET, type Scene } from './scene.ts';

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Area extends Point {
  readonly width: number;
  readonly height: number;
}

/** A scene with positions, measured from the upper left corner of the picture. */
export interface Layout {
  readonly width: number;
  readonly height: number;
  /** Outer boxes first. */
  readonly boxes: readonly { readonly box: Box; readonly area: Area }[];
  readonly arrows: readonly {
    readonly arrow: Arrow;
    readonly route: readonly Point[];
    readonly label: Area;
  }[];
}

const OPTIONS = {
  'elk.algorithm': 'layered',
  'elk.direction': 'DOWN',
  'elk.hierarchyHandling': 'INCLUDE_CHILDREN',
  'elk.edgeRouting': 'ORTHOGONAL',
  'elk.json.shapeCoords': 'ROOT',
  'elk.json.edgeCoords': 'ROOT',
  'elk.padding': '[top=16,left=16,bottom=16,right=16]',
} as const;

const SPACING = {
  'elk.spacing.nodeNode': '26',
  'elk.spacing.edgeNode': '16',
  'elk.spacing.edgeEdge': '12',
  'elk.spacing.edgeLabel': '4',
  'elk.layered.spacing.nodeNodeBetweenLayers': '24',
  'elk.layered.spacing.edgeNodeBetweenLayers': '16',
  'elk.layered.spacing.edgeEdgeBetweenLayers': '12',
  'elk.layered.nodePlacement.strategy': 'NETWORK_SIMPLEX',
  'elk.layered.thoroughness': '10',
} as const;

export async function layOut({ root, arrows }: Scene): Promise<Layout> {
  const elk = new elkjs.default();
  const isBack = backwardIn(root);
  const widths = new Map(boxesIn(root).map(({ id, width }) => [id, width]));
  // ELK ignores the minimum width of a box if edges cross its border. Boxes that become too narrow for their text are
  // padded, and the layout is done again.
  const picture = (lacking: ReadonlyMap<string, number>): ElkNode => ({
    id: ':picture',
    layoutOptions: { ...OPTIONS, ...SPACING },
    children: [elkNode(root, lacking)],
    edges: arrows.map((arrow) => ({
      id: arrow.id,
      sources: [isBack(arrow) ? arrow.target : arrow.source],
      targets: [isBack(arrow) ? arrow.source : arrow.target],
      labels:
        arrow.lines.length === 0
          ? []
          : [
              {
                text: arrow.id,
                width: arrow.width,
                height: arrow.height,
                layoutOptions: { 'elk.edgeLabels.inline': 'true', 'elk.edgeLabels.placement': 'CENTER' },
              },
            ],
    })),
  });
  const first: ElkNode = await elk.layout(picture(new Map()));
  const lacking = new Map(
    withDescendants(first).map(({ id, width = 0 }) => [id, (widths.get(id) ?? 0) - width]),
  );
  const placed: ElkNode = await elk.layout(picture(lacking));
  const areas = new Map(withDescendants(placed).map((node) => [node.id, areaOf(node)]));
  const edges = new Map((placed.edges ?? []).map((edge) => [edge.id, edge]));
  return {
    width: areaOf(placed).width,
    height: areaOf(placed).height,
    boxes: boxesIn(root).map((box) => ({ box, area: found(areas.get(box.id), box.id) })),
    arrows: arrows.map((arrow) => {
      const { sections = [], labels = [] } = found(edges.get(arrow.id), arrow.id);
      const [label] = labels;
      const route = sections.flatMap(({ startPoint, bendPoints = [], endPoint }) => [
        startPoint,
        ...bendPoints,
        endPoint,
      ]);
      return {
        arrow,
        route: isBack(arrow) ? route.reverse() : route,
        label: areaOf(label ?? {}),
      };
    }),
  };
}

/**
 * Whether an arrow leads up. States are in the order of the definition, which begins with the initial state. ELK would
 * minimise the arrows that lead up, and might put the initial state last.
 */
function backwardIn(root: Box): (arrow: Arrow) => boolean {
  const ways = new Map<string, readonly number[]>();
  const walk = (box: Box, way: readonly number[]): void => {
    ways.set(box.id, way);
    box.children.forEach((child, index) => {
      walk(child, [...way, index]);
    });
  };
  walk(root, []);
  return ({ source, target }) => {
    const [from, to] = [found(ways.get(source), source), found(ways.get(target), target)];
    const fork = from.findIndex((index, depth) => index !== to[depth]);
    return fork !== -1 && (from[fork] ?? 0) > (to[fork] ?? 0);
  };
}

function elkNode(box: Box, lacking: ReadonlyMap<string, number>): ElkNode {
  const { id, width, height, children } = box;
  if (children.length === 0) return { id, width, height };
  const side = INSET.x + 4 + Math.max(0, lacking.get(id) ?? 0) / 2;
  const padding = `[top=${height + 6},left=${side},bottom=${INSET.y + 8},right=${side}]`;
  return {
    id,
    children: children.map((child) => elkNode(child, lacking)),
    layoutOptions: {
      ...SPACING,
      'elk.padding': padding,
    },
  };
}

function withDescendants(node: ElkNode): ElkNode[] {
  return [node, ...(node.children ?? []).flatMap(withDescendants)];
}

function boxesIn(box: Box): Box[] {
  return [box, ...box.children.flatMap(boxesIn)];
}

type Partly<T> = { readonly [K in keyof T]?: T[K] | undefined };

function areaOf({ x = 0, y = 0, width = 0, height = 0 }: Partly<Area>): Area {
  return { x, y, width, height };
}

function found<T>(value: T | undefined, id: string): T {
  if (value === undefined) throw new Error(`The layout has lost ${id}.`);
  return value;
}
