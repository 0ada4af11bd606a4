/**
 * The system as one actor logic for `@xstate/graph`: the machines that run in production, everything around them abstract.
 *
 * ```ts
 * const model = createSystemModel({ workers: 2, slices: [2, 1] });
 * const paths = getShortestPaths(model.logic, model);
 * ```
 *
 * `createSharedModel({ properties: 2, userQuota: 2 })` has several such systems under one rate limiter.
 */
export type { AbstractCall, CallEnd } from './abstract-call.ts';
export type { AbstractDatabase, AbstractSlice, SliceEnd, SliceStatus } from './abstract-database.ts';
export type { AbstractPlan } from './abstract-plan.ts';
export type { ServerWindow, SettledTokens } from './abstract-server.ts';
export {
  type Explorable,
  type Exploration,
  type ExploreOptions,
  explore,
  type InvariantOf,
  pathOf,
  type Violation,
} from './explore.ts';
export { INVARIANTS, type Invariant } from './invariants.ts';
export { LEASE_INVARIANTS, type LeaseInvariant } from './lease-invariants.ts';
export { createLeaseModel, type LeaseModel } from './lease-model.ts';
export {
  DEFAULT_LEASE_OPTIONS,
  type LeaseModelOptions,
  type LeaseWorld,
  type LeaseWorldEvent,
  RARE_LEASE_KINDS,
  type RareLeaseKind,
} from './lease-world.ts';
export {
  DEFAULT_OPTIONS,
  type ModelOptions,
  RARE_KINDS,
  type RareKind,
  type Refusal,
  type Semantics,
} from './options.ts';
export { SHARED_INVARIANTS, type SharedInvariant } from './shared-invariants.ts';
export { createSharedModel, type SharedModel } from './shared-model.ts';
export {
  DEFAULT_SHARED_OPTIONS,
  type SharedEvent,
  type SharedOptions,
  type SharedWorld,
} from './shared-world.ts';
export { createSystemModel, type SystemModel } from './system-model.ts';
export { edgeTours } from './tours.ts';
export { describePath, describeSharedPath, findBroken, walk } from './trace.ts';
export type { Message } from './turn.ts';
export type { Broken, History, PageFate, Timer, World, WorldEvent } from './world.ts';
