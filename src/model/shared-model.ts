/**
 * Several properties under one rate limiter, as one actor logic. Each has its own coordinator, plan, workers and part
 * of the database, as in {@link createSystemModel}. The one limiter knows each property's budget and the user's.
 */
import { type Given, withDefaults } from '../domain/options.ts';
import { AssignmentIds } from './assignment-ids.ts';
import { rareKindOf } from './events.ts';
import type { Explorable } from './explore.ts';
import { possibleSharedEvents } from './shared-events.ts';
import { SHARED_INVARIANTS } from './shared-invariants.ts';
import { initialSharedWorld, nextSharedWorld } from './shared-transition.ts';
import {
  DEFAULT_SHARED_OPTIONS,
  isSharedEnd,
  propertyAt,
  type SharedEvent,
  type SharedOptions,
  type SharedWorld,
  sharedWorldOf,
} from './shared-world.ts';
import { stateKey } from './state-key.ts';
import { StepMemory } from './step-memory.ts';
import { isDeadline } from './system-model.ts';
import type { Message } from './turn.ts';

export interface SharedModel extends Explorable<SharedWorld, SharedEvent, SharedOptions> {
  /** The messages sent during this event, in order. */
  readonly messages: (world: SharedWorld, event: SharedEvent) => readonly Message[];
}

export function createSharedModel(given: Given<SharedOptions> = {}): SharedModel {
  const options = withDefaults(DEFAULT_SHARED_OPTIONS, given);
  const memory = new StepMemory();
  const ids = Array.from({ length: options.properties }, (_, index) => {
    return new AssignmentIds(memory, propertyAt(index));
  });
  /** The limiter's data on one run's assignments is renamed for all runs. Its timers contain no assignment IDs. */
  const renumber = (world: SharedWorld): SharedWorld => {
    let { properties } = world;
    for (const [index, own] of ids.entries()) {
      const before = properties[index];
      if (before === undefined) continue;
      const after = own.renumber(before);
      if (after === before) continue;
      const { limiter } = after;
      properties = properties.map((other, at) => (at === index ? after : { ...other, limiter }));
    }
    return properties === world.properties ? world : sharedWorldOf(properties);
  };
  return {
    options,
    logic: {
      getInitialSnapshot: () => renumber(initialSharedWorld(options, memory)),
      transition: (world, event) => renumber(nextSharedWorld(world, event, options, memory)),
      getPersistedSnapshot: (world) => world,
    },
    events: (world) => [...possibleSharedEvents(world, options)],
    serializeState: ({ properties }) =>
      properties.map((world) => stateKey(world, options, memory)).join('\n'),
    invariants: SHARED_INVARIANTS,
    isEveryday: (event) => rareKindOf(event) === undefined && !isDeadline(event),
    isEnd: isSharedEnd,
    messages: (world, event) => {
      const messages: Message[] = [];
      nextSharedWorld(world, event, options, memory, (message) => messages.push(message));
      return messages;
    },
  };
}
