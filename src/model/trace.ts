/** A path through the model as text: the events, and the messages between actors after each. */
import type { EventObject, Snapshot } from 'xstate';
import type { Explorable } from './explore.ts';
import { sentence } from './sentence.ts';
import type { SharedModel } from './shared-model.ts';
import { letterOf, type SharedEvent } from './shared-world.ts';
import type { SystemModel } from './system-model.ts';
import type { Message } from './turn.ts';
import type { World, WorldEvent } from './world.ts';

export function describePath(model: SystemModel, path: readonly WorldEvent[]): string {
  return describe(model, path, describeWorld);
}

/** The same for several properties that share a limiter. */
export function describeSharedPath(model: SharedModel, path: readonly SharedEvent[]): string {
  return describe(model, path, ({ properties }) =>
    properties.flatMap((world, index) => [`  ${letterOf(index)}:`, ...describeWorld(world)]),
  );
}

interface Tellable<W extends Snapshot<unknown>, E extends EventObject> {
  readonly logic: Explorable<W, E, unknown>['logic'];
  readonly messages: (world: W, event: E) => readonly Message[];
}

function describe<W extends Snapshot<unknown>, E extends EventObject>(
  model: Tellable<W, E>,
  path: readonly E[],
  whereAll: (world: W) => readonly string[],
): string {
  const lines: string[] = [];
  let world = firstWorld(model);
  for (const [index, event] of path.entries()) {
    lines.push(
      `${String(index + 1).padStart(3)}. ${describeEvent(event)}`,
      ...model.messages(world, event).map(sentence),
    );
    world = model.logic.transition(world, event, NO_SCOPE);
  }
  return [...lines, ...whereAll(world)].join('\n');
}

/** Walks a path. Throws if an event is not possible. */
export function walk<W extends Snapshot<unknown>, E extends EventObject, O>(
  model: Explorable<W, E, O>,
  path: readonly E[],
  onWorld: (world: W, event: E | undefined) => void = () => {},
): W {
  let world = firstWorld(model);
  onWorld(world, undefined);
  for (const event of path) {
    const name = JSON.stringify(event);
    const possible = model.events(world).map((other) => JSON.stringify(other));
    if (!possible.includes(name))
      throw new Error(`${name} is not possible here, only ${possible.join(', ')}`);
    world = model.logic.transition(world, event, NO_SCOPE);
    onWorld(world, event);
  }
  return world;
}

/** The first invariant that a world breaks, and how. */
export function findBroken<W extends Snapshot<unknown>, E extends EventObject, O>(
  model: Explorable<W, E, O>,
  world: W,
): string | undefined {
  for (const { number, name, applies, check } of model.invariants) {
    if (applies?.(world, model.options) === false) continue;
    const what = check(world, model.options);
    if (what !== undefined) return `invariant ${number} (${name}): ${what}`;
  }
  return undefined;
}

function describeEvent(event: EventObject): string {
  const { type, ...rest } = event;
  const details = Object.entries(rest)
    .filter(([, value]) => value !== false)
    .map(([name, value]) => (value === true ? name : String(value)));
  return [type, ...details].join(' ');
}

/** The state of every actor. */
function describeWorld(world: World): string[] {
  const { coordinator, limiter, workers, calls } = world;
  const lines = [
    `coordinator ${JSON.stringify(coordinator.value)}`,
    `limiter ${JSON.stringify(limiter.value)}`,
  ];
  for (const [id, worker] of Object.entries(workers)) lines.push(`${id} ${JSON.stringify(worker.value)}`);
  for (const [id, call] of Object.entries(calls)) lines.push(`call of ${id}: ${JSON.stringify(call)}`);
  return lines.map((line) => `  = ${line}`);
}

const firstWorld = <W extends Snapshot<unknown>, E extends EventObject>({
  logic,
}: Pick<Tellable<W, E>, 'logic'>): W => logic.getInitialSnapshot(NO_SCOPE, undefined);

/** The world's logic needs no actor around it. */
const NO_SCOPE = undefined as never;
