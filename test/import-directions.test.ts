/**
 * The rooms of `src`, and what each may import: only rooms that stand above it in this list. ARCHITECTURE.md says what each is
 * for.
 */
import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { importsOf } from './support/imports.ts';

const src = new URL('../src/', import.meta.url);
const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => name.replaceAll('\\', '/'));

const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  domain: [],
  rows: [],
  internals: ['domain', 'rows'],
  machines: ['domain'],
  store: ['domain', 'rows'],
  planning: ['domain', 'store'],
  'search-console': ['domain', 'rows', 'internals'],
  postgres: ['domain', 'rows', 'internals', 'store', 'planning'],
  'embedded-postgres': ['domain', 'postgres'],
  actors: ['domain', 'rows', 'machines', 'store', 'planning', 'search-console'],
  model: ['domain', 'internals', 'machines'],
  sync: [
    'domain',
    'machines',
    'store',
    'planning',
    'search-console',
    'postgres',
    'embedded-postgres',
    'actors',
  ],
  watch: ['domain', 'machines', 'postgres', 'sync'],
  report: ['domain', 'machines', 'sync'],
  emulator: ['domain'],
  cli: [
    'domain',
    'planning',
    'search-console',
    'postgres',
    'embedded-postgres',
    'sync',
    'watch',
    'report',
    'emulator',
  ],
  // The library's entry: names that hosts import, and nothing else.
  'index.ts': ['domain', 'machines', 'search-console', 'sync', 'watch'],
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
  expect(files).toContain('machines/coordinator/coordinator.ts');
  expect(edges).toContainEqual({
    file: 'actors/fetch-batch.ts',
    target: 'machines/batch-worker/batch-worker.ts',
    typeOnly: true,
  });
});

test('every import goes in a permitted direction', () => {
  const wrong = edges.filter(({ file, target }) => {
    const [from, to] = [areaOf(file), areaOf(target)];
    return from !== to && !(MAY_IMPORT[from] ?? []).includes(to);
  });
  expect(wrong).toEqual([]);
});

test('every room has its rule, every rule is needed, and only the entry stands outside the rooms', () => {
  expect(new Set(files.map(areaOf))).toEqual(new Set(Object.keys(MAY_IMPORT)));
  const needed = new Set(edges.map(({ file, target }) => `${areaOf(file)} → ${areaOf(target)}`));
  const idle = Object.entries(MAY_IMPORT).flatMap(([from, rooms]) =>
    rooms.map((to) => `${from} → ${to}`).filter((rule) => !needed.has(rule)),
  );
  expect(idle).toEqual([]);
});

test('a room imports only rooms above it in the list', () => {
  const order = Object.keys(MAY_IMPORT);
  const upwards = Object.entries(MAY_IMPORT).flatMap(([from, rooms]) =>
    rooms.filter((to) => order.indexOf(to) >= order.indexOf(from)).map((to) => `${from} → ${to}`),
  );
  expect(upwards).toEqual([]);
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
  expect(importers('got')).toEqual(['search-console/http/got-transport.ts']);
  expect(importers('postgres').filter((file) => !['postgres', 'internals'].includes(areaOf(file)))).toEqual(
    [],
  );
  expect(new Set(importers('xstate').map(areaOf))).toEqual(
    new Set(['internals', 'machines', 'actors', 'sync']),
  );
});
