/** The pictures of the machines: all is told, nothing lies on anything else. */
import { describe, expect, test } from 'vitest';
import { machinesDocument, withBlocks } from '../../scripts/diagrams/documents.ts';
import { type Area, layOut } from '../../scripts/diagrams/layout.ts';
import { graphOf } from '../../scripts/diagrams/machine-graph.ts';
import { SUBJECTS } from '../../scripts/diagrams/machines.ts';
import { type Box, CONTINUED, type Line, sceneOf, widthOfLine } from '../../scripts/diagrams/scene.ts';
import { svgOf } from '../../scripts/diagrams/svg.ts';

const boxesIn = (box: Box): Box[] => [box, ...box.children.flatMap(boxesIn)];
const begun = (lines: readonly Line[]): number => lines.filter(([first]) => first?.text !== CONTINUED).length;
const overlap = (a: Area, b: Area): boolean =>
  a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
const contains = (a: Area, b: Area): boolean =>
  a.x <= b.x && a.y <= b.y && b.x + b.width <= a.x + a.width && b.y + b.height <= a.y + a.height;

describe.each(SUBJECTS.map(({ name, machine }) => [name, machine] as const))('%s', (name, machine) => {
  const graph = graphOf(machine);
  const scene = sceneOf(graph);
  const layout = layOut(scene);

  test('tells of every transition once for each of its targets, at an arrow or in a box', () => {
    const entryLines = graph.nodes.reduce(
      (sum, { entry, exit, invokes }) =>
        sum + (entry.length > 0 ? 1 : 0) + (exit.length > 0 ? 1 : 0) + invokes.length,
      graph.spawned.length > 0 ? 1 : 0,
    );
    const lines =
      boxesIn(scene.root).reduce((sum, box) => sum + begun(box.lines), 0) +
      scene.arrows.reduce((sum, arrow) => sum + begun(arrow.lines), 0);
    expect(lines - entryLines).toBe(
      graph.edges.reduce((sum, { targets }) => sum + Math.max(1, targets.length), 0),
    );
  });

  test('keeps labels apart from each other and from states, states in their boxes, texts in theirs', async () => {
    const { boxes, arrows, width, height } = await layout;
    const places = new Map(boxes.map(({ box, area }) => [box.id, area]));
    const placeOf = (box: Box): Area => places.get(box.id) ?? { x: -1, y: -1, width: 0, height: 0 };
    const labels = arrows.filter(({ arrow }) => arrow.lines.length > 0).map(({ label }) => label);
    const leaves = boxes.filter(({ box }) => box.children.length === 0).map(({ area }) => area);
    const ground = [...labels, ...leaves];
    const clashes = ground.flatMap((a, index) => ground.slice(index + 1).filter((b) => overlap(a, b)));
    expect(clashes).toEqual([]);
    for (const { box, area } of boxes) {
      for (const child of box.children) expect(contains(area, placeOf(child)), child.id).toBe(true);
      for (const line of box.lines) expect(widthOfLine(line), box.id).toBeLessThanOrEqual(area.width);
    }
    for (const { arrow, route } of arrows) expect(route.length, arrow.id).toBeGreaterThanOrEqual(2);
    for (const area of ground) expect(contains({ x: 0, y: 0, width, height }, area)).toBe(true);
  });

  test('comes out the same each time', async () => {
    const caption = { title: name, description: '' };
    expect(svgOf(await layOut(sceneOf(graphOf(machine))), caption)).toBe(svgOf(await layout, caption));
  });
});

test('arrows begin and end at the boxes they connect', async () => {
  const [subject] = SUBJECTS;
  if (subject === undefined) throw new Error('no machine');
  const { boxes, arrows } = await layOut(sceneOf(graphOf(subject.machine)));
  const touches = (id: string, point: { x: number; y: number } | undefined): boolean => {
    const area = boxes.find(({ box }) => box.id === id)?.area;
    if (area === undefined || point === undefined) return false;
    const { x, y, width, height } = area;
    return contains(
      { x: x - 1, y: y - 1, width: width + 2, height: height + 2 },
      { ...point, width: 0, height: 0 },
    );
  };
  const loose = arrows.filter(
    ({ arrow, route }) => !touches(arrow.source, route[0]) || !touches(arrow.target, route.at(-1)),
  );
  expect(loose.map(({ arrow }) => arrow.id)).toEqual([]);
});

test('what a picture says is escaped', async () => {
  const [subject] = SUBJECTS;
  if (subject === undefined) throw new Error('no machine');
  const layout = await layOut(sceneOf(graphOf(subject.machine)));
  expect(svgOf(layout, { title: 'a < b & "c"', description: '</desc>' })).toContain(
    '<title id="title">a &lt; b &amp; &quot;c&quot;</title>\n<desc id="desc">&lt;/desc&gt;</desc>',
  );
});

describe('documents', () => {
  test('the tables have a row for every transition', () => {
    const chapters = SUBJECTS.map((subject) => ({ ...subject, graph: graphOf(subject.machine) }));
    const rows = machinesDocument(chapters)
      .split('\n')
      .filter((line) => line.startsWith('| ') && !line.startsWith('| state '));
    expect(rows).toHaveLength(chapters.reduce((sum, { graph }) => sum + graph.edges.length, 0));
  });

  test('a block is replaced, and what stands around it stays', () => {
    const before = 'a\n<!-- diagram x: why -->\nold\n<!-- end of diagram -->\nb\n';
    const after = 'a\n<!-- diagram x: why -->\n\nnew\n\n<!-- end of diagram -->\nb\n';
    expect(withBlocks(before, new Map([['x', 'new']]))).toBe(after);
    expect(withBlocks(after, new Map([['x', 'new']]))).toBe(after);
  });

  test('a block that nobody writes is refused', () => {
    const document = '<!-- diagram x: why -->\n<!-- end of diagram -->';
    expect(() => withBlocks(document, new Map())).toThrow('There is no diagram called x.');
  });
});
