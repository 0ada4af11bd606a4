/** Invariants for several runs on one limiter: all invariants of a single run, and those between runs. */
import { countTokens } from './abstract-server.ts';
import type { InvariantOf } from './explore.ts';
import {
  brokenOnTheWay,
  INVARIANTS_OF_A_RUN,
  INVARIANTS_OF_THE_LIMITER,
  type Invariant,
} from './invariants.ts';
import { letterOf, propertyAt, type SharedOptions, type SharedWorld } from './shared-world.ts';
import { isOf, SHARING, siteOf, speaksOf } from './sharing.ts';
import { isEnd, type World } from './world.ts';

export type SharedInvariant = InvariantOf<SharedWorld, SharedOptions>;

/** Checked for every run by itself, with its own part of the limiter and the server. */
const ofEach = ({ number, name, applies, check }: Invariant): SharedInvariant => {
  const isAsked = (world: World, options: SharedOptions): boolean => applies?.(world, options) !== false;
  return {
    number,
    name,
    applies: (world, options) => partsOf(world).some((part) => isAsked(part, options)),
    check: (world, options) => {
      for (const [index, part] of partsOf(world).entries()) {
        const what = isAsked(part, options) ? check(part, options) : undefined;
        if (what !== undefined) return `${letterOf(index)}: ${what}`;
      }
      return undefined;
    },
  };
};

/** The limiter is the same in all of them. */
const ofTheLimiter = ({ number, name, applies, check }: Invariant): SharedInvariant => ({
  number,
  name,
  applies: ({ properties: [first] }, options) => first !== undefined && applies?.(first, options) !== false,
  check: ({ properties: [first] }, options) => first && check(first, options),
});

export const SHARED_INVARIANTS: readonly SharedInvariant[] = [
  ...INVARIANTS_OF_A_RUN.map(ofEach),
  ...INVARIANTS_OF_THE_LIMITER.map(ofTheLimiter),
  {
    number: 3,
    name: 'no window at the server holds more than the user’s budget, whichever run sent the requests',
    check: ({ properties }, { userQuota }) => {
      const underWay = properties
        .flatMap(({ calls }) => Object.values(calls))
        .reduce((sum, { unsettled }) => sum + unsettled, 0);
      const counted = underWay + countTokens(properties[0]?.server ?? []);
      return counted > userQuota ? `${counted} requests may count in one window of ${userQuota}` : undefined;
    },
  },
  ofEach(brokenOnTheWay(SHARING, 'events of one run take no lease, request, rest or limit from another')),
  {
    number: SHARING,
    name: 'the limiter keeps nothing of an ended property except what still counts',
    applies: ({ properties }) => properties.some(isEnd),
    check: ({ properties }) => {
      for (const [index, world] of properties.entries()) {
        const property = propertyAt(index);
        if (!isEnd(world) || hasTimers(world, index)) continue;
        const { budgets, conditions, leases, queue } = world.limiter.context;
        const site = siteOf(property);
        // Without a return message (a grant that crossed its cancel), a lease stays and is counted.
        if ([...leases.values()].some(({ leaseId }) => isOf(leaseId, property))) continue;
        if (queue.some(({ requestId }) => isOf(requestId, property))) return `${site} still waits`;
        if (budgets.get(site) !== undefined) return `the budget of ${site} is kept`;
        if (conditions.get(site) !== undefined) return `the refusals of ${site} are kept`;
      }
      return undefined;
    },
  },
];

const hasTimers = ({ timers }: World, index: number): boolean =>
  timers.some(({ owner, event }) => owner === 'limiter' && speaksOf(event, propertyAt(index)));

const parts = new WeakMap<SharedWorld, readonly World[]>();

/** Each run's world without the leases, requests and tokens of other runs. */
function partsOf(world: SharedWorld): readonly World[] {
  const known = parts.get(world);
  if (known !== undefined) return known;
  const own = world.properties.map((whole, index) => partOf(whole, index));
  parts.set(world, own);
  return own;
}

function partOf(world: World, index: number): World {
  const property = propertyAt(index);
  const { limiter, server } = world;
  const { context } = limiter;
  const others = [...context.leases.values()].filter(({ leaseId }) => !isOf(leaseId, property));
  const leases = others.reduce((left, { leaseId }) => left.without(leaseId), context.leases);
  const queue = context.queue.filter(({ requestId }) => isOf(requestId, property));
  return {
    ...world,
    limiter: { ...limiter, context: { ...context, leases, queue } },
    server: server.filter(({ runId }) => runId === property.runId),
  };
}
