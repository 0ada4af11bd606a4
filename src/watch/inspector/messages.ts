/**
 * The messages of Stately's inspector, as `@statelyai/inspect` defines them. They are JSON: no references, no functions.
 * @see https://github.com/statelyai/inspect
 */

/** The version of `@statelyai/inspect` whose messages these are. */
export const PROTOCOL_VERSION = '0.7.2';

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

export interface SlimEvent {
  readonly type: string;
  readonly [key: string]: Json;
}

export interface SlimSnapshot {
  readonly status: 'active' | 'done' | 'error' | 'stopped';
  readonly value?: Json;
  readonly context?: { readonly [key: string]: Json };
}

interface Base {
  /** Of the root of the actor's system. */
  readonly rootId: string;
  readonly sessionId: string;
  /** Milliseconds since 1970, as text. */
  readonly createdAt: string;
  readonly id: string;
  readonly _version: string;
}

export interface ActorMessage extends Base {
  readonly type: '@xstate.actor';
  readonly name: string;
  readonly parentId: string | undefined;
  /** The machine's definition, as JSON. */
  readonly definition: string | undefined;
  readonly snapshot: SlimSnapshot;
}

export interface EventMessage extends Base {
  readonly type: '@xstate.event';
  readonly event: SlimEvent;
  /** Whoever sent it; undefined for a host. */
  readonly sourceId: string | undefined;
}

export interface SnapshotMessage extends Base {
  readonly type: '@xstate.snapshot';
  /** The last event before it. `skipped` counts events of this actor that were not shown. */
  readonly event: SlimEvent;
  readonly snapshot: SlimSnapshot;
}

export type InspectorMessage = ActorMessage | EventMessage | SnapshotMessage;
