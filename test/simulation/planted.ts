/**
 * Where a bug can be planted: around a port, or in a statechart by `provide`. A sound run plants nothing but the crashes
 * of workers that the scenario asks for.
 */
import { enqueueActions } from 'xstate';
import type { Clock } from '../../src/domain/clock.ts';
import { batchWorkerMachine } from '../../src/machines/batch-worker/batch-worker.ts';
import { coordinatorMachine } from '../../src/machines/coordinator/coordinator.ts';
import type { Transport } from '../../src/search-console/http/transport.ts';
import type { Client } from '../../src/search-console/request/call.ts';
import type { Store } from '../../src/store/store.ts';
import type { Config } from '../../src/sync/config.ts';
import type { Machines } from '../../src/sync/execution.ts';
import type { LimiterInternals } from '../../src/sync/limiter-internals.ts';
import type { Chance } from './chance.ts';

export interface Planted {
  store(store: Store): Store;
  client(client: Client): Client;
  transport(transport: Transport): Transport;
  limiter(clock: Clock, sound: () => LimiterInternals, config: Config): LimiterInternals;
  machines(chance: Chance, crashRate: number): Machines;
}

export const SOUND: Planted = {
  store: (store) => store,
  client: (client) => client,
  transport: (transport) => transport,
  limiter: (_clock, sound) => sound(),
  machines: (chance, crashRate) => ({
    coordinator: coordinatorMachine,
    batchWorker: crashRate === 0 ? batchWorkerMachine : crashingWorker(chance, crashRate),
  }),
};

/** A worker that crashes now and then: when it is granted tokens, in the middle of a call, or at its end. */
function crashingWorker(chance: Chance, rate: number): typeof batchWorkerMachine {
  const mayCrash = (): void => {
    if (chance.is(rate)) throw new Error('the worker crashed');
  };
  return batchWorkerMachine.provide({
    guards: {
      isMyGrant: ({ context, event }) => {
        mayCrash();
        return (
          event.type === 'tokens.granted' && event.requestId === context.assignmentId && event.tokens > 0
        );
      },
      callFailed: ({ event }) => {
        mayCrash();
        return event.type === 'call.ended' && event.outcome.kind === 'failed';
      },
    },
    actions: {
      settleTokens: enqueueActions(({ context, event, enqueue }) => {
        if (event.type !== 'call.settled') return;
        mayCrash();
        enqueue.sendTo(context.input.limiter, {
          type: 'lease.settled',
          leaseId: context.assignmentId,
          tokens: event.tokens,
          accepted: event.accepted,
          graceMs: event.graceMs,
        });
      }),
    },
  });
}
