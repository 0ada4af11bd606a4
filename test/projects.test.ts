import { expect, test } from 'vitest';
import { importsOf } from './support/imports.ts';
import { hasTag, projectOf, testFiles } from './support/projects.ts';

const { unit, system } = testFiles();

/** A project of files that load this: paths under the repository, and packages. */
const inFilesThatLoad = (loads: Readonly<Record<string, readonly string[]>>) =>
  projectOf('test/some.test.ts', (path) => loads[path] ?? []);

test('every test file is in one of the two projects', () => {
  expect(new Set([...unit, ...system]).size).toBe(unit.length + system.length);
  expect(unit).toContain('test/projects.test.ts');
  expect(system).toContain('test/integration/kill.test.ts');
});

test('a file is in system when it starts processes, by whatever helper', () => {
  expect(inFilesThatLoad({ 'test/some.test.ts': ['vitest', 'src/sync.ts'] })).toBe('unit');
  expect(inFilesThatLoad({ 'test/some.test.ts': ['node:child_process'] })).toBe('system');
  expect(
    inFilesThatLoad({
      'test/some.test.ts': ['test/support/a.ts'],
      'test/support/a.ts': ['test/support/b.ts'],
      'test/support/b.ts': ['test/support/a.ts', 'node:child_process'],
    }),
  ).toBe('system');
});

test('a source that starts processes counts when a test loads it, not when the library does', () => {
  const server = { 'src/server.ts': ['node:child_process'], 'src/sync.ts': ['src/server.ts'] };
  expect(inFilesThatLoad({ ...server, 'test/some.test.ts': ['src/server.ts'] })).toBe('system');
  expect(inFilesThatLoad({ ...server, 'test/some.test.ts': ['src/sync.ts'] })).toBe('unit');
});

test('whoever has the helper of the shared server is in system', () => {
  expect(projectOf('test/support/postgres.ts')).toBe('system');
  expect(projectOf('test/support/embedded.ts')).toBe('system');
});

test('a test with a size has the tag that makes the long run take it', () => {
  for (const path of [...unit, ...system]) {
    const isSized = importsOf(new URL(`../${path}`, import.meta.url)).some(({ path: target }) =>
      target.endsWith('/support/size.ts'),
    );
    if (isSized) expect(hasTag(path), path).toBe(true);
  }
});
