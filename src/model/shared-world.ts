/**
 * Several properties under one limiter, each with its own run, plan, workers and part of the database. The limiter, its
 * timers and the server's window are part of each run's world, and equal in all.
 */
import { DEFAULT_OPTIONS, type ModelOptions, type Property } from './options.ts';
import { isEnd, type World, type WorldEvent } from './world.ts';

export interface SharedOptions extends ModelOptions {
  /** Number of runs under the limiter, all of the same size. */
  readonly properties: number;
  /**
   * Requests that the server accepts from the user per window, for all properties together; `quota` is per property.
   */
  readonly userQuota: number;
}

export const DEFAULT_SHARED_OPTIONS: SharedOptions = {
  ...DEFAULT_OPTIONS,
  workers: 1,
  slices: [1],
  refusals: ['qps', 'load', 'daily', 'userQps', 'userDaily'],
  properties: 2,
  userQuota: 2,
};

export interface SharedWorld {
  /** Required by an XState snapshot. The world itself never ends. */
  readonly status: 'active';
  readonly output: undefined;
  readonly error: undefined;
  /** Rare events are counted for all of them together. */
  readonly properties: readonly World[];
}

/** `of`: the letter of the property it happens to, or `all`. */
export type SharedEvent = WorldEvent & { readonly of: string };

export const ALL = 'all';
export const USER_SCOPE = 'user:u';
const LETTERS = 'abcdefgh';

export const letterOf = (index: number): string => LETTERS.charAt(index);
export const indexOf = ({ of }: SharedEvent): number => Math.max(0, LETTERS.indexOf(of));

/** The property at this index. */
export function propertyAt(index: number): Property {
  const letter = letterOf(index);
  return { prefix: `${letter}.`, runId: letter, scopes: [`site:${letter}`, USER_SCOPE] };
}

export const sharedWorldOf = (properties: readonly World[]): SharedWorld => ({
  status: 'active',
  output: undefined,
  error: undefined,
  properties,
});

/** All runs are over, and no messages are under way. */
export const isSharedEnd = ({ properties }: SharedWorld): boolean => properties.every(isEnd);
