/**
 * The real actors, with everything around them in hand: calls, plan, probe, reaper and timers do what the test says, when
 * it says so. It is driven by what the model says happens from outside, and shows itself in the model's terms.
 */
import { type AnyActorRef, type AnyEventObject, createActor, fromCallback, fromPromise } from 'xstate';
import {
  batchWorkerMachine,
  type CallOrder,
  coordinatorMachine,
  type FetchBatchInput,
  type LimiterEvent,
  type PlanOrder,
  type ReapInput,
  type ReapOutput,
  type Recipient,
  rateLimiterMachine,
} from '../../../src/machines/index.ts';
import type { ModelOptions } from '../../../src/model/index.ts';
import { coordinatorInput, limiterInput } from '../../../src/model/transition.ts';
import { createTimers } from './timers.ts';

interface RealCall {
  readonly input: FetchBatchInput;
  readonly tell: (event: AnyEventObject) => void;
  aborted: boolean;
  /** How often it was told to try the database once more. */
  tries: number;
}

interface Pending {
  resolve(output: unknown): void;
  reject(error: unknown): void;
}

export function startRealSystem(options: ModelOptions) {
  const calls = new Map<string, RealCall>();
  const pending = new Map<string, Pending>();
  const timers = createTimers();
  const errors: unknown[] = [];
  let tellPlan: (event: AnyEventObject) => void = () => {};
  let owed = 0;

  const wait = <T>(address: string): Promise<T> =>
    new Promise((resolve, reject) => {
      pending.set(address, {
        // The model's own output for this very actor.
        resolve: (output) => resolve(output as T),
        reject,
      });
    });
  const fetchBatch = fromCallback<CallOrder, FetchBatchInput>(({ input, sendBack, receive }) => {
    // The model tells a call's worker nothing but events of a call.
    const call: RealCall = { input, tell: (event) => sendBack(event as never), aborted: false, tries: 0 };
    calls.set(input.workerId, call);
    receive(({ type }) => {
      if (type === 'call.abort') call.aborted = true;
      else call.tries += 1;
    });
    return () => {
      call.aborted = true;
    };
  });
  const loadPlan = fromCallback<PlanOrder>(({ sendBack, receive }) => {
    tellPlan = (event) => sendBack(event as never);
    receive(() => {
      owed += 1;
    });
  });
  const probeDatabase = fromPromise<void>(({ signal }) => {
    signal.addEventListener('abort', () => pending.delete('probe'));
    return wait('probe');
  });
  const reapWorker = fromPromise<ReapOutput, ReapInput>(({ input }) => {
    const call = calls.get(input.workerId);
    if (call !== undefined) call.aborted = true;
    return wait(`reap:${input.workerId}`);
  });

  const limiter = createActor(rateLimiterMachine, { input: limiterInput(options), clock: timers.clock });
  timers.watch(limiter);
  limiter.start();
  const machine = coordinatorMachine.provide({
    actors: {
      batchWorker: batchWorkerMachine.provide({ actors: { fetchBatch } }),
      loadPlan,
      probeDatabase,
      reapWorker,
    },
  });
  const coordinator = createActor(machine, {
    // Under `exactOptionalPropertyTypes` XState's actors do not match its own refs.
    input: { ...coordinatorInput(options), limiter: limiter as unknown as Recipient<LimiterEvent> },
    clock: timers.clock,
  });
  timers.watch(coordinator);
  limiter.subscribe({ error: (error) => errors.push(error) });
  coordinator.subscribe({ error: (error) => errors.push(error) });
  coordinator.start();

  /** The coordinator's children by id; XState types only those that a machine declares. */
  const childrenOf = (): Record<string, AnyActorRef | undefined> => ({
    ...coordinator.getSnapshot().children,
  });

  return {
    coordinator,
    limiter,
    calls,
    errors,
    timers,
    childrenOf,
    get owed() {
      return owed;
    },
    /** Something that the model says comes from outside. */
    happen(to: string, event: AnyEventObject): void {
      if (event.type.startsWith('plan.')) {
        owed -= 1;
        tellPlan(event);
      } else if (event.type.startsWith('call.')) {
        const call = calls.get(to);
        if (event.type === 'call.ended') calls.delete(to);
        call?.tell(event);
      } else if (event.type.startsWith('xstate.done.actor.')) {
        pending.get(event.actorId)?.resolve(event.output);
      } else if (event.type.startsWith('xstate.error.actor.')) {
        pending.get(event.actorId)?.reject(event.error);
      } else if (to === 'coordinator') {
        // What is left is what a host may say.
        coordinator.send(event as never);
      } else {
        throw new Error(`nobody knows how to make "${event.type}" happen to ${to}`);
      }
    },
    crash(workerId: string): void {
      childrenOf()[workerId]?.send(POISON);
    },
    stop(): void {
      coordinator.stop();
      limiter.stop();
    },
  };
}

/** An event whose reading throws, in whatever state the worker is: a fault of its own. */
const POISON = {
  type: 'tokens.granted',
  get requestId(): string {
    throw new Error('the worker crashed');
  },
  get leaseId(): string {
    throw new Error('the worker crashed');
  },
};
