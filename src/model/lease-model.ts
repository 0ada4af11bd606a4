/**
 * Two processes that want one property: the production lease keepers, with abstract stand-ins for the database, for
 * messages to it, and for runs that send a request when they may. Used like {@link createSystemModel}.
 */
import type { AnyMachineSnapshot } from 'xstate';
import type { Explorable } from './explore.ts';
import { isLeaseEnd, possibleLeaseEvents, rareLeaseKindOf, rareLeasesLeft } from './lease-events.ts';
import { LEASE_INVARIANTS } from './lease-invariants.ts';
import { firstLeaseWorld, nextLeaseWorld } from './lease-transition.ts';
import {
  DEFAULT_LEASE_OPTIONS,
  type Keeping,
  type LeaseModelOptions,
  type LeaseProcess,
  type LeaseWorld,
  type LeaseWorldEvent,
  PROCESSES,
  type ProcessId,
  RARE_LEASE_KINDS,
} from './lease-world.ts';
import { StepMemory } from './step-memory.ts';

export type LeaseModel = Explorable<LeaseWorld, LeaseWorldEvent, LeaseModelOptions>;

export function createLeaseModel(given: Partial<LeaseModelOptions> = {}): LeaseModel {
  const options: LeaseModelOptions = { ...DEFAULT_LEASE_OPTIONS, ...given };
  const memory = new StepMemory();
  const keys = new WeakMap<LeaseProcess, string>();
  return {
    options,
    logic: {
      getInitialSnapshot: () => firstLeaseWorld(options),
      transition: (world, event) => renumber(nextLeaseWorld(world, event, options, memory), memory),
      getPersistedSnapshot: (world) => world,
    },
    events: (world) => possibleLeaseEvents(world, options),
    serializeState: (world) => keyOf(world, options, memory, keys),
    invariants: LEASE_INVARIANTS,
    isEveryday: (event) => rareLeaseKindOf(event) === undefined,
    isEnd: (world) => isLeaseEnd(world, options),
  };
}

/**
 * Renewal serials only grow, which would make every world a new one. The machine only asks which of two serials is
 * greater. So they are renumbered from the lowest one still awaited; all older ones are equivalent.
 */
function renumber(world: LeaseWorld, memory: StepMemory): LeaseWorld {
  return PROCESSES.reduce((before, id) => renumberProcess(before, id, memory), world);
}

function renumberProcess(world: LeaseWorld, id: ProcessId, memory: StepMemory): LeaseWorld {
  const { run } = world.processes[id];
  if (run.kind !== 'keeping') return world;
  const least = Math.min(...serialsIn(run));
  if (least === 0) return world;
  const { context } = run.keeper;
  const earlier = (serial: number): number => Math.max(-1, serial - least);
  const keeper: AnyMachineSnapshot = {
    ...run.keeper,
    context: {
      ...context,
      asked: context.asked - least,
      kept: context.kept - least,
      expired: earlier(context.expired),
      outdated: earlier(context.outdated),
    },
  };
  const { asked } = run.validity;
  const changed: Keeping = {
    ...run,
    // A keeper's snapshot with other numbers.
    keeper: memory.unique('keeper', keeper) as Keeping['keeper'],
    timers: run.timers.map((timer) =>
      typeof timer.event.serial === 'number'
        ? { ...timer, event: { ...timer.event, serial: timer.event.serial - least } }
        : timer,
    ),
    orders: run.orders.map((order) => ({ ...order, serial: order.serial - least })),
    validity: { ...run.validity, asked: asked && { ...asked, serial: asked.serial - least } },
  };
  return {
    ...world,
    processes: { ...world.processes, [id]: { ...world.processes[id], run: changed } },
    messages: world.messages.map((message) =>
      message.process === id && message.kind === 'renew'
        ? { ...message, serial: earlier(message.serial) }
        : message,
    ),
  };
}

function serialsIn({ keeper, timers, orders, validity }: Keeping): number[] {
  const { asked, kept } = keeper.context;
  return [
    asked,
    kept,
    ...timers.flatMap(({ event }) => (typeof event.serial === 'number' ? [event.serial] : [])),
    ...orders.map(({ serial }) => serial),
    ...(validity.asked === undefined ? [] : [validity.asked.serial]),
  ];
}

function keyOf(
  world: LeaseWorld,
  options: LeaseModelOptions,
  memory: StepMemory,
  keys: WeakMap<LeaseProcess, string>,
): string {
  const keyOfProcess = (process: LeaseProcess): string => {
    const known = keys.get(process);
    if (known !== undefined) return known;
    const key = processKey(process, memory);
    keys.set(process, key);
    return key;
  };
  const left = RARE_LEASE_KINDS.map((kind) => rareLeasesLeft(world, options, kind)).join('');
  return [
    ...PROCESSES.map((id) => keyOfProcess(world.processes[id])),
    world.rows.map((row) => memory.numberOf(row)).join(),
    numbersOf(world.messages, memory),
    numbersOf(world.flying, memory),
    left,
    world.broken.length,
  ].join('|');
}

function processKey({ standing, begun, session, hampered, run }: LeaseProcess, memory: StepMemory): string {
  const rest = `${standing}${begun}${session}${hampered}`;
  if (run.kind !== 'keeping') return `${rest}${memory.numberOf(run)}`;
  const { keeper, timers, orders, validity, call, sent, told, misjudged } = run;
  return [
    rest,
    memory.numberOf(keeper),
    timers
      .map(({ id, event, dueIn }) => `${id}${String(event.serial)}:${dueIn}`)
      .sort()
      .join(),
    orders.map(({ serial, answerIn }) => `${serial}:${answerIn}`).join(),
    `${validity.untilMs} ${validity.asked?.serial} ${validity.asked?.atMs}`,
    call === undefined ? '' : `${call.stage}${call.tokens}`,
    `${sent}${told}${misjudged}`,
  ].join(';');
}

/** Without order: any message under way may arrive first. */
const numbersOf = (values: readonly object[], memory: StepMemory): string =>
  values
    .map((value) => memory.numberOf(value))
    .sort((one, other) => one - other)
    .join();
