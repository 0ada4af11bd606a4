/**
 * The statecharts that run in production, for those who want to watch them, draw them, or walk them in tests.
 * Provide their actors with `machine.provide({ actors })`: `fetchBatch`, `loadPlan`, `probeDatabase`, `reapWorker`.
 */
export { type BackoffRule, backoffMs } from './backoff.ts';
export {
  type BatchWorkerContext,
  type BatchWorkerEvent,
  type BatchWorkerInput,
  type BatchWorkerSnapshot,
  batchWorkerMachine,
  type FetchBatchInput,
} from './batch-worker.ts';
export type {
  ConcurrencyControllerContext,
  ConcurrencyControllerEvent,
  ConcurrencyControllerInput,
  ConcurrencyDecision,
  ConcurrencyReason,
} from './concurrency-context.ts';
export {
  type ConcurrencyControllerSnapshot,
  concurrencyControllerMachine,
} from './concurrency-controller.ts';
export { type CoordinatorSnapshot, coordinatorMachine } from './coordinator.ts';
export {
  type CoordinatorContext,
  type CoordinatorEmitted,
  type CoordinatorEvent,
  type CoordinatorInput,
  type Ending,
  PROBE,
  type ReapInput,
  type ReapOutput,
} from './coordinator-context.ts';
export type { Assignment, DelayedGroup, Queues, WorkerSlot, WorkerStatus } from './dispatch.ts';
export type * from './messages.ts';
export type { Budget, BudgetRule } from './quota-window.ts';
export {
  type RateLimiterContext,
  type RateLimiterEmitted,
  type RateLimiterEvent,
  type RateLimiterInput,
  type RateLimiterSnapshot,
  type RecoveredEvent,
  rateLimiterMachine,
} from './rate-limiter.ts';
