/**
 * Writes the diagrams in the documents from the machines' own definitions. With `--check` it writes nothing, and fails
 * if a document does not match the machines.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { blocks, type Chapter, machinesDocument, withBlocks } from './diagrams/documents.ts';
import { layOut } from './diagrams/layout.ts';
import { graphOf } from './diagrams/machine-graph.ts';
import { SUBJECTS } from './diagrams/machines.ts';
import { sceneOf } from './diagrams/scene.ts';
import { svgOf } from './diagrams/svg.ts';
import { descriptionOf } from './diagrams/wording.ts';

/** Documents written by hand that contain generated blocks. */
const BY_HAND = ['README.md', 'ARCHITECTURE.md'];
const root = fileURLToPath(new URL('..', import.meta.url));

const chapters: readonly Chapter[] = SUBJECTS.map((subject) => ({
  ...subject,
  graph: graphOf(subject.machine),
}));
const known = blocks(chapters);
const files = new Map<string, string>([['docs/machines.md', machinesDocument(chapters)]]);
for (const path of BY_HAND) files.set(path, withBlocks(readFileSync(`${root}${path}`, 'utf8'), known));
for (const { graph, file, name } of chapters) {
  const layout = await layOut(sceneOf(graph));
  const caption = { title: `State diagram: ${name}`, description: descriptionOf(graph) };
  files.set(`docs/machines/${file}.svg`, svgOf(layout, caption));
}

const stale = [...files].filter(
  ([path, text]) => !existsSync(`${root}${path}`) || readFileSync(`${root}${path}`, 'utf8') !== text,
);
if (process.argv.includes('--check')) {
  for (const [path] of stale)
    console.error(`${path} is not what the machines say. Run: npm run docs:diagrams`);
  if (stale.length > 0) process.exitCode = 1;
} else {
  mkdirSync(`${root}docs/machines`, { recursive: true });
  for (const [path, text] of stale) {
    writeFileSync(`${root}${path}`, text);
    console.log(path);
  }
}
