/** The cost of the statecharts, without anything that they control. */
import { createActor, fromCallback, fromPromise } from 'xstate';
import { batchWorkerMachine, type FetchBatchInput } from '../../src/machines/batch-worker/batch-worker.ts';
import type { Ending } from '../../src/machines/coordinator/context.ts';
import { coordinatorMachine } from '../../src/machines/coordinator/coordinator.ts';
import type { CallOrder, PlanOrder } from '../../src/machines/messages.ts';
import { startLimiter } from '../../src/sync/limiter.ts';

const BACKOFF = { baseMs: 1_000, maxMs: 60_000 };
const SCOPES = ['site:bench', 'user:bench', 'project:bench'];

/**
 * The CPU time per page, in microseconds, of the real coordinator, workers and limiter. Calls are answered immediately, and
 * the quota is never reached.
 */
export async function measureMachines(pages: number, maxConcurrency: number): Promise<number> {
  const limiter = startLimiter('bench', { requestsPerMinute: 40_000 });
  const coordinator = createActor(quickMachine(pages), {
    input: {
      runId: 'bench',
      limiter: limiter.actor,
      scopes: SCOPES,
      maxConcurrency,
      batchSize: 50,
      maxAttempts: 5,
      maxConsecutiveCallFailures: 10,
      maxWorkerRestarts: 5,
      maxDatabaseProbes: 5,
      haltDeadlineMs: 5_000,
      finishDeadlineMs: 180_000,
      retryBackoff: BACKOFF,
      callBackoff: BACKOFF,
      callFailuresOfOutage: 3,
      soundAnswers: 3,
      maxGoogleProbes: 20,
      googleBackoff: { baseMs: 1_000, maxMs: 60_000 },
      probeBackoff: BACKOFF,
    },
  });
  const ended = new Promise<Ending | undefined>((resolve, reject) => {
    coordinator.subscribe({ error: reject, complete: () => resolve(coordinator.getSnapshot().output) });
  });
  const cpu = process.cpuUsage();
  coordinator.start();
  const ending = await ended;
  const { user, system } = process.cpuUsage(cpu);
  limiter.actor.stop();
  if (ending?.status !== 'complete') throw new Error(`the machines ended as ${ending?.status}`);
  return (user + system) / pages;
}

function quickMachine(pages: number) {
  const fetchBatch = fromCallback<CallOrder, FetchBatchInput>(({ input, sendBack }) => {
    const timer = setImmediate(() => {
      for (const { sliceId, startRow } of input.pages) {
        sendBack({ type: 'call.settled', tokens: 1, accepted: 1, graceMs: 0 });
        const result = { kind: 'committed', rows: 25_000, next: { kind: 'sealed' } };
        sendBack({ type: 'call.page', sliceId, startRow, result });
      }
      sendBack({ type: 'call.ended', outcome: { kind: 'answered' }, chance: 0.5 });
    });
    return () => clearImmediate(timer);
  });
  let supplied = 0;
  return coordinatorMachine.provide({
    actors: {
      batchWorker: batchWorkerMachine.provide({ actors: { fetchBatch } }),
      loadPlan: fromCallback<PlanOrder>(({ sendBack, receive }) => {
        receive(({ count }) => {
          const next = Array.from({ length: Math.min(count, pages - supplied) }, (_, index) => ({
            sliceId: `s${supplied + index}`,
            startRow: 0,
            attempts: 0,
            callFailures: 0,
          }));
          supplied += next.length;
          const more = supplied < pages ? 'whenLow' : 'none';
          sendBack({ type: 'plan.supplied', pages: next, more });
        });
      }),
      probeDatabase: fromPromise<void>(() => Promise.reject(new Error('there is no database'))),
      reapWorker: fromPromise(() => Promise.reject(new Error('no worker crashes here'))),
    },
  });
}
