// Holds invariants 1, 3, 4, 5, 6, 8, 12 of SPEC.md.
import { describe, expect, test } from 'vitest';
import { createSharedModel, describeSharedPath, explore, SHARED_INVARIANTS } from '../../src/model/index.ts';
import { SMALL_SHARED_SIZES } from './shared-sizes.ts';

// A busy machine is no fault of the model's.
describe('every state of the small worlds with two properties', { timeout: 300_000 }, () => {
  const evaluated = SHARED_INVARIANTS.map(() => 0);

  test.each(SMALL_SHARED_SIZES)('$name', ({ shared }) => {
    const model = createSharedModel(shared);
    const { violation, finished, ends, evaluations } = explore(model);
    if (violation !== undefined) {
      expect.fail(`${violation.name}: ${violation.what}\n${describeSharedPath(model, violation.path)}`);
    }
    expect(finished).toBe(true);
    expect(ends).toBeGreaterThan(0);
    for (const [index, { states }] of evaluations.entries())
      evaluated[index] = (evaluated[index] ?? 0) + states;
  });

  test('no invariant goes unasked', () => {
    expect(SHARED_INVARIANTS.filter((_, index) => evaluated[index] === 0).map(({ name }) => name)).toEqual(
      [],
    );
  });
});
