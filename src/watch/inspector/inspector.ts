/**
 * Lets a person watch the machines of a run, in Stately's inspector or a page of one's own, at next to no cost for the run.
 *
 * XState calls `inspect` in the middle of every step. All that is done there is to keep a reference to the newest snapshot. A
 * few times a second what has changed is made small and becomes a message. Nobody connected: nothing is made at all.
 */
import type { AnyStateMachine, InspectionEvent } from 'xstate';
import { type Clock, systemClock } from '../../domain/clock.ts';
import { LongtailError } from '../../domain/errors.ts';
import { wordsOf } from '../../domain/words.ts';
import { sliceIn } from '../../sync/slice-names.ts';
import { definitionOf } from './definition.ts';
import {
  type ActorMessage,
  type InspectorMessage,
  type Json,
  PROTOCOL_VERSION,
  type SlimEvent,
  type SlimSnapshot,
} from './messages.ts';
import { type NameOf, slim, slimRecord } from './slim.ts';

export interface InspectorOptions {
  /**
   * How often a machine's state is shown at most, in milliseconds, 20 to 60,000.
   * @default 250
   */
  readonly everyMs?: number | undefined;
  /**
   * Events of one machine that are shown in that time, 0 to 1,000. The others are counted.
   * @default 4
   */
  readonly eventsEach?: number | undefined;
}

/** Gets the messages of the machines. One that throws is removed, and a process warning reports it. */
export type Watcher = (message: InspectorMessage) => void;

/** Created by {@link createInspector}. */
export interface Inspector {
  /** Pass it as `inspect` to `createSync` and `createRateLimiter`. It may serve any number of them. */
  readonly inspect: (event: InspectionEvent) => void;
  /** From now on the watcher gets all messages, first those that describe the machines there are. Returns what ends it. */
  watch(watcher: Watcher): () => void;
  /** Ends it: nothing is watched or kept any more. */
  close(): void;
}

const LIMITS = { everyMs: [20, 60_000, 250], eventsEach: [0, 1_000, 4] } as const;
/** Machines beyond are not shown: forty properties at 64 calls each are fewer. */
const MAX_ACTORS = 4_000;

interface Watched {
  readonly about: Omit<ActorMessage, 'snapshot' | 'createdAt'>;
  readonly nameOf: NameOf;
  readonly snapshotNow: () => unknown;
  latest: unknown;
  lastEvent: string;
  shown: number;
  skipped: number;
}

/**
 * Creates an inspector for `SyncOptions.inspect`.
 * @example
 * const inspector = createInspector();
 * const bridge = await serveInspector(inspector);
 * console.log(bridge.url); // ws://127.0.0.1:…
 * await using sync = createSync({ siteUrl, inspect: inspector.inspect });
 * @throws LongtailError `BAD_OPTION`.
 */
export function createInspector(options: InspectorOptions = {}, clock: Clock = systemClock): Inspector {
  const everyMs = whole('everyMs', options.everyMs);
  const eventsEach = whole('eventsEach', options.eventsEach);
  const actors = new Map<string, Watched>();
  const changed = new Set<Watched>();
  const watchers = new Set<Watcher>();
  let timer: unknown;
  let serial = 0;

  const stamp = (): { readonly id: string; readonly createdAt: string } => {
    serial += 1;
    return { id: String(serial), createdAt: String(clock.now()) };
  };
  const tell = (watcher: Watcher, message: InspectorMessage): void => {
    try {
      watcher(message);
    } catch (error) {
      // Or it would stop an actor, or end the process out of a timer.
      watchers.delete(watcher);
      process.emitWarning(`A watcher failed and is removed: ${wordsOf(error)}`, 'LongtailInspectWarning');
    }
  };
  const send = (message: InspectorMessage): void => {
    for (const watcher of watchers) tell(watcher, message);
  };
  const flush = (): void => {
    timer = undefined;
    for (const actor of changed) {
      const { about, lastEvent, skipped } = actor;
      const snapshot = slimSnapshot(actor.latest, actor.nameOf);
      const { rootId, sessionId, _version } = about;
      const event: SlimEvent = { type: lastEvent, ...(skipped === 0 ? {} : { skipped }) };
      send({ type: '@xstate.snapshot', rootId, sessionId, _version, ...stamp(), event, snapshot });
      if (snapshot.status !== 'active') actors.delete(sessionId);
      // What is kept would keep a whole run alive.
      actor.latest = undefined;
      actor.shown = 0;
      actor.skipped = 0;
    }
    changed.clear();
  };
  const change = (actor: Watched): void => {
    changed.add(actor);
    timer ??= clock.setTimeout(flush, everyMs);
  };
  const describe = ({ about, nameOf, snapshotNow }: Watched): ActorMessage => ({
    ...about,
    ...stamp(),
    snapshot: slimSnapshot(snapshotNow(), nameOf),
  });

  return {
    inspect(event) {
      const { actorRef } = event;
      const { sessionId } = actorRef;
      switch (event.type) {
        case '@xstate.actor': {
          const machine = machineOf(actorRef);
          // Calls and other work are states of the machine that invokes them.
          if (machine === undefined || actors.size >= MAX_ACTORS) return;
          const watched = watchedOf(event.rootId, actorRef, machine);
          actors.set(sessionId, watched);
          // Its first state follows: it has none yet.
          if (watchers.size > 0) send({ ...watched.about, ...stamp(), snapshot: { status: 'active' } });
          return;
        }
        case '@xstate.snapshot': {
          const actor = actors.get(sessionId);
          if (actor === undefined) return;
          if (watchers.size === 0) {
            if (event.snapshot.status !== 'active') actors.delete(sessionId);
            return;
          }
          actor.latest = event.snapshot;
          actor.lastEvent = event.event.type;
          change(actor);
          return;
        }
        case '@xstate.event': {
          const actor = watchers.size === 0 ? undefined : actors.get(sessionId);
          if (actor === undefined) return;
          if (actor.shown >= eventsEach) {
            actor.skipped += 1;
            return;
          }
          actor.shown += 1;
          const { rootId, _version } = actor.about;
          const told: SlimEvent = { ...slimRecord(event.event, actor.nameOf), type: event.event.type };
          const sourceId = event.sourceRef?.sessionId;
          send({ type: '@xstate.event', rootId, sessionId, _version, ...stamp(), event: told, sourceId });
        }
      }
    },
    watch(watcher) {
      watchers.add(watcher);
      for (const actor of actors.values()) tell(watcher, describe(actor));
      return () => {
        watchers.delete(watcher);
        if (watchers.size > 0) return;
        for (const actor of changed) actor.latest = undefined;
        changed.clear();
      };
    },
    close() {
      clock.clearTimeout(timer);
      watchers.clear();
      changed.clear();
      actors.clear();
    },
  };
}

type ActorRef = InspectionEvent['actorRef'];

function watchedOf(rootId: string, actorRef: ActorRef, machine: AnyStateMachine): Watched {
  const system = 'system' in actorRef && typeof actorRef.system === 'object' ? actorRef.system : null;
  const id = 'id' in actorRef && typeof actorRef.id === 'string' ? actorRef.id : actorRef.sessionId;
  const parent = '_parent' in actorRef ? actorRef._parent : undefined;
  const parentId =
    typeof parent === 'object' &&
    parent !== null &&
    'sessionId' in parent &&
    typeof parent.sessionId === 'string'
      ? parent.sessionId
      : undefined;
  return {
    about: {
      type: '@xstate.actor',
      rootId,
      sessionId: actorRef.sessionId,
      id: '',
      _version: PROTOCOL_VERSION,
      // A root has no name of its own.
      name: id === actorRef.sessionId ? machine.id : id,
      parentId,
      definition: definitionOf(machine),
    },
    nameOf: (sliceId) => (system === null ? undefined : sliceIn(system, sliceId)),
    snapshotNow: () => actorRef.getSnapshot(),
    latest: undefined,
    lastEvent: '',
    shown: 0,
    skipped: 0,
  };
}

function machineOf(actorRef: ActorRef): AnyStateMachine | undefined {
  const logic = 'logic' in actorRef ? actorRef.logic : undefined;
  return isMachine(logic) ? logic : undefined;
}

const isMachine = (logic: unknown): logic is AnyStateMachine =>
  typeof logic === 'object' && logic !== null && 'config' in logic && 'root' in logic;

const STATUSES = ['active', 'done', 'error', 'stopped'] as const;

function slimSnapshot(snapshot: unknown, nameOf: NameOf): SlimSnapshot {
  if (typeof snapshot !== 'object' || snapshot === null) return { status: 'active' };
  const status = 'status' in snapshot ? STATUSES.find((known) => known === snapshot.status) : undefined;
  const value: Json | undefined = 'value' in snapshot ? slim(snapshot.value, nameOf) : undefined;
  const context = 'context' in snapshot ? slimRecord(withoutInput(snapshot.context), nameOf) : undefined;
  return {
    status: status ?? 'active',
    ...(value === undefined ? {} : { value }),
    ...(context === undefined ? {} : { context }),
  };
}

/** What a machine was given never changes, and is mostly settings. */
function withoutInput(context: unknown): unknown {
  if (typeof context !== 'object' || context === null) return context;
  return Object.fromEntries(Object.entries(context).filter(([key]) => key !== 'input'));
}

function whole(name: keyof typeof LIMITS, value: number | undefined): number {
  const [min, max, usual] = LIMITS[name];
  if (value === undefined) return usual;
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new LongtailError(
    'BAD_OPTION',
    `${name} is a whole number from ${min} to ${max}.`,
    `Leave it out for ${usual}; it was given ${String(value)}.`,
  );
}
