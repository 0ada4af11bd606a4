/**
 * Invariants, each checked on a single state. The numbers are those of the specification. What the model does not cover
 * (rows, facts, versions of a slice) is enforced in the database and tested there.
 */
import { PROBE } from '../machines/index.ts';
import { room } from '../machines/rate-limiter/quota-window.ts';
import { isCommitted } from './abstract-database.ts';
import { countTokens } from './abstract-server.ts';
import type { InvariantOf } from './explore.ts';
import { GRACE_MS, type ModelOptions } from './options.ts';
import { channelName, isAtWork, isEnd, pageKey, type World } from './world.ts';

export type Invariant = InvariantOf<World, ModelOptions>;

export const brokenOnTheWay = (number: number, name: string): Invariant => ({
  number,
  name,
  check: ({ history }) => history.broken.find(({ invariant }) => invariant === number)?.what,
});

/** No scope rests. */
const isCalm = ({ context }: World['limiter']): boolean =>
  context.conditions.size === 0 || [...context.conditions.values()].every(({ state }) => state === 'calm');
const isRunning = ({ coordinator }: World): boolean => coordinator.status === 'active';
/** The run ended because all work had stopped, not because its deadline had passed. */
const endedInOrder = (world: World): boolean =>
  isEnd(world) && world.coordinator.context.workers.every(({ status }) => status === 'halted');

/** Invariants of one run and its part of the limiter. */
export const INVARIANTS_OF_A_RUN: readonly Invariant[] = [
  brokenOnTheWay(1, 'a page is queued once, given out only while due, and reported once'),
  {
    number: 1,
    name: 'a page reported as committed is in the database, and a page reported as failed has a failed slice',
    check: ({ history, database }) => {
      for (const [key, fate] of Object.entries(history.pages)) {
        const [sliceId = '', row] = key.split('/');
        if (fate === 'committed' && !isCommitted(database, { sliceId, startRow: Number(row) })) {
          return `${key} is reported as committed but not in the database`;
        }
        if (fate === 'failed' && database[sliceId]?.status !== 'failed' && sliceId !== 'calendar') {
          return `${key} is reported as failed but its slice is not`;
        }
      }
      return undefined;
    },
  },
  {
    number: 1,
    name: 'a run that ends complete has every slice, and one with failures says which failed',
    applies: (world) => isEnd(world) && /^complete/.test(String(world.coordinator.value)),
    check: ({ coordinator, database, history }) => {
      const slices = Object.entries(database).filter(
        ([id, { status }]) => id !== 'calendar' && status !== 'superseded',
      );
      const failed = slices.filter(([, { status }]) => status === 'failed').map(([id]) => id);
      const missing = slices.find(([, { status }]) => status !== 'complete' && status !== 'failed');
      if (missing !== undefined)
        return `slice ${missing[0]} is ${missing[1].status}, and the run is complete`;
      const said = coordinator.value === 'completeWithFailures';
      const calendarFailed = history.pages['calendar/0'] === 'failed';
      if (failed.length > 0 && !said) return `slice ${failed.join()} failed, and the run says it is complete`;
      return said && failed.length === 0 && !calendarFailed
        ? 'the run reports failures, and there are none'
        : undefined;
    },
  },
  {
    number: 2,
    name: 'a complete slice has all its pages in the ledger',
    check: ({ database }) => {
      const wrong = Object.entries(database).find(
        ([, { status, committed, size }]) => status === 'complete' && committed !== size,
      );
      return wrong && `slice ${wrong[0]} is complete with ${wrong[1].committed} of ${wrong[1].size} pages`;
    },
  },
  {
    number: 3,
    name: 'however slow the network, no window at the server holds more than the quota',
    check: ({ calls, server }, { quota }) => {
      const underWay = Object.values(calls).reduce((sum, { unsettled }) => sum + unsettled, 0);
      const counted = underWay + countTokens(server);
      return counted > quota ? `${counted} requests may count in one window of ${quota}` : undefined;
    },
  },
  brokenOnTheWay(
    3,
    'a call has exactly one token for each of its requests; after a refusal nothing is granted',
  ),
  {
    number: 4,
    name: 'every page is in exactly one place',
    check: (world) => {
      const places = placesOf(world);
      for (const [key, fate] of Object.entries(world.history.pages)) {
        const where = places.get(key) ?? [];
        if (fate === 'due' && where.length === 0) return `${key} is due but in no place`;
        if (fate === 'due' && where.length > 1) return `${key} is ${where.join(' and ')}`;
        if (fate !== 'due' && where.length > 0) return `${key} is ${fate}, and ${where.join(' and ')}`;
      }
      const stranger = [...places.keys()].find((key) => world.history.pages[key] === undefined);
      return stranger && `${stranger} is ${places.get(stranger)?.join()}, but was never queued`;
    },
  },
  brokenOnTheWay(4, 'no page is in two calls'),
  {
    number: 4,
    name: 'every unsettled token belongs to a call or is on its way to one',
    // If messages are delayed, a grant may cross its cancel and arrive after the run is over.
    applies: (world, { semantics }) => semantics === 'sync' || isRunning(world),
    check: (world) => {
      for (const lease of world.limiter.context.leases.values()) {
        const held = tokensHeld(world, lease.leaseId);
        if (held !== undefined && held !== lease.unsettled) {
          return `${lease.unsettled} tokens of ${lease.leaseId} are unsettled, ${held} are accounted for`;
        }
      }
      return undefined;
    },
  },
  {
    number: 4,
    name: 'at the end no token is unsettled, no worker waits for one, and no call is under way unless a deadline passed',
    applies: (world, { semantics }) => semantics === 'sync' && isEnd(world),
    check: (world) => {
      const { calls } = world;
      const { context } = world.limiter;
      const [lease] = context.leases.values();
      if (lease !== undefined) return `the lease ${lease.leaseId} is not settled`;
      if (context.queue.length > 0) return `${context.queue[0]?.requestId} still waits for tokens`;
      const [worker] = Object.keys(calls);
      return worker !== undefined && endedInOrder(world) ? `${worker} still has a call under way` : undefined;
    },
  },
  {
    number: 4,
    name: 'only workers that still want tokens wait for them',
    applies: (_, { semantics }) => semantics === 'sync',
    check: ({ limiter, workers }) => {
      const stray = limiter.context.queue.find(
        ({ requestId }) =>
          !Object.values(workers).some(
            (worker) => worker.matches('awaitingTokens') && worker.context.assignmentId === requestId,
          ),
      );
      return stray && `${stray.requestId} waits for tokens that no worker wants`;
    },
  },
  {
    number: 4,
    name: 'every worker that waits for tokens is in the limiter’s queue',
    applies: ({ workers }, { semantics }) =>
      semantics === 'sync' && Object.values(workers).some((worker) => worker.matches('awaitingTokens')),
    check: ({ limiter, workers }) => {
      const forgotten = Object.keys(workers).find((id) => {
        const worker = workers[id];
        return (
          worker?.matches('awaitingTokens') === true &&
          !limiter.context.queue.some(({ requestId }) => requestId === worker.context.assignmentId)
        );
      });
      return forgotten && `${forgotten} waits for tokens, but is not in the limiter’s queue`;
    },
  },
  brokenOnTheWay(5, 'after a halt, or during a pause, no page is given out; after a halt no call starts'),
  {
    number: 5,
    name: 'a run that was told to end is halting or has ended, whatever its state was',
    applies: ({ history }) => history.haltAsked,
    check: ({ coordinator }) =>
      coordinator.status !== 'active' || coordinator.matches('halting')
        ? undefined
        : `it is ${JSON.stringify(coordinator.value)}`,
  },
  {
    number: 5,
    name: 'while the run is halting, its calls are aborted, its deadline runs, and no other timer does',
    applies: (world) => isRunning(world) && world.coordinator.matches('halting'),
    check: ({ calls, channels, timers }) => {
      const spared = Object.keys(calls).find(
        (worker) =>
          calls[worker]?.aborted === false && channels[channelName('coordinator', worker)] === undefined,
      );
      if (spared !== undefined) return `the call of ${spared} is not aborted`;
      const running = timers.filter(({ owner }) => owner === 'coordinator').map(({ name }) => name);
      const others = running.filter((name) => !name.includes('haltDeadline'));
      if (others.length > 0) return `the timer ${others.join()} still runs`;
      return running.length === 1 ? undefined : 'no deadline runs';
    },
  },
  {
    number: 5,
    name: 'a run that ends because of quota lets calls that have tokens finish',
    applies: ({ coordinator: { context }, history }) =>
      context.ending.status === 'halted' && context.ending.reason.kind === 'quota' && !history.haltAsked,
    check: ({ calls }) => {
      const cut = Object.keys(calls).find(
        (id) => calls[id]?.aborted === true && calls[id]?.orphaned === false,
      );
      return cut && `the call of ${cut} is aborted although its requests are paid for`;
    },
  },
  {
    number: 5,
    name: 'during a pause no worker waits for tokens, and in a paused run only stalled calls are under way',
    applies: (world, { semantics }) =>
      semantics === 'sync' && (world.coordinator.matches('pausing') || world.coordinator.matches('paused')),
    check: ({ coordinator, limiter, workers, calls }) => {
      const waiting = Object.keys(workers).find((id) => workers[id]?.matches('awaitingTokens'));
      if (waiting !== undefined) return `${waiting} waits for tokens`;
      if (limiter.context.queue.length > 0)
        return `${limiter.context.queue[0]?.requestId} is in the limiter's queue`;
      const calling = Object.keys(calls).find((id) => calls[id]?.stalled?.is !== 'waiting');
      return coordinator.matches('paused') && calling !== undefined ? `${calling} is calling` : undefined;
    },
  },
  {
    number: 6,
    name: 'stalled pages are retried unless the run is paused or halting',
    applies: (world, { semantics }) => semantics === 'sync' && isRunning(world),
    check: ({ calls, coordinator, timers }) => {
      const waiting = Object.keys(calls).find(
        (id) => calls[id]?.stalled?.is === 'waiting' && calls[id]?.orphaned === false,
      );
      if (waiting === undefined || !coordinator.matches('running')) return undefined;
      if (!coordinator.matches({ running: 'waitingForDatabase' })) return `no state waits with ${waiting}`;
      const wakes = timers.some(({ owner, name }) => owner === 'coordinator' && name.includes('probe'));
      return wakes ||
        coordinator.matches({ running: { waitingForDatabase: 'probing' } }) ||
        coordinator.matches({ running: { waitingForDatabase: 'retrying' } })
        ? undefined
        : `nothing retries ${waiting}`;
    },
  },
  brokenOnTheWay(6, 'no machine throws, and all come to rest after every event'),
  {
    number: 6,
    name: 'no worker idles while pages are queued, and every retry has its timer',
    applies: (world) => isRunning(world) && world.coordinator.matches('running'),
    check: ({ coordinator, timers }) => {
      const { queues, workers, maxConcurrency } = coordinator.context;
      const orphan = queues.delayed.find(
        ({ groupId }) => !timers.some(({ owner, name }) => owner === 'coordinator' && name === groupId),
      );
      if (orphan !== undefined) return `nothing wakes the retry ${orphan.groupId}`;
      if (!coordinator.matches({ running: 'working' })) return undefined;
      const working = workers.filter(isAtWork).length;
      const idle = workers.find(({ status }) => status === 'idle');
      const waiting = queues.begun.length + queues.ahead.length;
      return waiting > 0 && idle !== undefined && working < maxConcurrency
        ? `${waiting} pages are queued, and ${idle.workerId} is idle`
        : undefined;
    },
  },
  {
    number: 6,
    name: 'while Google is away, a probe is under way or scheduled',
    applies: (world, { semantics }) =>
      semantics === 'sync' && isRunning(world) && world.coordinator.matches({ running: 'waitingForGoogle' }),
    check: ({ coordinator, timers }) => {
      const { prober, workers } = coordinator.context;
      if (coordinator.matches({ running: { waitingForGoogle: 'sleeping' } })) {
        return timers.some(({ owner, name }) => owner === 'coordinator' && name.includes('googleProbe'))
          ? undefined
          : 'nothing schedules the next probe';
      }
      const busy = workers.some(({ status }) => status !== 'idle' && status !== 'halted');
      if (coordinator.matches({ running: { waitingForGoogle: 'probing' } })) {
        return prober !== null && busy ? undefined : 'no worker has the probe';
      }
      return busy ? undefined : 'all workers are free, and none probes';
    },
  },
  brokenOnTheWay(
    8,
    'no more workers than allowed have work; while Google is away only the probe does; one call per worker, one request to the plan',
  ),
  {
    number: 8,
    name: 'the coordinator’s view of its workers is correct',
    applies: (world, { semantics }) => semantics === 'sync' && isRunning(world),
    check: ({ coordinator, workers, calls }) => {
      for (const slot of coordinator.context.workers) {
        const worker = workers[slot.workerId];
        const actual = worker === undefined ? 'reaping' : statusOf(worker);
        const thought = slot.status === 'retrying' ? 'busy' : slot.status;
        if (actual !== thought && !(slot.status === 'halted' && worker === undefined)) {
          return `${slot.workerId} is ${actual}, the coordinator thinks ${slot.status}`;
        }
        if (!isAtWork(slot) && slot.pages.length + slot.retry.length > 0) {
          return `${slot.workerId} is ${slot.status}, the coordinator thinks it has pages`;
        }
        if (slot.status !== 'reaping' && isAtWork(slot) && worker !== undefined) {
          const called = calls[slot.workerId]?.pages ?? worker.context.pages;
          const strange = called.find(
            (page) => page.sliceId !== PROBE && !slot.pages.some((own) => pageKey(own) === pageKey(page)),
          );
          if (strange !== undefined)
            return `${slot.workerId} works on ${pageKey(strange)} unknown to the coordinator`;
        }
      }
      return undefined;
    },
  },
];

/** Invariants of the limiter, for any number of runs. */
export const INVARIANTS_OF_THE_LIMITER: readonly Invariant[] = [
  {
    number: 3,
    name: 'the budget is what is granted and unsettled, and what has settled and not expired',
    check: ({ limiter: { context }, timers }) => {
      for (const [scope, budgets] of context.budgets) {
        const unsettled = [...context.leases.values()]
          .filter(({ scopes }) => scopes.includes(scope))
          .reduce((sum, lease) => sum + lease.unsettled, 0);
        for (const { spent, windowMs } of budgets) {
          const settled = timers
            .filter(({ event }) => event.windowMs === windowMs && event.scopes?.includes(scope) === true)
            .reduce((sum, { event }) => sum + tokensOf(event, 'lease.expired'), 0);
          if (spent !== unsettled + settled) {
            return `${spent} tokens of ${scope} are spent, ${unsettled} are unsettled and ${settled} settled`;
          }
        }
      }
      return undefined;
    },
  },
  {
    number: 3,
    name: 'no request waits for tokens that are available',
    applies: ({ limiter }) => limiter.context.queue.length > 0,
    check: ({ limiter: { context } }) => {
      const waiting = context.queue.find(
        ({ scopes }) =>
          scopes.every((scope) => (context.conditions.get(scope)?.state ?? 'calm') === 'calm') &&
          room(context.budgets, scopes) > 0,
      );
      return waiting && `${waiting.requestId} waits`;
    },
  },
  {
    number: 6,
    name: 'a limiter that grants nothing for a while lets no request wait forever',
    applies: ({ limiter }) => !isCalm(limiter),
    check: ({ limiter, timers }) => {
      const { conditions, queue } = limiter.context;
      for (const [scope, { state }] of conditions) {
        if (state === 'calm') continue;
        const ends = timers.some(({ owner, name }) => owner === 'limiter' && name === `rest ${scope}`);
        if (!ends) return `nothing ends the ${state} of ${scope}`;
        const waiting = queue.find(({ scopes }) => scopes.includes(scope));
        if (state === 'refusing' && waiting !== undefined) {
          return `${waiting.requestId} waits for tokens that are refused`;
        }
      }
      return undefined;
    },
  },
];

export const INVARIANTS: readonly Invariant[] = [...INVARIANTS_OF_A_RUN, ...INVARIANTS_OF_THE_LIMITER];

/** The worker's state in the coordinator's terms. */
const EXPECTED: Readonly<Record<string, string>> = {
  idle: 'idle',
  awaitingTokens: 'busy',
  calling: 'busy',
  backingOff: 'backingOff',
  halted: 'halted',
};

const statusOf = (worker: World['workers'][string]): string | undefined =>
  worker?.matches({ calling: 'stalled' }) === true ? 'stalled' : EXPECTED[String(nameOf(worker?.value))];

const nameOf = (value: unknown): unknown =>
  typeof value === 'object' && value !== null ? Object.keys(value)[0] : value;

/** Where the coordinator has each page. */
function placesOf({ coordinator }: World): ReadonlyMap<string, readonly string[]> {
  const { queues, workers } = coordinator.context;
  const places = new Map<string, string[]>();
  const put = (page: { sliceId: string; startRow: number }, where: string): void => {
    const key = pageKey(page);
    const known = places.get(key);
    if (known === undefined) places.set(key, [where]);
    else known.push(where);
  };
  for (const page of queues.begun) put(page, 'waiting');
  for (const page of queues.ahead) put(page, 'waiting ahead');
  for (const { pages } of queues.delayed) for (const page of pages) put(page, 'delayed');
  for (const slot of workers) {
    for (const page of slot.pages) put(page, `with ${slot.workerId}`);
    for (const page of slot.retry) put(page, `to be tried again after ${slot.workerId}`);
  }
  return places;
}

/**
 * Tokens of a lease that are accounted for. Undefined if this cannot be known: its worker has crashed and is not
 * replaced.
 */
function tokensHeld(world: World, leaseId: string): number | undefined {
  const workerId = leaseId.slice(leaseId.indexOf(':') + 1, leaseId.indexOf('.'));
  const sumOf = (from: string, to: string, type: string): number =>
    (world.channels[channelName(from, to)] ?? [])
      .filter((event) => event.leaseId === leaseId)
      .reduce((sum, event) => sum + tokensOf(event, type), 0);
  const slot = world.coordinator.context.workers.find((other) => other.workerId === workerId);
  const isCrashing =
    world.channels[channelName(workerId, 'coordinator')]?.some(({ type }) =>
      type.startsWith('xstate.error'),
    ) === true;
  if (isRunning(world) && (slot?.status === 'reaping' || isCrashing)) return undefined;
  // The coordinator has given up all of them, and its message to the limiter is under way.
  if (world.channels[channelName(workerId, 'limiter')]?.some(({ graceMs }) => graceMs > GRACE_MS) === true) {
    return undefined;
  }
  const call = world.calls[workerId];
  return (
    (call?.leaseId === leaseId && !call.orphaned ? call.unsettled : 0) +
    sumOf('limiter', workerId, 'tokens.granted') +
    sumOf(workerId, 'limiter', 'lease.settled') +
    sumOf(workerId, 'limiter', 'lease.returned')
  );
}

const tokensOf = (event: { readonly type: string; readonly [key: string]: unknown }, type: string): number =>
  event.type === type && typeof event.tokens === 'number' ? event.tokens : 0;
