/** Bugs to plant, to see that the simulation finds them. None of them is in the product: each is put around a port, or into a statechart. */
import { createActor, enqueueActions } from 'xstate';
import type { Clock } from '../../src/domain/clock.ts';
import { batchWorkerMachine } from '../../src/machines/batch-worker/batch-worker.ts';
import { slotOf, without, withSlot } from '../../src/machines/coordinator/context.ts';
import { coordinatorMachine } from '../../src/machines/coordinator/coordinator.ts';
import { rateLimiterMachine } from '../../src/machines/rate-limiter/rate-limiter.ts';
import { rowBlock } from '../../src/rows/row-block.ts';
import { TransportError } from '../../src/search-console/http/transport.ts';
import type { CallStep } from '../../src/search-console/request/call.ts';
import { actorClock, startLimiter } from '../../src/sync/limiter.ts';
import type { LimiterInternals } from '../../src/sync/limiter-internals.ts';
import { type Planted, SOUND } from './planted.ts';

/** The sound limiter with another statechart in it. */
function withMachine(
  sound: LimiterInternals,
  clock: Clock,
  machine: typeof rateLimiterMachine,
): LimiterInternals {
  const { input } = sound.actor.getSnapshot().context;
  sound.actor.stop();
  const actor = createActor(machine, { input, clock: actorClock(clock) });
  actor.start();
  return { ...sound, actor };
}

const limiterWith = (machine: typeof rateLimiterMachine): Planted => ({
  ...SOUND,
  limiter: (clock, sound) => withMachine(sound(), clock, machine),
});

export const BUGS: Readonly<Record<string, Planted>> = {
  /** A token is free again as soon as its page is answered, not a minute later. */
  'lease-settled-too-early': limiterWith(
    rateLimiterMachine.provide({
      actions: {
        settleLease: enqueueActions(({ event, enqueue }) => {
          if (event.type !== 'lease.settled') return;
          enqueue.raise({ type: 'lease.returned', leaseId: event.leaseId, tokens: event.tokens });
        }),
      },
    }),
  ),

  /** A token that was never sent is lost. */
  'unsent-token-kept': limiterWith(rateLimiterMachine.provide({ actions: { returnLease: () => undefined } })),

  /** The limiter counts one too few. */
  'one-token-too-many': {
    ...SOUND,
    limiter: (clock, sound, { requestsPerMinute, extraBudgets }) => {
      const { id, actor } = sound();
      actor.stop();
      return startLimiter(id, { requestsPerMinute: requestsPerMinute + 1, extraBudgets, clock });
    },
  },

  /** The client sends again what the connection broke under. */
  'retry-without-token': {
    ...SOUND,
    transport: (transport) => ({
      send: async (request, options) => {
        try {
          return await transport.send(request, options);
        } catch (error) {
          if (error instanceof TransportError && error.kind === 'reset')
            return transport.send(request, options);
          throw error;
        }
      },
    }),
  },

  /** Leases are not written down: who starts after a crash knows nothing of them. */
  'lease-not-recorded': {
    ...SOUND,
    store: (store) => ({ ...store, recordLease: async () => ({ kind: 'ok', value: null }) }),
  },

  /** What a dead process sent is taken for answered, though it may not have arrived. */
  'bytes-of-the-dead-forgotten': {
    ...SOUND,
    store: (store) => ({
      ...store,
      async readOpenLeases(scopes, windowMs) {
        const found = await store.readOpenLeases(scopes, windowMs);
        if (found.kind !== 'ok') return found;
        const value = found.value.map((lease) => ({ ...lease, settledMsAgo: lease.settledMsAgo ?? 0 }));
        return { kind: 'ok', value };
      },
    }),
  },

  /** Pages that a worker gives back, because the call was aborted or refused, are forgotten. */
  'returned-page-forgotten': {
    ...SOUND,
    machines: () => ({
      batchWorker: batchWorkerMachine,
      coordinator: coordinatorMachine.provide({
        actions: {
          takeBack: enqueueActions(({ context, event, enqueue }) => {
            if (event.type !== 'pages.returned') return;
            const slot = slotOf(context, event);
            if (slot === undefined) return;
            const pages = event.pages.reduce<typeof slot.pages>(without, slot.pages);
            enqueue.assign({ workers: withSlot(context.workers, { ...slot, pages }) });
          }),
        },
      }),
    }),
  },

  /** A slice is called whole when a page of it is. */
  'sealed-before-the-last-page': {
    ...SOUND,
    store: (store) => ({
      ...store,
      openQueue: (signal, wait) => {
        const queue = store.openQueue(signal, wait);
        return { commitPage: (page) => queue.commitPage({ ...page, rowLimit: page.rowLimit + 1 }) };
      },
    }),
  },

  /** What came back empty before the calendar was there is never looked at again. */
  'empty-too-early-forgotten': {
    ...SOUND,
    store: (store) => ({
      ...store,
      settleSpeculative: async (keys) => {
        const settled = await store.settleSpeculative(keys);
        return settled.kind === 'ok' ? { kind: 'ok', value: [] } : settled;
      },
    }),
  },

  /** A part that did not come, or cannot be read, is taken for one without rows. */
  'missing-part-taken-for-empty': {
    ...SOUND,
    client: (client) => ({
      async *call(requests, options) {
        for await (const step of client.call(requests, options)) yield emptied(step);
      },
    }),
  },
};

function emptied(step: CallStep): CallStep {
  if (step.kind !== 'answer' || step.outcome.kind !== 'retryable') return step;
  const answer = {
    rows: rowBlock([]),
    firstIncompleteDate: null,
    firstIncompleteHour: null,
    responseAggregationType: null,
    bytes: 2,
  };
  return { ...step, outcome: { kind: 'ok', answer } };
}
