import { defineConfig } from 'vitest/config';
import { hasTag, testFiles } from './test/support/projects.ts';
import { TAGS } from './test/support/tags.ts';

/** `quick` is for `npm test`, `full` for `npm run test:long`. Which tests of a file run is said by their tags. */
export function testConfig(size: 'quick' | 'full') {
  const files = testFiles();
  // A file without a tag has nothing for the long run.
  const included = (paths: readonly string[]) => paths.filter((path) => size === 'quick' || hasTag(path));
  return defineConfig({
    test: {
      testTimeout: 60_000,
      hookTimeout: 120_000,
      pool: 'forks',
      tags: TAGS,
      provide: { size },
      projects: [
        {
          extends: true,
          test: {
            name: 'unit',
            include: included(files.unit),
            setupFiles: ['test/support/unit-setup.ts'],
            maxWorkers: 2,
          },
        },
        {
          extends: true,
          test: {
            name: 'system',
            include: included(files.system),
            globalSetup: ['test/support/global-setup.ts'],
            maxWorkers: 2,
          },
        },
      ],
    },
  });
}

export default testConfig('quick');
