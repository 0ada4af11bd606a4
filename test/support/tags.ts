import type { TestTagDefinition } from 'vitest/config';

/** What a test can be marked with: a whole file by `@module-tag` in a comment, a test or a group by its option `tags`. */
export const TAGS: TestTagDefinition[] = [
  { name: 'long', description: 'Takes long: `npm run test:long` runs it, `npm test` does not.' },
  { name: 'sized', description: '`npm run test:long` runs it as well, at its full size.' },
];
