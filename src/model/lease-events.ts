/** The possible next events of a lease world. */
import { isValid } from '../domain/lease-rules.ts';
import { isKept } from '../machines/index.ts';
import {
  type Keeping,
  type LeaseMessage,
  type LeaseModelOptions,
  type LeaseProcess,
  type LeaseWorld,
  type LeaseWorldEvent,
  otherProcess,
  PROCESSES,
  type ProcessId,
  type RareLeaseKind,
} from './lease-world.ts';

/** The rare kind of an event. Undefined for everyday events. */
export function rareLeaseKindOf(event: LeaseWorldEvent): RareLeaseKind | undefined {
  switch (event.type) {
    case 'message.slows':
      return 'slow';
    case 'message.isLost':
      return 'lost';
    case 'renewal.isRefused':
      return 'refused';
    case 'process.stops':
      return 'stopped';
    case 'process.isKilled':
      return 'killed';
    case 'host.vanishes':
      return 'vanished';
    case 'session.ends':
      return event.staysAway ? 'sessionStaysAway' : 'sessionEnded';
    default:
      return undefined;
  }
}

export function rareLeasesLeft(
  { rare }: LeaseWorld,
  options: LeaseModelOptions,
  kind: RareLeaseKind,
): number {
  const happened = Object.values(rare).reduce((sum, count) => sum + count, 0);
  const left = (options.rare[kind] ?? 0) - (rare[kind] ?? 0);
  return Math.max(0, Math.min(left, options.maxRare - happened));
}

/** Whether a run may send a request, according to its keeper and its clock. */
export const mayCall = ({ keeper, validity }: Keeping): boolean => isKept(keeper) && isValid(validity, 0);

/** Every run is over, and no message is under way. */
export const isLeaseEnd = (world: LeaseWorld, options: LeaseModelOptions): boolean =>
  PROCESSES.every((id) => {
    const { run, begun } = world.processes[id];
    return run.kind === 'none' && begun === options.runs[id];
  }) &&
  world.messages.length === 0 &&
  world.flying.length === 0;

/** Whether a running process, or the network when it is fast, acts within a moment. */
export function isAboutToAct(world: LeaseWorld, id: ProcessId): boolean {
  const { standing, run, session } = world.processes[id];
  const isRunning = standing === 'running';
  const hasMail = world.messages.some(
    ({ process, to, isLate }) => process === id && !isLate && (to === 'database' || isRunning),
  );
  if (hasMail) return true;
  if (!isRunning) return false;
  if (session === 'ended' || session === 'cutOff' || session === 'reopening') return true;
  if (run.kind === 'looking') return run.next === 'now';
  if (run.kind !== 'keeping') return false;
  if (run.told !== 'nothing') return true;
  return run.timers.some(({ dueIn }) => dueIn === 0) || run.orders.some(({ answerIn }) => answerIn === 0);
}

/** All possible events, in an order that depends only on the world. */
export function possibleLeaseEvents(world: LeaseWorld, options: LeaseModelOptions): LeaseWorldEvent[] {
  const may = (kind: RareLeaseKind): boolean => rareLeasesLeft(world, options, kind) > 0;
  const events: LeaseWorldEvent[] = [];
  if (isLeaseEnd(world, options)) return events;
  for (const [message, entry] of world.messages.entries()) {
    if (entry.to === 'database' || world.processes[entry.process].standing === 'running') {
      events.push({ type: 'message.arrives', message });
    }
    if (!options.victims.includes(entry.process)) continue;
    if (!entry.isLate && may('slow')) events.push({ type: 'message.slows', message });
    if (may('lost')) events.push({ type: 'message.isLost', message });
    if (isUnansweredRenewal(entry) && may('refused')) events.push({ type: 'renewal.isRefused', message });
  }
  for (const request of world.flying.keys()) events.push({ type: 'request.arrives', request });
  for (const id of PROCESSES) {
    const isVictim = options.victims.includes(id);
    events.push(...processEvents(world, options, id, (kind) => isVictim && may(kind)));
  }
  // Whatever takes only a moment happens before time passes.
  if (!PROCESSES.some((id) => isAboutToAct(world, id))) events.push({ type: 'time.passes' });
  return events;
}

const isUnansweredRenewal = (message: LeaseMessage): boolean =>
  message.kind === 'renew' && message.to === 'database';

function* processEvents(
  world: LeaseWorld,
  options: LeaseModelOptions,
  process: ProcessId,
  may: (kind: RareLeaseKind) => boolean,
): Generator<LeaseWorldEvent> {
  const entry = world.processes[process];
  const { standing, run, session, begun } = entry;
  if (standing === 'dead') {
    if (begun < options.runs[process]) yield { type: 'process.starts', process };
    return;
  }
  if (run.kind !== 'none') {
    if (may('killed')) yield { type: 'process.isKilled', process };
    if (may('vanished')) yield { type: 'host.vanishes', process };
  }
  if (session === 'shown') {
    if (may('sessionEnded')) yield { type: 'session.ends', process, staysAway: false };
    if (may('sessionStaysAway')) yield { type: 'session.ends', process, staysAway: true };
  }
  if (standing === 'stopped') {
    yield { type: 'process.wakes', process };
    return;
  }
  if (run.kind === 'none') {
    if (begun < options.runs[process]) yield { type: 'process.starts', process };
    return;
  }
  if (may('stopped')) yield { type: 'process.stops', process };
  if (session === 'ended' || session === 'cutOff') yield { type: 'session.isMissed', process };
  if (session === 'reopening' || session === 'away') yield { type: 'session.opens', process };
  yield* runEvents(world, options, process, entry);
}

function* runEvents(
  world: LeaseWorld,
  options: LeaseModelOptions,
  process: ProcessId,
  { run }: LeaseProcess,
): Generator<LeaseWorldEvent> {
  if (run.kind === 'looking') {
    const momentIsOver = !isAboutToAct(world, otherProcess(process));
    if (run.next === 'now' || (run.next === 'moment' && momentIsOver)) yield { type: 'run.looks', process };
    return;
  }
  if (run.kind !== 'keeping') return;
  for (const { id, dueIn } of run.timers) {
    if (dueIn === 0) yield { type: 'timer.fires', process, timer: id };
  }
  for (const { serial, answerIn } of run.orders) {
    if (answerIn === 0) yield { type: 'answer.isMissed', process, serial };
  }
  const isFree = run.told === 'nothing';
  const isDue = run.sent < options.requests[process];
  if (isFree && run.call === undefined && isDue && mayCall(run)) yield { type: 'run.records', process };
  if (run.call?.stage === 'recorded' && mayCall(run)) yield { type: 'run.sends', process };
  if (!isFree || (!isDue && run.call === undefined)) yield { type: 'run.ends', process };
}
