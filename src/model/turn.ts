/**
 * One event of the world, carried out: messages travel, machines step, and what they ask for is done. A turn works on a
 * draft of its own and leaves the world it was given as it was.
 *
 * In `sync` semantics a message is handled where it is sent, before the sender's next effect, unless its receiver is in
 * the middle of a step: then it waits in the receiver's mailbox. That is XState's order. In `interleaved` semantics
 * messages between machines wait in their channel until a `deliver` event.
 */
import type { AnyEventObject, AnyMachineSnapshot, AnyStateMachine } from 'xstate';
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
import type { ModelOptions } from './options.ts';
import { noteAssignment, noteCallStart, noteCommit, noteDelivery } from './record.ts';
import type { StepMemory } from './step-memory.ts';
import { type Broken, channelName, type Draft, type Timer, type World, withEntry } from './world.ts';
import { type Address, type Effect, idOf, parentOf } from './xstate-internals.ts';

/** More messages than this in one turn, and it never comes to rest: a turn of a large world has some dozens. */
const MOST_MESSAGES = 2_000;

/** What a stopped actor finds at the end of its mailbox. */
const STOP: AnyEventObject = { type: 'xstate.stop' };

const isWorker = (address: Address): boolean => /^w\d+$/.test(address);

/** Something said to a machine, or to a stand-in. */
export interface Message {
  /** Undefined for what comes from outside the machines. */
  readonly from: Address | undefined;
  readonly to: Address;
  readonly event: AnyEventObject;
}
export type Listener = (message: Message) => void;

export class Turn {
  readonly world: Draft;
  readonly options: ModelOptions;
  readonly #memory: StepMemory;
  readonly #listener: Listener | undefined;
  /** Of actors in the middle of a step. */
  readonly #mailboxes = new Map<Address, AnyEventObject[]>();
  #messages = 0;

  constructor(world: World, options: ModelOptions, memory: StepMemory, listener?: Listener) {
    this.world = { ...world };
    this.options = options;
    this.#memory = memory;
    this.#listener = listener;
  }

  /** Something from outside happens to a machine now, whatever the semantics. */
  happen(to: Address, event: AnyEventObject): void {
    this.#listener?.({ from: undefined, to, event });
    this.deliver(to, event);
  }

  /** Hands an event to a machine. */
  deliver(to: Address, event: AnyEventObject): void {
    const mailbox = this.#mailboxes.get(to);
    if (mailbox !== undefined) {
      mailbox.push(event);
      return;
    }
    const own: AnyEventObject[] = [];
    this.#mailboxes.set(to, own);
    for (let next: AnyEventObject | undefined = event; next !== undefined; next = own.shift()) {
      this.#process(to, next);
    }
    this.#mailboxes.delete(to);
  }

  begin(machine: AnyStateMachine, address: Address, input: unknown): void {
    const { snapshot, effects } = this.#memory.begin(machine, address, input);
    this.#mailboxes.set(address, []);
    this.#write(address, snapshot);
    this.#carryOut(address, effects);
    const mailbox = this.#mailboxes.get(address) ?? [];
    this.#mailboxes.delete(address);
    for (const event of mailbox) this.deliver(address, event);
  }

  breaks(invariant: Broken['invariant'], what: string): void {
    const { history } = this.world;
    this.world.history = { ...history, broken: [...history.broken, { invariant, what }] };
  }

  /** A machine threw, or was made to: its timers and its mail are gone, its children live on, its parent is told. */
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
    if (this.#messages === MOST_MESSAGES) this.breaks(6, `${to} and others answer each other for ever`);
    if (this.#messages >= MOST_MESSAGES) return;
    const machine = machineAt(to);
    const before = this.#read(to);
    // A dead letter: XState drops it, too.
    if (machine === undefined || before === undefined || before.status !== 'active') return;
    try {
      const { snapshot, effects } = this.#memory.advance(machine, to, before, event);
      this.#write(to, snapshot);
      if (snapshot.status === 'error') throw snapshot.error;
      noteDelivery(this, to, event);
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
        case 'send':
          this.#send(from, effect.to, effect.event);
          break;
        case 'schedule':
          this.#schedule(from, effect);
          break;
        case 'cancel':
          this.world.timers = this.world.timers.filter(
            ({ owner, name }) => owner !== from || name !== effect.id,
          );
          break;
        case 'spawn':
          // An actor that is stopped in the step that spawned it never starts.
          if (!isStopped(effects.slice(index + 1), effect.address)) this.#spawn(effect);
          break;
        case 'stop':
          this.#stop(effect.address);
          break;
        case 'emit':
          if (from === 'coordinator') noteCommit(this, effect.event);
          break;
      }
    }
  }

  #send(from: Address, to: Address, event: AnyEventObject): void {
    this.#listener?.({ from, to, event });
    if (from === 'coordinator' && event.type === 'batch.assign') noteAssignment(this, to, event);
    if (to === 'plan') {
      const { plan } = this.world;
      if (plan.owed > 0) this.breaks(8, 'the plan was asked while it owed an answer');
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
    // What is sent to nobody is dropped where it is sent.
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
    // XState keeps one timer an id: a second one takes the first one's place.
    const others =
      id === undefined ? this.world.timers : this.world.timers.filter((other) => !isSame(other, timer));
    this.world.timers = [...others, timer];
  }

  #spawn({ address, source, input }: Extract<Effect, { kind: 'spawn' }>): void {
    switch (source) {
      case 'batchWorker':
        this.begin(batchWorkerMachine, address, input);
        break;
      case 'fetchBatch': {
        const workerId = parentOf(address) ?? address;
        // What `fetchBatch` is started with is the worker machine's own type.
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
    const mailbox = this.#mailboxes.get(address);
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
    this.#mailboxes.get(address)?.splice(0);
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
        if (snapshot !== undefined) this.world.limiter = snapshot as RateLimiterSnapshot;
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

function machineAt(address: Address): AnyStateMachine | undefined {
  if (address === 'coordinator') return coordinatorMachine;
  if (address === 'limiter') return rateLimiterMachine;
  return isWorker(address) ? batchWorkerMachine : undefined;
}

const isStopped = (effects: readonly Effect[], address: Address): boolean =>
  effects.some((effect) => effect.kind === 'stop' && effect.address === address);

const isSame = (a: Timer, b: Timer): boolean => a.owner === b.owner && a.name === b.name;

/**
 * The coordinator speaks to the limiter only for a worker that is gone, and only after that worker has been heard out:
 * what it says goes after the worker's own last words.
 */
function spokenFor(event: AnyEventObject): Address {
  const assignmentId = String(event.requestId ?? event.leaseId);
  return assignmentId.slice(assignmentId.indexOf(':') + 1, assignmentId.indexOf('.'));
}
