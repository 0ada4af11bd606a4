/** The documents with diagrams. Pure: turns graphs into text. */
import type { GraphEdge, MachineGraph } from './machine-graph.ts';
import type { Subject } from './machines.ts';
import { mermaidOutline } from './mermaid.ts';
import { messagesFlowchart } from './messages.ts';
import { conditionText, pathText, triggerText } from './wording.ts';

const MADE_BY =
  'Written by `npm run docs:diagrams` from the machines’ own definitions: change those, not this file.';

export interface Chapter extends Subject {
  readonly graph: MachineGraph;
}

/** `docs/machines.md`: each machine as a picture and as a table. */
export function machinesDocument(chapters: readonly Chapter[]): string {
  return `# The state machines

<!-- ${MADE_BY} -->

Longtail’s decisions are made by state machines ([XState](https://stately.ai/docs/xstate)), which receive events and decide; actors do what they decide. The machines
are exported from \`longtail/machines\`. This page is generated from them.

${chapters.map(({ name, purpose }) => `- [${name}](#${name.toLowerCase().replaceAll(' ', '-')}): ${lowered(purpose)}`).join('\n')}

## Messages

Machines are hexagons. Events carry ids and counts, never rows.

${fenced(messagesFlowchart())}

## How to read the pictures

A click opens a picture at its full size.

- A box is a state; a box in a box is a state inside it. The dot leads to the state that is entered first. A double border marks a final state.
- An arrow without an event is taken as soon as its guard holds (\`always\` in XState). \`after x\` waits for the delay \`x\`.
- Words in brackets are guards. Numbers are the order in which the transitions of one event are tried: the first whose guard holds is taken.
- \`any state\` stands for whatever state of the box around it is active, unless that state answers the event itself.
- Lines inside a box are what happens without leaving the state: \`event [guard] / actions\`. Where many arrows lead to one state, some are
  written there instead: \`event [guard] → state\`.

Guards, delays and actions have the names of the machine’s \`setup\`. The tables also have the actions of each arrow.

${chapters.map(chapterText).join('\n')}`;
}

function chapterText({ name, file, purpose, source, graph }: Chapter): string {
  return `## ${name}

${purpose} Source: [\`${source}\`](../${source}).

[![State diagram of the ${name.toLowerCase()}](machines/${file}.svg)](machines/${file}.svg)

<details>
<summary>All ${graph.edges.length} transitions of the ${name.toLowerCase()}</summary>

| state | event | guard | to | actions |
|---|---|---|---|---|
${graph.edges.map((edge) => `| ${cells(edge, graph).join(' | ')} |`).join('\n')}

</details>
`;
}

function cells(edge: GraphEdge, { nodes }: MachineGraph): string[] {
  const path = (id: string): string => {
    const node = nodes.find((candidate) => candidate.id === id);
    return node === undefined ? id : node.parent === null ? 'any state' : pathText(node);
  };
  const { trigger, guard, targets, actions, alternative, alternatives, source } = edge;
  return [
    path(source),
    `${alternatives > 1 ? `${alternative}. ` : ''}${code(triggerText(trigger))}`,
    guard === null ? (alternative > 1 ? 'else' : '') : code(conditionText(guard)),
    targets.length === 0
      ? 'stays'
      : targets.map((target) => (target === source ? 'enters again' : path(target))).join(', '),
    actions.length === 0 && targets.length === 0 ? 'none' : actions.map(code).join(', '),
  ];
}

const code = (text: string): string => `\`${text.replaceAll('|', '\\|')}\``;
const fenced = (diagram: string): string => `\`\`\`mermaid\n${diagram}\n\`\`\``;
const lowered = (sentence: string): string => sentence.charAt(0).toLowerCase() + sentence.slice(1);

/** The generated blocks for documents that are written by hand, by name. */
export function blocks(chapters: readonly Chapter[]): ReadonlyMap<string, string> {
  return new Map([
    ['messages', fenced(messagesFlowchart())],
    ...chapters.map(({ file, graph }) => [file, fenced(mermaidOutline(graph))] as const),
  ]);
}

const BLOCK = /(<!-- diagram ([\w-]+): [^\n]* -->\n)[\s\S]*?(<!-- end of diagram -->)/g;

/** A document that is written by hand, with its blocks updated. */
export function withBlocks(document: string, known: ReadonlyMap<string, string>): string {
  return document.replace(BLOCK, (_, begin: string, name: string, end: string) => {
    const block = known.get(name);
    if (block === undefined) throw new Error(`There is no diagram called ${name}.`);
    return `${begin}\n${block}\n\n${end}`;
  });
}
