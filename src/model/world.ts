/**
 * The state of the composed system: every machine's snapshot, messages under way, timers, calls, the plan, the database
 * and the server's window. A record of what happened is kept for the invariants.
 */

import type { AnyEventObject } from 'xstate';
import type { Address } from '../internals/xstate.ts';
import type {
  BatchWorkerSnapshot,
  CoordinatorSnapshot,
  RateLimiterSnapshot,
  ReapInput,
  WorkerSlot,
} from '../machines/index.ts';
import type { AbstractCall, CallEnd } from './abstract-call.ts';
import type { AbstractDatabase, SliceEnd } from './abstract-database.ts';
import type { AbstractPlan } from './abstract-plan.ts';
import type { ServerWindow } from './abstract-server.ts';
import type { RareKind, Refusal } from './options.ts';

export interface World {
  /** Required by an XState snapshot. The world itself never ends. */
  readonly status: 'active';
  readonly output: undefined;
  readonly error: undefined;

  readonly coordinator: CoordinatorSnapshot;
  readonly limiter: RateLimiterSnapshot;
  /** By ID. A crashed worker is not among them. */
  readonly workers: Readonly<Record<string, BatchWorkerSnapshot>>;
  /** Messages sent and not delivered, by channel: `w0>limiter`. Empty in `sync` semantics. */
  readonly channels: Readonly<Record<string, readonly AnyEventObject[]>>;
  /** Oldest first. */
  readonly timers: readonly Timer[];
  /** Calls under way, by worker. */
  readonly calls: Readonly<Record<string, AbstractCall>>;
  readonly plan: AbstractPlan;
  readonly probing: boolean;
  /** Input of the reapers under way, by worker. */
  readonly reapers: Readonly<Record<string, ReapInput>>;
  readonly database: AbstractDatabase;
  readonly server: ServerWindow;
  readonly history: History;
}

/** A world under construction. */
export type Draft = { -readonly [K in keyof World]: World[K] };

export interface Timer {
  readonly owner: Address;
  /** Unique per owner, except for timers that differ only in when they were set: these fire in that order. */
  readonly name: string;
  readonly event: AnyEventObject;
  readonly delayMs: number;
  /** How many entries of the server's window had settled when it was set. */
  readonly settledBefore: number;
}

/** What the coordinator knows of a page: it is due, or done. */
export type PageFate = 'due' | 'committed' | 'failed';

export interface History {
  /** How often each rare event has happened. */
  readonly rare: Readonly<Partial<Record<RareKind, number>>>;
  readonly haltAsked: boolean;
  /** By page, `slice/startRow`. */
  readonly pages: Readonly<Record<string, PageFate>>;
  /** Pages that were read but not accepted by the database: Google need not be asked for them again. */
  readonly read: readonly string[];
  /** Invariants that were broken. */
  readonly broken: readonly Broken[];
}

export interface Broken {
  /** The invariant's number. */
  readonly invariant: number;
  readonly what: string;
}

/** Possible next events. They are plain data, so a path can be written down and replayed. */
export type WorldEvent =
  | { readonly type: 'deliver'; readonly channel: string }
  | { readonly type: 'timer'; readonly owner: Address; readonly timer: string }
  | {
      readonly type: 'call.commits';
      readonly worker: string;
      readonly sliceId: string;
      readonly startRow: number;
      readonly end: SliceEnd;
    }
  | {
      readonly type: 'call.pageFails';
      readonly worker: string;
      readonly sliceId: string;
      readonly startRow: number;
    }
  | {
      readonly type: 'call.refuses';
      readonly worker: string;
      readonly sliceId: string;
      readonly startRow: number;
      readonly quota: Refusal;
    }
  /** The database does not accept a page that was read. `landed`: its COMMIT succeeded, but the answer was lost. */
  | {
      readonly type: 'call.stalls';
      readonly worker: string;
      readonly sliceId: string;
      readonly startRow: number;
      readonly landed: boolean;
    }
  | { readonly type: 'call.ends'; readonly worker: string; readonly how: CallEnd }
  | { readonly type: 'plan.answers'; readonly how: 'supplied' | 'databaseAway' | 'fatal' }
  | { readonly type: 'probe.answers'; readonly how: 'back' | 'away' }
  | { readonly type: 'reaper.ends'; readonly worker: string; readonly how: 'done' | 'failed' }
  | { readonly type: 'pause' | 'resume' | 'halt' | 'fail' }
  | { readonly type: 'concurrency'; readonly maxConcurrency: number }
  | { readonly type: 'worker.crashes'; readonly worker: string }
  | { readonly type: 'process.crashes' };

/** Whether a slot's worker has work, or has left some behind. */
export const isAtWork = ({ status }: Pick<WorkerSlot, 'status'>): boolean =>
  status === 'busy' || status === 'stalled' || status === 'retrying' || status === 'reaping';

export const pageKey = ({ sliceId, startRow }: { sliceId: string; startRow: number }): string =>
  `${sliceId}/${startRow}`;

export const channelName = (from: Address, to: Address): string => `${from}>${to}`;
export const receiverOf = (channel: string): Address => channel.slice(channel.indexOf('>') + 1);

/** The run is over, and no messages are under way. */
export function isEnd(world: World): boolean {
  return world.coordinator.status !== 'active' && Object.keys(world.channels).length === 0;
}

/** A record with one entry changed or removed. */
export function withEntry<V>(
  record: Readonly<Record<string, V>>,
  key: string,
  value: V | undefined,
): Readonly<Record<string, V>> {
  const { [key]: _, ...rest } = record;
  return value === undefined ? rest : { ...rest, [key]: value };
}
