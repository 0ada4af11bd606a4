/**
 * Longtail copies the whole Google Search Console history of a site into your own PostgreSQL: fast, never over quota, never
 * wrong after a crash.
 *
 * {@link createSync} describes one run for one property. {@link createRateLimiter} makes several runs share one quota.
 * @example
 * await using sync = createSync({ siteUrl: 'sc-domain:example.com', database: process.env.DATABASE_URL });
 * const { status, rows } = await sync.run();
 */

export type { DatasetName, Dimension, NotServed } from './domain/dataset.ts';
export { ERROR_CODES, type ErrorCode, LongtailError } from './domain/errors.ts';
export type { Aggregation, Filter, FilterDimension, FilterOperator } from './domain/filter.ts';
export type { QuotaKind } from './domain/quota-kind.ts';
export type { RowFigures, WhyNotAsked } from './domain/row-check.ts';
export type { Dataset, Day, SearchType, SliceFailure } from './domain/slice.ts';
export type { ConcurrencyReason } from './machines/concurrency/context.ts';
export type { HaltReason } from './machines/messages.ts';
export type { BudgetRule } from './machines/rate-limiter/quota-window.ts';
export type { Credentials } from './search-console/auth/credentials.ts';
export { createRateLimiter, type RateLimiter, type RateLimiterOptions } from './sync/limiter.ts';
export { createSync } from './sync/sync.ts';
export type {
  AutoConcurrencyOptions,
  ConcurrencyEvent,
  DryRun,
  FallbackEvent,
  NoticeEvent,
  Outcome,
  Progress,
  ProgressState,
  QuotaEvent,
  RetryEvent,
  RunFigures,
  SliceEvent,
  StartedEvent,
  Sync,
  SyncEvents,
  SyncOptions,
} from './sync/types.ts';
export type {
  Difference,
  SkippedKey,
  UnansweredKey,
  Verification,
  VerificationEvents,
  VerificationFigures,
  VerificationOptions,
  VerificationOutcome,
  VerificationProgress,
  VerificationState,
  VerifiedKey,
} from './sync/verification/types.ts';
export { createVerification } from './sync/verification/verification.ts';
export { createMetrics, type Metrics, type MetricsOptions } from './watch/metrics.ts';
