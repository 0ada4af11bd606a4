/** The possible next events of a world. */
import { PROBE } from '../machines/index.ts';
import type { AbstractCall, CallEnd } from './abstract-call.ts';
import { possibleEnds } from './abstract-database.ts';
import { mayAnswer } from './abstract-plan.ts';
import type { ModelOptions, RareKind } from './options.ts';
import type { World, WorldEvent } from './world.ts';

/** The rare kind of an event. Undefined for everyday events. */
export function rareKindOf(event: WorldEvent): RareKind | undefined {
  switch (event.type) {
    case 'pause':
    case 'halt':
    case 'fail':
    case 'concurrency':
      return event.type;
    case 'worker.crashes':
      return 'workerCrash';
    case 'process.crashes':
      return 'processCrash';
    case 'call.refuses':
      return 'refused';
    case 'call.stalls':
      return 'databaseAway';
    case 'call.commits':
      return event.end === 'sealed' ? undefined : event.end;
    case 'call.ends':
      return RARE_ENDS[event.how];
    case 'plan.answers':
      return event.how === 'supplied' ? undefined : event.how;
    case 'probe.answers':
      return event.how === 'back' ? undefined : 'databaseAway';
    case 'reaper.ends':
      return event.how === 'done' ? undefined : 'reaperFailed';
    default:
      return undefined;
  }
}

const RARE_ENDS: Readonly<Partial<Record<CallEnd, RareKind>>> = {
  failed: 'callFailed',
  failedUnsent: 'callFailed',
  unauthorized: 'unauthorized',
  fatal: 'fatal',
  databaseAwayUnsent: 'databaseAway',
};

/** How many more rare events of this kind may happen. */
export function rareLeft({ history }: World, options: ModelOptions, kind: RareKind): number {
  const happened = Object.values(history.rare).reduce((sum, count) => sum + count, 0);
  const left = (options.rare[kind] ?? 0) - (history.rare[kind] ?? 0);
  return Math.max(0, Math.min(left, options.maxRare - happened));
}

/** All possible events, in an order that depends only on the world. */
export function possibleEvents(world: World, options: ModelOptions): readonly WorldEvent[] {
  const deliveries = deliveriesOf(world);
  if (world.coordinator.status !== 'active') return deliveries;
  const events: WorldEvent[] = [
    ...deliveries,
    ...Object.keys(world.calls)
      .sort()
      .flatMap((worker) => callEvents(world, options, worker)),
    ...planEvents(world),
    ...timerEvents(world),
    ...workEvents(world),
    ...controlEvents(world, options),
    ...crashes(world),
  ];
  return events.filter((event) => {
    const kind = rareKindOf(event);
    return kind === undefined || rareLeft(world, options, kind) > 0;
  });
}

/**
 * A run has ended: its last messages are delivered. If other runs continue, calls that were cut short come to their end.
 */
export function eventsAfterEnd(
  world: World,
  othersGoOn: boolean,
  options: ModelOptions,
): readonly WorldEvent[] {
  const calls = Object.keys(world.calls)
    .sort()
    .flatMap((worker) => callEvents(world, options, worker));
  return [
    ...deliveriesOf(world),
    ...(othersGoOn
      ? calls.filter((event) => event.type === 'call.ends' && rareKindOf(event) === undefined)
      : []),
  ];
}

function deliveriesOf(world: World): WorldEvent[] {
  return Object.keys(world.channels)
    .sort()
    .map((channel) => ({ type: 'deliver', channel }));
}

function callEvents(world: World, options: ModelOptions, worker: string): WorldEvent[] {
  const call = world.calls[worker];
  if (call === undefined) return [];
  if (call.stalled !== null) return stalledEvents(world, worker, call, call.stalled);
  const events: WorldEvent[] = [];
  for (const { sliceId, startRow, attempts } of call.pages) {
    const page = { worker, sliceId, startRow };
    for (const end of possibleEnds(world.database, page)) events.push({ type: 'call.commits', ...page, end });
    // A call that is being aborted reads no further. Only the page it was writing can get through. A probe fails as a
    // whole.
    const mayFail = sliceId !== PROBE;
    if (mayFail && (!call.aborted || attempts + 1 >= call.maxAttempts))
      events.push({ type: 'call.pageFails', ...page });
    if (call.aborted) continue;
    for (const quota of options.refusals) events.push({ type: 'call.refuses', ...page, quota });
    // A probe writes nothing.
    if (mayFail) for (const landed of [false, true]) events.push({ type: 'call.stalls', ...page, landed });
  }
  for (const how of endsOf(call)) events.push({ type: 'call.ends', worker, how });
  return events;
}

/** Stalled pages are retried only on request. An abort drops them. */
function stalledEvents(
  world: World,
  worker: string,
  { aborted }: AbstractCall,
  { page: { sliceId, startRow }, is }: NonNullable<AbstractCall['stalled']>,
): WorldEvent[] {
  const page = { worker, sliceId, startRow };
  const events: WorldEvent[] = [];
  if (is === 'trying') {
    for (const end of possibleEnds(world.database, page)) events.push({ type: 'call.commits', ...page, end });
    if (!aborted) for (const landed of [false, true]) events.push({ type: 'call.stalls', ...page, landed });
  }
  if (aborted) events.push({ type: 'call.ends', worker, how: 'aborted' });
  return events;
}

function endsOf(call: AbstractCall): CallEnd[] {
  if (call.pages.length === 0) return ['answered'];
  const unsent = !call.answered;
  if (call.aborted) return unsent ? ['aborted', 'abortedUnsent'] : ['aborted'];
  // Cut off after some of its parts, or in trouble in most of them.
  const partly: CallEnd[] = ['failed', 'unauthorized', 'fatal'];
  return unsent ? ['failedUnsent', 'databaseAwayUnsent', ...partly] : partly;
}

function planEvents({ plan, database }: World): WorldEvent[] {
  if (!mayAnswer(plan, database)) return [];
  return [
    { type: 'plan.answers', how: 'supplied' },
    { type: 'plan.answers', how: 'databaseAway' },
    { type: 'plan.answers', how: 'fatal' },
  ];
}

/** Timers of one name fire in the order in which they were set. */
export function timerEvents({ timers }: Pick<World, 'timers'>): WorldEvent[] {
  return timers
    .filter(
      ({ owner, name }, index) =>
        timers.findIndex((other) => other.owner === owner && other.name === name) === index,
    )
    .map(({ owner, name }) => ({ type: 'timer', owner, timer: name }));
}

function workEvents({ probing, reapers, calls }: World): WorldEvent[] {
  const events: WorldEvent[] = [];
  if (probing) events.push({ type: 'probe.answers', how: 'back' }, { type: 'probe.answers', how: 'away' });
  for (const worker of Object.keys(reapers).sort()) {
    if (calls[worker] !== undefined) continue;
    events.push({ type: 'reaper.ends', worker, how: 'done' }, { type: 'reaper.ends', worker, how: 'failed' });
  }
  return events;
}

function controlEvents({ coordinator, history }: World, options: ModelOptions): WorldEvent[] {
  const events: WorldEvent[] = [];
  if (coordinator.matches('pausing') || coordinator.matches('paused')) events.push({ type: 'resume' });
  else events.push({ type: 'pause' });
  if (!history.haltAsked) events.push({ type: 'halt' });
  // A failure may also be discovered during a halt.
  events.push({ type: 'fail' });
  for (const maxConcurrency of options.concurrencies) {
    if (maxConcurrency !== coordinator.context.maxConcurrency) {
      events.push({ type: 'concurrency', maxConcurrency });
    }
  }
  return events;
}

function crashes({ workers }: World): WorldEvent[] {
  return [
    ...Object.keys(workers)
      .sort()
      .map((worker): WorldEvent => ({ type: 'worker.crashes', worker })),
    { type: 'process.crashes' },
  ];
}
