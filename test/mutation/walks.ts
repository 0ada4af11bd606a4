/** The small worlds, as far as they are walked to find a fault. */
import {
  createLeaseModel,
  createSharedModel,
  createSystemModel,
  type Exploration,
  explore,
} from '../../src/model/index.ts';
import { SMALL_LEASE_SIZES } from '../model/lease-sizes.ts';
import { SMALL_SHARED_SIZES } from '../model/shared-sizes.ts';
import { SMALL_SIZES } from '../model/sizes.ts';

export type ModelName = 'system' | 'leases';

/** States of each small world where nothing is wrong. */
export type WalkSizes = Readonly<Record<string, number>>;

export interface Finding {
  /** Which check. */
  readonly by: string;
  readonly detail: string;
}

interface Walk {
  readonly name: string;
  readonly walk: (maxStates: number) => Pick<Exploration<object>, 'states' | 'violation' | 'finished'>;
}

function walksOf(model: ModelName): readonly Walk[] {
  const alone = SMALL_SIZES.map(
    ({ name, options }): Walk => ({
      name,
      walk: (maxStates) => explore(createSystemModel(options), { maxStates }),
    }),
  );
  const shared = SMALL_SHARED_SIZES.map(
    ({ name, shared: options }): Walk => ({
      name,
      walk: (maxStates) => explore(createSharedModel(options), { maxStates }),
    }),
  );
  const leases = SMALL_LEASE_SIZES.map(
    ({ name, leases: options }): Walk => ({
      name,
      walk: (maxStates) => explore(createLeaseModel(options), { maxStates }),
    }),
  );
  return model === 'leases' ? leases : [...alone, ...shared];
}

/** Walks every small world whole. Throws where something is wrong: whoever looks for faults must begin without any. */
export function measureWalks(model: ModelName): WalkSizes {
  const sizes = walksOf(model).map(({ name, walk }) => {
    const { states, violation } = walk(Number.POSITIVE_INFINITY);
    if (violation !== undefined) throw new Error(`the machines as they are fail: ${name}: ${violation.what}`);
    return [name, states] as const;
  });
  return Object.fromEntries(sizes);
}

/** How much larger than it should be a world may get. That it grows is no fault by itself: others will look further. */
const MOST_GROWTH = 2;

/** Walks the worlds, the small ones first, up to the first that breaks an invariant. */
export function findByWalking(model: ModelName, sizes: WalkSizes): Finding | undefined {
  const sizeOf = ({ name }: Walk): number => sizes[name] ?? 0;
  for (const walk of walksOf(model).toSorted((a, b) => sizeOf(a) - sizeOf(b))) {
    const { violation } = walk.walk(MOST_GROWTH * sizeOf(walk));
    if (violation === undefined) continue;
    const { invariant, what, path } = violation;
    return { by: `invariant ${invariant}`, detail: `${what} (${path.length} steps, ${walk.name})` };
  }
  return undefined;
}
