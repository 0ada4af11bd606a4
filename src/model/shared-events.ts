/** The possible next events if several runs share a limiter. */
import { eventsAfterEnd, possibleEvents, rareLeft, timerEvents } from './events.ts';
import {
  ALL,
  letterOf,
  propertyAt,
  type SharedEvent,
  type SharedOptions,
  type SharedWorld,
} from './shared-world.ts';
import { speaksOf } from './sharing.ts';
import { LONGEST_MS } from './turn.ts';
import type { Timer, World, WorldEvent } from './world.ts';

/** All possible events, in an order that depends only on the worlds. */
export function possibleSharedEvents(
  { properties }: SharedWorld,
  options: SharedOptions,
): readonly SharedEvent[] {
  const isActive = ({ coordinator }: World): boolean => coordinator.status === 'active';
  const goesOn = properties.some(isActive);
  const own = properties.flatMap((world, index) => {
    const events = isActive(world) ? possibleEvents(world, options) : eventsAfterEnd(world, goesOn, options);
    return events.filter(isOwn).map((event): SharedEvent => ({ ...event, of: letterOf(index) }));
  });
  const [first] = properties;
  if (first === undefined || !goesOn) return own;
  const timers = first.timers.filter((timer) => timer.owner === 'limiter' && mayFire(timer, properties));
  const common: WorldEvent[] = timerEvents({ timers });
  if (rareLeft(first, options, 'processCrash') > 0) common.push({ type: 'process.crashes' });
  return [...own, ...common.map((event): SharedEvent => ({ ...event, of: ALL }))];
}

/** Belongs to one run, not to the limiter or the process. */
const isOwn = (event: WorldEvent): boolean =>
  event.type !== 'process.crashes' && !(event.type === 'timer' && event.owner === 'limiter');

/** Tokens that a run gave up when it was cut short count for longer than any of its calls lasts. */
function mayFire({ event, delayMs }: Timer, properties: readonly World[]): boolean {
  if (delayMs <= LONGEST_MS || event.type !== 'lease.expired') return true;
  return !properties.some(
    ({ coordinator, calls }, index) =>
      coordinator.status !== 'active' && Object.keys(calls).length > 0 && speaksOf(event, propertyAt(index)),
  );
}
