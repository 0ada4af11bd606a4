/** How much a test does that could go on for ever: seeds, runs of a property, rounds. */
import { inject } from 'vitest';

declare module 'vitest' {
  interface ProvidedContext {
    /** `full` in `npm run test:long`. */
    readonly size: 'quick' | 'full';
  }
  interface TestTags {
    readonly tags: 'long' | 'sized';
  }
}

/** A number for `npm test`, and the larger one for `npm run test:long`, which runs every test with the tag `sized`. */
export function sized(quick: number, full: number): number {
  return inject('size') === 'full' ? full : quick;
}
