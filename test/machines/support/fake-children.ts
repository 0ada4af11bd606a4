/** The coordinator's children, faked: they note what they are told, and say or do what the test wants. */
import { type ActorLogic, type EventObject, fromCallback, fromPromise, type Snapshot } from 'xstate';
import type {
  BatchWorkerInput,
  batchWorkerMachine,
} from '../../../src/machines/batch-worker/batch-worker.ts';
import type { CoordinatorEvent, ReapInput, ReapOutput } from '../../../src/machines/coordinator/context.ts';
import { coordinatorMachine } from '../../../src/machines/coordinator/coordinator.ts';
import type { PlanOrder } from '../../../src/machines/messages.ts';
import type { Mailboxes } from './rig.ts';

interface Promised {
  readonly resolve: (output: ReapOutput | undefined) => void;
  readonly reject: (error: Error) => void;
}

type FakeSnapshot = Snapshot<undefined> & { readonly input: BatchWorkerInput };

export const CRASH = new Error('crashed');

/** Long enough for a promise's actor to tell its parent. */
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export function createFakeChildren(mailboxes: Mailboxes) {
  const crashes = new Map<string, () => void>();
  const promised = new Map<string, Promised>();
  const promise = (id: string) =>
    new Promise<ReapOutput | undefined>((resolve, reject) => promised.set(id, { resolve, reject }));

  const worker: ActorLogic<FakeSnapshot, EventObject, BatchWorkerInput> = {
    getInitialSnapshot: (_, input) => ({ status: 'active', output: undefined, error: undefined, input }),
    start: (_, { self }) => {
      const { input } = self.getSnapshot();
      mailboxes.noteStart(input.workerId, input);
      crashes.set(input.workerId, () => self.send({ type: 'crash' }));
    },
    transition: (snapshot, event) => {
      if (event.type === 'crash') throw CRASH;
      if (!event.type.startsWith('xstate.')) mailboxes.note({ to: snapshot.input.workerId, event });
      return snapshot;
    },
    getPersistedSnapshot: (snapshot) => snapshot,
  };
  const machine = coordinatorMachine.provide({
    actors: {
      // `provide` wants a machine of the very same type; the coordinator needs no more than its messages.
      batchWorker: worker as unknown as typeof batchWorkerMachine,
      loadPlan: fromCallback<PlanOrder>(({ receive, input }) => {
        mailboxes.noteStart('plan', input);
        receive((event) => mailboxes.note({ to: 'plan', event }));
      }),
      probeDatabase: fromPromise<void>(async ({ input }) => {
        mailboxes.noteStart('probe', input);
        await promise('probe');
      }),
      reapWorker: fromPromise<ReapOutput, ReapInput>(async ({ input }) => {
        const id = `reap:${input.workerId}`;
        mailboxes.noteStart(id, input);
        const output = await promise(id);
        if (output === undefined) throw new Error('a reaper without a result');
        return output;
      }),
    },
  });
  /** What makes the child do what the event says it did; undefined when the event is not of a child's end. */
  const deliver = (event: CoordinatorEvent): (() => void | Promise<void>) | undefined => {
    if (!('actorId' in event)) return undefined;
    const { actorId } = event;
    const child = promised.get(actorId);
    if (child !== undefined) {
      promised.delete(actorId);
      return () => {
        if ('error' in event) child.reject(CRASH);
        else child.resolve(event.output as ReapOutput | undefined);
        return nextTurn();
      };
    }
    return crashes.get(actorId);
  };
  return { machine, deliver };
}
