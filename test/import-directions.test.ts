/**
 * Dependencies point one way:
 *
 *   cli ─► sync ─► actors ─► search-console, db
 *           └────► machines ◄─ actors
 *   emulator ─► its own codec;   domain, errors: leaves that everyone may use
 */
import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { importsOf } from './support/imports.ts';

const src = new URL('../src/', import.meta.url);
const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => name.replaceAll('\\', '/'));

/** Leaves: everyone may import them, and they import nothing of ours but each other. */
const LEAVES = ['domain', 'errors.ts'];

/** Folders, and what of ours they may import beside the leaves. Files directly under `src` are the composition root. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  domain: [],
  'errors.ts': [],
  machines: [],
  'search-console': [],
  db: [],
  emulator: [],
  model: ['machines'],
  actors: ['machines', 'search-console', 'db'],
  cli: [
    // The library, its options, and what it says.
    'sync.ts',
    'sync-types.ts',
    'config.ts',
    'failure-advice.ts',
    'rate-limiter.ts',
    'telemetry.ts',
    // What has commands of its own: the emulator, the embedded server, the status of the tables, the list of sites.
    'emulator',
    'db',
    'search-console',
    // Types of messages, and the names of scopes.
    'machines',
  ],
};

const areaOf = (path: string): string => path.split('/')[0] ?? path;

/** The path under `src` that an import means, or undefined for a package. */
function targetOf(file: string, path: string): string | undefined {
  if (!path.startsWith('.')) return undefined;
  const target = new URL(path, new URL(file, src)).href;
  return target.startsWith(src.href) ? target.slice(src.href.length) : `(outside src) ${path}`;
}

const edges = files.flatMap((file) =>
  importsOf(new URL(file, src)).flatMap(({ path, typeOnly }) => {
    const target = targetOf(file, path);
    return target === undefined ? [] : [{ file, target, typeOnly }];
  }),
);

/** One circle for each import that leads back to where one came from, going down from every file once. */
function circles(
  names: readonly string[],
  among: readonly { readonly file: string; readonly target: string }[],
): readonly string[] {
  const found: string[] = [];
  const way: string[] = [];
  const done = new Set<string>();
  const visit = (name: string): void => {
    if (done.has(name)) return;
    if (way.includes(name)) {
      found.push([...way.slice(way.indexOf(name)), name].join(' → '));
      return;
    }
    way.push(name);
    for (const { file, target } of among) if (file === name) visit(target);
    way.pop();
    done.add(name);
  };
  for (const name of names) visit(name);
  return found;
}

test('the sources are read', () => {
  expect(files).toContain('machines/coordinator.ts');
  expect(edges).toContainEqual({
    file: 'actors/fetch-batch.ts',
    target: 'machines/batch-worker.ts',
    typeOnly: true,
  });
});

test('every import goes in a permitted direction', () => {
  const wrong = edges.filter(({ file, target }) => {
    const [from, to] = [areaOf(file), areaOf(target)];
    if (from === to || (!file.includes('/') && !LEAVES.includes(file))) return false;
    return !LEAVES.includes(to) && !(MAY_IMPORT[from] ?? []).includes(to);
  });
  expect(wrong).toEqual([]);
});

test('every folder has its rule', () => {
  const folders = new Set(files.filter((file) => file.includes('/')).map(areaOf));
  expect([...folders].filter((folder) => !(folder in MAY_IMPORT))).toEqual([]);
});

test('nothing but the command line imports the command line, and nothing but it and the index the emulator', () => {
  const into = (area: string) =>
    edges.filter(({ file, target }) => areaOf(target) === area && areaOf(file) !== area);
  expect(into('cli')).toEqual([]);
  expect(into('emulator').filter(({ file }) => areaOf(file) !== 'cli' && file !== 'index.ts')).toEqual([]);
});

test('the statecharts import the types of actors from nobody: actors know the machines, not the other way round', () => {
  expect(
    edges.filter(({ file, target }) => areaOf(file) === 'machines' && areaOf(target) === 'actors'),
  ).toEqual([]);
});

test('every import is of a file that is there, spelled with its ending', () => {
  const missing = edges.filter(({ target }) => !files.includes(target) && target !== '../package.json');
  expect(missing).toEqual([]);
});

test('there are no circles among files, type-only imports included', () => {
  expect(circles(files, edges)).toEqual([]);
});

test('a circle is found', () => {
  const among = [
    { file: 'a', target: 'b' },
    { file: 'b', target: 'c' },
    { file: 'c', target: 'b' },
    { file: 'c', target: 'd' },
  ];
  expect(circles(['a', 'b', 'c', 'd'], among)).toEqual(['b → c → b']);
});

test('got and postgres appear in one adapter each; nobody but the emulator serves HTTP', () => {
  const importers = (name: string) =>
    files.filter((file) =>
      importsOf(new URL(file, src)).some(({ path, typeOnly }) => path === name && !typeOnly),
    );
  expect(importers('got')).toEqual(['search-console/got-transport.ts']);
  expect(importers('postgres').filter((file) => areaOf(file) !== 'db')).toEqual([]);
  expect(
    importers('xstate')
      .map(areaOf)
      .filter((area) => !['machines', 'actors', 'model'].includes(area)),
  ).toEqual(
    ['keep-leases.ts', 'rate-limiter.ts', 'sync-concurrency.ts', 'sync-execution.ts', 'sync-life.ts'].filter(
      (file) => files.includes(file),
    ),
  );
});
