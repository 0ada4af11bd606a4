/**
 * Several properties under one limiter: each a run of its own with its plan, its workers and its part of the database. The
 * limiter, its timers and the server's window stand in the world of each, and are the same in all.
 */
import { DEFAULT_OPTIONS, type ModelOptions, type Property } from './options.ts';
import { isEnd, type World, type WorldEvent } from './world.ts';

export interface SharedOptions extends ModelOptions {
  /** Runs under the limiter, each of the same size. */
  readonly properties: number;
  /** Requests that the server takes of the user in a window, whatever property they are for; `quota` is a property's. */
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
  /** The three of an XState snapshot: the world itself never ends. */
  readonly status: 'active';
  readonly output: undefined;
  readonly error: undefined;
  /** Something rare counts for all of them. */
  readonly properties: readonly World[];
}

/** `of`: the letter of the property that it happens to, or `all`. */
export type SharedEvent = WorldEvent & { readonly of: string };

export const ALL = 'all';
export const USER_SCOPE = 'user:u';
const LETTERS = 'abcdefgh';

export const letterOf = (index: number): string => LETTERS.charAt(index);
export const indexOf = ({ of }: SharedEvent): number => Math.max(0, LETTERS.indexOf(of));

/** The property that stands at this place. */
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

/** All runs are over, and nobody has anything to say to anybody. */
export const isSharedEnd = ({ properties }: SharedWorld): boolean => properties.every(isEnd);
