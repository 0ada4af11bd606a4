/**
 * The whole system as one actor logic: coordinator, workers and rate limiter, the machines that run in production, and
 * abstract stand-ins for what they talk to. Nothing runs; `transition` takes a world and an event and gives the next world.
 */

import type { ActorLogic } from 'xstate';
import { type Given, withDefaults } from '../domain/options.ts';
import { AssignmentIds } from './assignment-ids.ts';
import { possibleEvents, rareKindOf } from './events.ts';
import { INVARIANTS, type Invariant } from './invariants.ts';
import { DEFAULT_OPTIONS, type ModelOptions } from './options.ts';
import { stateKey } from './state-key.ts';
import { StepMemory } from './step-memory.ts';
import { initialWorld, nextWorld } from './transition.ts';
import type { Message } from './turn.ts';
import type { World, WorldEvent } from './world.ts';

export interface SystemModel {
  readonly options: ModelOptions;
  /** Hand it to `@xstate/graph`: `new TestModel(model.logic, model)`, `getShortestPaths(model.logic, model)`. */
  readonly logic: ActorLogic<World, WorldEvent, undefined>;
  /** What may happen next; empty in an end state. */
  readonly events: (world: World) => WorldEvent[];
  /** Equal for worlds that are the same, within one model. */
  readonly serializeState: (world: World) => string;
  readonly invariants: readonly Invariant[];
  /**
   * Whether a run may count on this to come to its end: nothing rare, and no deadline, which would hide a worker that
   * never says it has halted, or finished.
   */
  readonly isEveryday: (event: WorldEvent) => boolean;
  /** What is said while this event is carried out, in that order. */
  readonly messages: (world: World, event: WorldEvent) => readonly Message[];
}

export function createSystemModel(given: Given<ModelOptions> = {}): SystemModel {
  const options = withDefaults(DEFAULT_OPTIONS, given);
  const memory = new StepMemory();
  const ids = new AssignmentIds(memory);
  return {
    options,
    logic: {
      getInitialSnapshot: () => ids.renumber(initialWorld(options, memory)),
      transition: (world, event) => ids.renumber(nextWorld(world, event, options, memory)),
      getPersistedSnapshot: (world) => world,
    },
    events: (world) => [...possibleEvents(world, options)],
    serializeState: (world) => stateKey(world, options, memory),
    invariants: INVARIANTS,
    isEveryday: (event) => rareKindOf(event) === undefined && !isDeadline(event),
    messages: (world, event) => {
      const messages: Message[] = [];
      nextWorld(world, event, options, memory, (message) => messages.push(message));
      return messages;
    },
  };
}

const isDeadline = (event: WorldEvent): boolean =>
  event.type === 'timer' && event.owner === 'coordinator' && /(?:halt|finish)Deadline/.test(event.timer);
