/**
 * Carries out one event of the world: messages travel, machines step, and their effects happen. A turn works on its own
 * draft and leaves the given world unchanged.
 *
 * In `sync` semantics a message is handled where it is sent, before the sender's next effect. If its receiver is in the
 * middle of a step, it waits in the receiver's mailbox. This is XState's order. In `interleaved` semantics messages
 * between machines wait in their channel until a `deliver` event.
 *
 * If several runs share a limiter, each has its own turn. Changes to the limiter, its timers or the server's window
 * apply to all of them.
 */
import type { AnyEventObject, AnyMachineSnapshot, AnyStateMachine } from 'xstate';
import { type Address, type Effect, idOf, parentOf, prefixOf } from '../internals/xstate.ts';
import {
  type BatchWorkerSnapshot,
  batchWorkerMachine,
  type CoordinatorSnapshot,
  coordinatorMachine,
  type FetchBatchInput,
  type RateLimiterSnapshot,
  type ReapInput,
  rateLimiterMachine,
} from '../machines/index.ts';
import { startCall } from './abstract-call.ts';
import { isOver, type SettledTokens, settleAtServer } from './abstract-server.ts';
import { ALONE, GRACE_MS, MARGIN_MS, type ModelOptions, type Property, WINDOW_MS } from './options.ts';
import { noteAssignment, noteCallStart, noteCommit, noteDelivery } from './record.ts';
import { noteAnswer, noteLimiterStep, speaksOf } from './sharing.ts';
import type { StepMemory } from './step-memory.ts';
import { type Broken, channelName, type Draft, type Timer, type World, withEntry } from './world.ts';

/** More messages than this in one turn mean an endless loop. A turn of a large world has some dozens. */
const MAX_MESSAGES = 2_000;

/** What a stopped actor finds at the end of its mailbox. */
const STOP: AnyEventObject = { type: 'xstate.stop' };

/** Tokens that count for longer were given up by others, not settled by their owner. */
export const LONGEST_MS = WINDOW_MS + GRACE_MS + MARGIN_MS;

const isWorker = (address: Address): boolean => /^w\d+$/.test(address);

/** A message to a machine or a stand-in. */
export interface Message {
  /** Undefined for messages from outside the machines. */
  readonly from: Address | undefined;
  readonly to: Address;
  readonly event: AnyEventObject;
}
export type Listener = (message: Message) => void;

/** The turns of one event: one for each run that the limiter serves. */
export class Company {
  readonly turns: Turn[] = [];
  /** Mailboxes of actors in the middle of a step, of all runs. */
  readonly mailboxes = new Map<Address, AnyEventObject[]>();
}

export class Turn {
  readonly world: Draft;
  readonly options: ModelOptions;
  readonly property: Property;
  readonly #memory: StepMemory;
  readonly #listener: Listener | undefined;
  readonly #company: Company;
  #messages = 0;

  constructor(
    world: World,
    options: ModelOptions,
    memory: StepMemory,
    listener?: Listener,
    property: Property = ALONE,
    company: Company = new Company(),
  ) {
    this.world = { ...world };
    this.options = options;
    this.property = property;
    this.#memory = memory;
    this.#listener = listener;
    this.#company = company;
    company.turns.push(this);
  }

  /** An outside event reaches a machine immediately, whatever the semantics. */
  happen(to: Address, event: AnyEventObject): void {
    this.#listener?.({ from: undefined, to: this.#placeOf(to), event });
    this.deliver(to, event);
  }

  /** Passes an event to a machine. */
  deliver(to: Address, event: AnyEventObject): void {
    const { mailboxes } = this.#company;
    const place = this.#placeOf(to);
    const mailbox = mailboxes.get(place);
    if (mailbox !== undefined) {
      mailbox.push(event);
      return;
    }
    const own: AnyEventObject[] = [];
    mailboxes.set(place, own);
    for (let next: AnyEventObject | undefined = event; next !== undefined; next = own.shift()) {
      this.#process(to, next);
    }
    mailboxes.delete(place);
  }

  begin(machine: AnyStateMachine, address: Address, input: unknown): void {
    const { mailboxes } = this.#company;
    const place = this.#placeOf(address);
    const { snapshot, effects } = this.#memory.begin(machine, place, input);
    mailboxes.set(place, []);
    this.#write(address, snapshot);
    this.#carryOut(address, effects);
    const mailbox = mailboxes.get(place) ?? [];
    mailboxes.delete(place);
    for (const event of mailbox) this.deliver(address, event);
  }

  /** Tokens of this run count at the server for this long from now on. */
  settleAtServer(tokens: number, lastingMs: number): void {
    const settled = { runId: this.property.runId, tokens, lastingMs };
    const server = settleAtServer(this.world.server, settled);
    for (const { world } of this.#company.turns) world.server = server;
  }

  /** A timer fires. It is removed, and everything the server had counted before its delay began has expired. */
  takeTimer(owner: Address, name: string): Timer | undefined {
    const isIt = (timer: Timer): boolean => timer.owner === owner && timer.name === name;
    const timer = this.world.timers.find(isIt);
    if (timer === undefined) return undefined;
    const gone = this.world.server.map(
      (entry, at) => isOver(entry, at, timer.settledBefore, timer.delayMs) || this.#isOfNobody(entry, timer),
    );
    const server = this.world.server.filter((_, at) => gone[at] !== true);
    for (const { world } of this.#company.turns) {
      world.server = server;
      const index = owner === 'limiter' || world === this.world ? world.timers.findIndex(isIt) : -1;
      world.timers = world.timers
        .filter((_, at) => at !== index)
        .map((other) => {
          const fewer = gone.slice(0, other.settledBefore).filter(Boolean).length;
          return fewer === 0 ? other : { ...other, settledBefore: other.settledBefore - fewer };
        });
    }
    return timer;
  }

  /**
   * A run that was cut short gave up tokens of unfinished calls. They count for longer than any call lasts. When that
   * time is over, nothing of this run counts any more.
   */
  #isOfNobody({ runId }: SettledTokens, { event, delayMs }: Timer): boolean {
    if (event.type !== 'lease.expired' || delayMs <= LONGEST_MS) return false;
    const run = this.#company.turns.find(({ property }) => property.runId === runId);
    return run !== undefined && run.world.coordinator.status !== 'active' && speaksOf(event, run.property);
  }

  #placeOf(address: Address): Address {
    return address === 'limiter' ? address : `${this.property.prefix}${address}`;
  }

  /** The turn that owns this actor. All turns share the limiter. */
  #turnOf(place: Address): Turn {
    if (place === 'limiter') return this;
    const prefix = prefixOf(place);
    return this.#company.turns.find(({ property }) => property.prefix === prefix) ?? this;
  }

  /** The limiter's timers are shared by all runs. */
  #changeTimers(owner: Address, change: (timers: readonly Timer[]) => readonly Timer[]): void {
    for (const { world } of owner === 'limiter' ? this.#company.turns : [this]) {
      world.timers = change(world.timers);
    }
  }

  breaks(invariant: Broken['invariant'], what: string): void {
    const { history } = this.world;
    this.world.history = { ...history, broken: [...history.broken, { invariant, what }] };
  }

  /**
   * A machine threw, or was made to. Its timers and mailbox are dropped, its children live on, and its parent is
   * notified.
   */
  crash(address: Address, error: unknown): void {
    this.#write(address, undefined);
    this.#forget(address);
    const parent = parentOf(address);
    const call = this.world.calls[address];
    if (call !== undefined) {
      this.world.calls = withEntry(this.world.calls, address, { ...call, orphaned: true });
    }
    if (parent !== undefined) {
      this.#send(address, parent, { type: `xstate.error.actor.${idOf(address)}`, error, actorId: address });
    }
  }

  #process(to: Address, event: AnyEventObject): void {
    if (event === STOP) {
      this.#remove(to);
      return;
    }
    this.#messages += 1;
    if (this.#messages === MAX_MESSAGES) this.breaks(6, `${to} and others send each other messages forever`);
    if (this.#messages >= MAX_MESSAGES) return;
    const machine = machineAt(to);
    const before = this.#read(to);
    // A dead letter. XState drops it, too.
    if (machine === undefined || before === undefined || before.status !== 'active') return;
    try {
      const { snapshot, effects } = this.#memory.advance(machine, this.#placeOf(to), before, event);
      this.#write(to, snapshot);
      if (snapshot.status === 'error') throw snapshot.error;
      noteDelivery(this, to, event);
      if (to === 'limiter' && this.#company.turns.length > 1) {
        // `#write` has just written the limiter's snapshot.
        noteLimiterStep(this, this.#company.turns, event, before as RateLimiterSnapshot);
      }
      if (snapshot.status === 'done')
        this.world.timers = this.world.timers.filter(({ owner }) => owner !== to);
      this.#carryOut(to, effects);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      this.breaks(6, `${to} threw: ${error.message}`);
      this.crash(to, error);
    }
  }

  #carryOut(from: Address, effects: readonly Effect[]): void {
    for (const [index, effect] of effects.entries()) {
      switch (effect.kind) {
        case 'send': {
          const turn = this.#turnOf(effect.to);
          const to = addressIn(turn, effect.to);
          if (from === 'limiter') noteAnswer(turn, effect.event);
          turn.#send(from, to, effect.event);
          break;
        }
        case 'schedule':
          this.#schedule(from, effect);
          break;
        case 'cancel':
          this.#changeTimers(from, (timers) =>
            timers.filter(({ owner, name }) => owner !== from || name !== effect.id),
          );
          break;
        case 'spawn':
          // An actor that is stopped in the step that spawned it never starts.
          if (!isStopped(effects.slice(index + 1), effect.address)) this.#spawn(effect);
          break;
        case 'stop':
          this.#stop(addressIn(this, effect.address));
          break;
        case 'emit':
          if (from === 'coordinator') noteCommit(this, effect.event);
          break;
      }
    }
  }

  #send(from: Address, to: Address, event: AnyEventObject): void {
    this.#listener?.({ from: this.#placeOf(from), to: this.#placeOf(to), event });
    if (from === 'coordinator' && event.type === 'batch.assign') noteAssignment(this, to, event);
    if (to === 'plan') {
      const { plan } = this.world;
      if (plan.owed > 0) this.breaks(8, 'the plan got a request before it answered the last one');
      this.world.plan = { ...plan, owed: plan.owed + 1 };
      return;
    }
    if (to.endsWith('/call')) {
      const workerId = to.slice(0, to.indexOf('/'));
      if (event.type === 'call.retry') this.#retryCall(workerId);
      else this.abortCall(workerId);
      return;
    }
    if (this.options.semantics === 'sync') {
      this.deliver(to, event);
      return;
    }
    // A message without an active receiver is dropped where it is sent.
    if (this.#read(to)?.status !== 'active') return;
    const channel = channelName(from === 'coordinator' && to === 'limiter' ? spokenFor(event) : from, to);
    const waiting = this.world.channels[channel] ?? [];
    this.world.channels = withEntry(this.world.channels, channel, [...waiting, event]);
  }

  abortCall(workerId: string): void {
    const call = this.world.calls[workerId];
    if (call === undefined) return;
    this.world.calls = withEntry(this.world.calls, workerId, { ...call, aborted: true });
  }

  #retryCall(workerId: string): void {
    const call = this.world.calls[workerId];
    if (call === undefined || call.stalled === null) return;
    const stalled = { ...call.stalled, is: 'trying' } as const;
    this.world.calls = withEntry(this.world.calls, workerId, { ...call, stalled });
  }

  #schedule(owner: Address, { id, event, delayMs }: Extract<Effect, { kind: 'schedule' }>): void {
    const name = id ?? `${event.type} in ${delayMs} ms`;
    const settledBefore = event.type === 'lease.expired' ? this.world.server.length : 0;
    const timer: Timer = { owner, name, event, delayMs, settledBefore };
    // XState keeps one timer per ID. A second one replaces the first.
    this.#changeTimers(owner, (timers) => [
      ...(id === undefined ? timers : timers.filter((other) => !isSame(other, timer))),
      timer,
    ]);
  }

  #spawn({ address: place, source, input }: Extract<Effect, { kind: 'spawn' }>): void {
    const address = addressIn(this, place);
    switch (source) {
      case 'batchWorker':
        this.begin(batchWorkerMachine, address, input);
        break;
      case 'fetchBatch': {
        const workerId = parentOf(address) ?? address;
        // `fetchBatch` gets the worker machine's own input type.
        const call = startCall(input as FetchBatchInput);
        noteCallStart(this, workerId, call);
        this.world.calls = withEntry(this.world.calls, workerId, call);
        break;
      }
      case 'reapWorker': {
        const reaping = input as ReapInput;
        this.world.reapers = withEntry(this.world.reapers, reaping.workerId, reaping);
        this.abortCall(reaping.workerId);
        break;
      }
      case 'probeDatabase':
        this.world.probing = true;
        break;
      case 'loadPlan':
        break;
      default:
        throw new Error(`the machines start "${source}", which the model does not know`);
    }
  }

  #stop(address: Address): void {
    if (address === 'probe') this.world.probing = false;
    if (address === 'plan') this.world.plan = { ...this.world.plan, owed: 0 };
    if (address.endsWith('/call')) {
      const workerId = address.slice(0, address.indexOf('/'));
      if (this.world.calls[workerId] === undefined) return;
      if (this.world.coordinator.status === 'active') {
        this.breaks(5, `${workerId} left its call before the call had ended`);
      }
      this.abortCall(workerId);
    }
    if (!isWorker(address)) return;
    const mailbox = this.#company.mailboxes.get(this.#placeOf(address));
    if (mailbox === undefined) this.#remove(address);
    else mailbox.splice(0, mailbox.length, STOP);
  }

  #remove(address: Address): void {
    if (this.#read(address) === undefined) return;
    this.#write(address, undefined);
    this.#forget(address);
    this.#stop(`${address}/call`);
  }

  #forget(address: Address): void {
    this.world.timers = this.world.timers.filter(({ owner }) => owner !== address);
    for (const channel of Object.keys(this.world.channels)) {
      if (channel.endsWith(`>${address}`)) {
        this.world.channels = withEntry(this.world.channels, channel, undefined);
      }
    }
    this.#company.mailboxes.get(this.#placeOf(address))?.splice(0);
  }

  #read(address: Address): AnyMachineSnapshot | undefined {
    switch (address) {
      case 'coordinator':
        return this.world.coordinator;
      case 'limiter':
        return this.world.limiter;
      default:
        return this.world.workers[address];
    }
  }

  /** Snapshots come from `machineAt` of the same address, so each is of its machine's type. */
  #write(address: Address, snapshot: AnyMachineSnapshot | undefined): void {
    switch (address) {
      case 'coordinator':
        if (snapshot !== undefined) this.world.coordinator = snapshot as CoordinatorSnapshot;
        break;
      case 'limiter':
        if (snapshot === undefined) break;
        for (const { world } of this.#company.turns) world.limiter = snapshot as RateLimiterSnapshot;
        break;
      default:
        this.world.workers = withEntry(
          this.world.workers,
          address,
          snapshot as BatchWorkerSnapshot | undefined,
        );
    }
  }
}

/** An actor's address within this turn. */
const addressIn = ({ property }: Turn, place: Address): Address =>
  place === 'limiter' ? place : place.slice(property.prefix.length);

function machineAt(address: Address): AnyStateMachine | undefined {
  if (address === 'coordinator') return coordinatorMachine;
  if (address === 'limiter') return rateLimiterMachine;
  return isWorker(address) ? batchWorkerMachine : undefined;
}

const isStopped = (effects: readonly Effect[], address: Address): boolean =>
  effects.some((effect) => effect.kind === 'stop' && effect.address === address);

const isSame = (a: Timer, b: Timer): boolean => a.owner === b.owner && a.name === b.name;

/**
 * The coordinator talks to the limiter only on behalf of a dead worker. Its message must go after the worker's own last
 * messages.
 */
function spokenFor(event: AnyEventObject): Address {
  const assignmentId = String(event.requestId ?? event.leaseId);
  return assignmentId.slice(assignmentId.indexOf(':') + 1, assignmentId.indexOf('.'));
}
