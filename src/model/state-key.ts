/** A short text that is equal for two worlds exactly if they are the same. */
import { rareLeft } from './events.ts';
import { type ModelOptions, RARE_KINDS } from './options.ts';
import type { StepMemory } from './step-memory.ts';
import type { World } from './world.ts';

export function stateKey(world: World, options: ModelOptions, memory: StepMemory): string {
  const all = (record: Readonly<Record<string, object>>): string =>
    Object.keys(record)
      .sort()
      .map((key) => `${key}=${memory.numberOf(record[key] ?? {})}`)
      .join();
  return [
    memory.numberOf(world.coordinator),
    memory.numberOf(world.limiter),
    all(world.workers),
    Object.keys(world.channels)
      .sort()
      .map(
        (name) => `${name}=${(world.channels[name] ?? []).map((event) => memory.numberOf(event)).join('.')}`,
      )
      .join(),
    timersKey(world, memory),
    all(world.calls),
    memory.numberOf(world.plan),
    world.probing,
    all(world.reapers),
    all(world.database),
    world.server.map(({ runId, tokens, lastingMs }) => `${runId}${tokens}:${lastingMs}`).join(),
    // What may still happen matters, not what did.
    options.maxRare === 0 ? '' : RARE_KINDS.map((kind) => rareLeft(world, options, kind)).join(''),
    world.history.haltAsked,
    fatesKey(world),
    world.history.read.join(),
    world.history.broken.length,
  ].join('|');
}

/** The order of timers matters only among those of one name. */
function timersKey({ timers }: World, memory: StepMemory): string {
  if (timers.length === 0) return '';
  return timers
    .map(({ owner, name, event, settledBefore }, index) => ({
      name: `${owner} ${name}`,
      text: `${name}:${memory.numberOf(event)}:${settledBefore}`,
      index,
    }))
    .sort((a, b) => (a.name === b.name ? a.index - b.index : a.name < b.name ? -1 : 1))
    .map(({ text }) => text)
    .join();
}

function fatesKey({ history: { pages } }: World): string {
  return Object.keys(pages)
    .sort()
    .map((page) => `${page}:${pages[page]}`)
    .join();
}
