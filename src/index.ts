/**
 * Longtail copies a site's whole Google Search Console history into your own PostgreSQL: fast, never over quota, never
 * wrong after a crash.
 */

export type { QuotaKind } from './domain/quota-kind.ts';
export type { Dataset, DatasetName, Day, SearchType, SliceFailure } from './domain/slice.ts';
export { ERROR_CODES, type ErrorCode, LongtailError } from './errors.ts';
export type { ConcurrencyReason } from './machines/concurrency-context.ts';
export type { HaltReason } from './machines/messages.ts';
export type { BudgetRule } from './machines/quota-window.ts';
export { createRateLimiter, type RateLimiter, type RateLimiterOptions } from './rate-limiter.ts';
export type { Credentials } from './search-console/credentials.ts';
export { createSync } from './sync.ts';
export type {
  AutoConcurrencyOptions,
  ConcurrencyEvent,
  DryRun,
  Outcome,
  Progress,
  QuotaEvent,
  RetryEvent,
  RunFigures,
  SliceEvent,
  Sync,
  SyncEvents,
  SyncOptions,
} from './sync-types.ts';
