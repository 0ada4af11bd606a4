/**
 * Which vitest project a test file belongs to. No list has to be kept: a file is in `system` when it loads a module that
 * starts processes, a PostgreSQL server among them. Every other file is in `unit`.
 */
import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { importsOf } from './imports.ts';

export type ProjectName = 'unit' | 'system';

const root = new URL('../../', import.meta.url);

/** Every test file, as a path under the repository, by its project. */
export function testFiles(): Readonly<Record<ProjectName, readonly string[]>> {
  const files = globSync('test/**/*.test.ts', { cwd: fileURLToPath(root) })
    .map((path) => path.replaceAll('\\', '/'))
    .sort();
  return {
    unit: files.filter((path) => projectOf(path) === 'unit'),
    system: files.filter((path) => projectOf(path) === 'system'),
  };
}

/** Whether the file has a test for `npm run test:long`. */
export function hasTag(path: string): boolean {
  return /@module-tag (?:long|sized)\b|\btags: \[?'/.test(readFileSync(new URL(path, root), 'utf8'));
}

/** The project of one test file, given by its path under the repository. */
export function projectOf(path: string, loads: (path: string) => readonly string[] = loadedBy): ProjectName {
  return startsProcesses(path, loads, new Set()) ? 'system' : 'unit';
}

/**
 * A module of `src` counts when it imports `node:child_process` itself. What it imports does not: the library loads the
 * embedded server without starting it.
 */
function startsProcesses(
  path: string,
  loads: (path: string) => readonly string[],
  seen: Set<string>,
): boolean {
  seen.add(path);
  return loads(path).some((target) => {
    if (target === 'node:child_process') return true;
    if (target.startsWith('src/')) return loads(target).includes('node:child_process');
    return target.endsWith('.ts') && !seen.has(target) && startsProcesses(target, loads, seen);
  });
}

const known = new Map<string, readonly string[]>();

/** What a module loads at run time: packages by name, files by their path under the repository. */
function loadedBy(path: string): readonly string[] {
  const found = known.get(path);
  if (found !== undefined) return found;
  const file = new URL(path, root);
  const targets = importsOf(file)
    .filter(({ typeOnly }) => !typeOnly)
    .map(({ path: target }) =>
      target.startsWith('.') ? new URL(target, file).href.slice(root.href.length) : target,
    );
  known.set(path, targets);
  return targets;
}
