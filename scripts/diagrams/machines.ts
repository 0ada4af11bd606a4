/** The machines that are drawn, in the order of the document. */
import type { AnyStateMachine } from 'xstate';
import {
  batchWorkerMachine,
  concurrencyControllerMachine,
  coordinatorMachine,
  leaseKeeperMachine,
  quotaScopeMachine,
  rateLimiterMachine,
  runLifeMachine,
  verificationMachine,
} from '../../src/machines/index.ts';

export interface Subject {
  readonly machine: AnyStateMachine;
  /** Used for its heading and its file. */
  readonly name: string;
  readonly file: string;
  /** One sentence: what it decides. */
  readonly purpose: string;
  readonly source: string;
}

export const SUBJECTS: readonly Subject[] = [
  {
    machine: runLifeMachine,
    name: 'Run life',
    file: 'run-life',
    purpose: 'Takes a run from opening to closing, and makes sure that every phase hears a halt.',
    source: 'src/machines/run-life/run-life.ts',
  },
  {
    machine: coordinatorMachine,
    name: 'Coordinator',
    file: 'coordinator',
    purpose:
      'Gives pages to the batch workers, waits for Google or the database, and decides how a run ends.',
    source: 'src/machines/coordinator/coordinator.ts',
  },
  {
    machine: batchWorkerMachine,
    name: 'Batch worker',
    file: 'batch-worker',
    purpose: 'Gets tokens for a batch of pages, has them fetched in one call, and reports page by page.',
    source: 'src/machines/batch-worker/batch-worker.ts',
  },
  {
    machine: rateLimiterMachine,
    name: 'Rate limiter',
    file: 'rate-limiter',
    purpose: 'Grants tokens within the quota, in the order in which they were requested.',
    source: 'src/machines/rate-limiter/rate-limiter.ts',
  },
  {
    machine: quotaScopeMachine,
    name: 'Quota scope',
    file: 'quota-scope',
    purpose: 'Decides, for one budget of the rate limiter, what follows when Google refuses a request.',
    source: 'src/machines/rate-limiter/quota-scope.ts',
  },
  {
    machine: concurrencyControllerMachine,
    name: 'Concurrency controller',
    file: 'concurrency-controller',
    purpose: 'Finds the best number of concurrent calls, and reduces it at the first sign of trouble.',
    source: 'src/machines/concurrency/concurrency-controller.ts',
  },
  {
    machine: leaseKeeperMachine,
    name: 'Lease keeper',
    file: 'lease-keeper',
    purpose: 'Renews the leases of a run, and stops its calls when it is no longer sure of them.',
    source: 'src/machines/lease-keeper/lease-keeper.ts',
  },
  {
    machine: verificationMachine,
    name: 'Verification',
    file: 'verification',
    purpose:
      'Asks Google for a sample of the table, key by key, and asks again before it reports a difference.',
    source: 'src/machines/verification/verification.ts',
  },
];
