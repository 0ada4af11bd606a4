/** What each event leads to if several runs share a limiter. */
import { coordinatorMachine, type RateLimiterInput } from '../machines/index.ts';
import { createDatabase } from './abstract-database.ts';
import { age, type ServerWindow } from './abstract-server.ts';
import { RESTART_MS, WINDOW_MS } from './options.ts';
import {
  indexOf,
  propertyAt,
  type SharedEvent,
  type SharedOptions,
  type SharedWorld,
  sharedWorldOf,
} from './shared-world.ts';
import type { StepMemory } from './step-memory.ts';
import {
  carryOut,
  coordinatorInput,
  countRare,
  type Left,
  limiterInput,
  recoverLeases,
  settleUnderWay,
  unbornWorld,
} from './transition.ts';
import { Company, type Listener, Turn } from './turn.ts';
import type { World } from './world.ts';

/** A budget for each property, and one shared by all. */
export function sharedLimiterInput(options: SharedOptions): RateLimiterInput {
  const input = limiterInput(options);
  const ofTheUser = { scopeKind: 'user', limit: options.userQuota, windowMs: WINDOW_MS };
  return { ...input, rules: [...input.rules, ofTheUser] };
}

export function initialSharedWorld(options: SharedOptions, memory: StepMemory): SharedWorld {
  const left = Array.from({ length: options.properties }, () => ({
    database: createDatabase(options.slices, options.calendar),
    server: [],
    rare: {},
  }));
  return bornSharedWorld(options, memory, left);
}

function bornSharedWorld(options: SharedOptions, memory: StepMemory, left: readonly Left[]): SharedWorld {
  const input = sharedLimiterInput(options);
  const turns = turnsOf(
    left.map((found) => unbornWorld(options, memory, found, input)),
    options,
    memory,
  );
  for (const turn of turns) recoverLeases(turn);
  for (const turn of turns) {
    turn.begin(coordinatorMachine, 'coordinator', coordinatorInput(options, turn.property));
  }
  return sharedWorldOf(turns.map(({ world }) => world));
}

export function nextSharedWorld(
  { properties }: SharedWorld,
  event: SharedEvent,
  options: SharedOptions,
  memory: StepMemory,
  listener?: Listener,
): SharedWorld {
  const counted = countForAll(properties, event);
  if (event.type === 'process.crashes') return restart(counted, options, memory);
  const turns = turnsOf(counted, options, memory, listener);
  const turn = turns[indexOf(event)];
  if (turn !== undefined) carryOut(turn, event);
  return sharedWorldOf(turns.map(({ world }) => world));
}

function turnsOf(
  worlds: readonly World[],
  options: SharedOptions,
  memory: StepMemory,
  listener?: Listener,
): readonly Turn[] {
  const company = new Company();
  return worlds.map((world, index) => new Turn(world, options, memory, listener, propertyAt(index), company));
}

const countForAll = (worlds: readonly World[], event: SharedEvent): readonly World[] =>
  worlds.map((world) => countRare(world, event));

/** The process of all runs dies and is restarted. */
function restart(worlds: readonly World[], options: SharedOptions, memory: StepMemory): SharedWorld {
  const [first] = worlds;
  const server = worlds.reduce<ServerWindow>(
    (window, world, index) => settleUnderWay(window, world, propertyAt(index)),
    age(first?.server ?? [], RESTART_MS),
  );
  return bornSharedWorld(
    options,
    memory,
    worlds.map(({ database, history: { rare } }) => ({ database, server, rare })),
  );
}
