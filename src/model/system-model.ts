/**
 * The whole system as one actor logic: the production machines (coordinator, workers and rate limiter) with abstract
 * stand-ins for what they talk to. Nothing runs: `transition` takes a world and an event and returns the next world.
 */

import { type Given, withDefaults } from '../domain/options.ts';
import { AssignmentIds } from './assignment-ids.ts';
import { possibleEvents, rareKindOf } from './events.ts';
import type { Explorable } from './explore.ts';
import { INVARIANTS } from './invariants.ts';
import { DEFAULT_OPTIONS, type ModelOptions } from './options.ts';
import { stateKey } from './state-key.ts';
import { StepMemory } from './step-memory.ts';
import { initialWorld, nextWorld } from './transition.ts';
import type { Message } from './turn.ts';
import { isEnd, type World, type WorldEvent } from './world.ts';

export interface SystemModel extends Explorable<World, WorldEvent, ModelOptions> {
  /**
   * Whether a run may rely on this event to come to its end. Excludes rare events and the deadline of a halt, which
   * would hide a worker that never reports its halt.
   */
  readonly isEveryday: (event: WorldEvent) => boolean;
  /** The messages sent during this event, in order. */
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
    isEnd,
    messages: (world, event) => {
      const messages: Message[] = [];
      nextWorld(world, event, options, memory, (message) => messages.push(message));
      return messages;
    },
  };
}

export const isDeadline = (event: WorldEvent): boolean =>
  event.type === 'timer' && event.owner === 'coordinator' && /(?:halt|finish)Deadline/.test(event.timer);
