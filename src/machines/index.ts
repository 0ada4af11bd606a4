/**
 * The statecharts that run in production, to watch, draw or explore in tests. Provide their actors with
 * `machine.provide({ actors })`: `fetchBatch`, `loadPlan`, `probeDatabase`, `reapWorker`, `leaseBook`; `open`,
 * `execute`, `ask`, `closeAll`; `drawSample`, `askGoogle`.
 */

export type { AfterPage } from '../domain/page-result.ts';
export type { QuotaKind } from '../domain/quota-kind.ts';
export { type BackoffRule, backoffMs } from './backoff.ts';
export {
  type BatchWorkerContext,
  type BatchWorkerEvent,
  type BatchWorkerInput,
  type BatchWorkerSnapshot,
  batchWorkerMachine,
  type FetchBatchInput,
} from './batch-worker/batch-worker.ts';
export {
  type ConcurrencyControllerSnapshot,
  concurrencyControllerMachine,
} from './concurrency/concurrency-controller.ts';
export type {
  ConcurrencyControllerContext,
  ConcurrencyControllerEvent,
  ConcurrencyControllerInput,
  ConcurrencyDecision,
  ConcurrencyReason,
} from './concurrency/context.ts';
export {
  type CoordinatorContext,
  type CoordinatorEmitted,
  type CoordinatorEvent,
  type CoordinatorInput,
  type Ending,
  PROBE,
  type ReapInput,
  type ReapOutput,
} from './coordinator/context.ts';
export { type CoordinatorSnapshot, coordinatorMachine } from './coordinator/coordinator.ts';
export type { Assignment, DelayedGroup, Queues, WorkerSlot, WorkerStatus } from './coordinator/dispatch.ts';
export { DESCRIPTIONS, type MachineDescription } from './descriptions.ts';
export {
  isKept,
  type LeaseKeeperContext,
  type LeaseKeeperEmitted,
  type LeaseKeeperEvent,
  type LeaseKeeperInput,
  type LeaseKeeperSnapshot,
  leaseKeeperMachine,
  type RenewalOrder,
} from './lease-keeper/lease-keeper.ts';
export type * from './messages.ts';
export type { Lookup } from './rate-limiter/lookup.ts';
export {
  type Patience,
  type QuotaScopeContext,
  type QuotaScopeEvent,
  quotaScopeMachine,
  type ScopeCondition,
} from './rate-limiter/quota-scope.ts';
export type { Budget, BudgetRule, Budgets } from './rate-limiter/quota-window.ts';
export {
  type RateLimiterContext,
  type RateLimiterEmitted,
  type RateLimiterEvent,
  type RateLimiterInput,
  type RateLimiterSnapshot,
  type RecoveredEvent,
  rateLimiterMachine,
} from './rate-limiter/rate-limiter.ts';
export {
  type CloseInput,
  type ExecutionOrder,
  haltShares,
  type LifeFault,
  type LifeResult,
  type OpeningStep,
  type Question,
  type QuestionAnswer,
  type QuestionInput,
  type RunLifeContext,
  type RunLifeEvent,
  type RunLifeInput,
  type Wishes,
} from './run-life/context.ts';
export { type RunLifeActor, type RunLifeSnapshot, runLifeMachine } from './run-life/run-life.ts';
export type {
  AskEvent,
  AskGoogleInput,
  AskOrder,
  Check,
  CheckResult,
  DrawEvent,
  VerificationContext,
  VerificationEmitted,
  VerificationEnding,
  VerificationEvent,
  VerificationInput,
} from './verification/context.ts';
export { type VerificationSnapshot, verificationMachine } from './verification/verification.ts';
