/**
 * Walks the small sizes, one after the other, up to the first that breaks an invariant. Prints what broke, as JSON.
 *
 *   node test/model/judge.ts [system | leases]
 */
import {
  createLeaseModel,
  createSharedModel,
  createSystemModel,
  type Exploration,
  explore,
} from '../../src/model/index.ts';
import { SMALL_LEASE_SIZES } from './lease-sizes.ts';
import { SMALL_SHARED_SIZES } from './shared-sizes.ts';
import { SMALL_SIZES } from './sizes.ts';

export interface Verdict {
  readonly size: string;
  readonly invariant: number;
  readonly what: string;
  readonly steps: number;
}

/** A machine that throws while it is born, or that loops for ever, never gets as far as a verdict. */
function judge(which: string | undefined): Verdict | null {
  for (const [name, walk] of walksOf(which)) {
    const { violation, finished } = walk();
    if (violation !== undefined) {
      const { invariant, what, path } = violation;
      return { size: name, invariant, what, steps: path.length };
    }
    if (!finished) return { size: name, invariant: 8, what: 'its states have no end', steps: 0 };
  }
  return null;
}

type Walk = () => Pick<Exploration<object>, 'violation' | 'finished'>;

function walksOf(which: string | undefined): readonly (readonly [name: string, walk: Walk])[] {
  const limits = { maxStates: 400_000 };
  const system = SMALL_SIZES.map(
    ({ name, options }) => [name, () => explore(createSystemModel(options), limits)] as const,
  );
  const shared = SMALL_SHARED_SIZES.map(
    ({ name, shared: options }) => [name, () => explore(createSharedModel(options), limits)] as const,
  );
  const leases = SMALL_LEASE_SIZES.map(
    ({ name, leases: options }) => [name, () => explore(createLeaseModel(options), limits)] as const,
  );
  return [...(which === 'leases' ? [] : [...system, ...shared]), ...(which === 'system' ? [] : leases)];
}

console.log(JSON.stringify(judge(process.argv[2])));
