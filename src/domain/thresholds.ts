/**
 * When somebody or something should react. The rate limiter, the concurrency controller and the alert rules of
 * `dashboards/` all take their numbers from here.
 */
export const THRESHOLDS = {
  /** Used share of a budget at which `quota.approaching` is emitted, and above which the level is not raised. */
  quotaShare: 0.8,
  /** How long a budget may stay above that share. A backfill does so for hours; then the level is as high as it pays. */
  approachingMinutes: 60,
  /** Longest time between two complete runs of a property that is synchronised every day. */
  successHours: 26,
  /** How long a run may wait for its database, or for Google. */
  awayMinutes: 5,
  /** Failed calls, as a share of all. */
  failedCallShare: 0.1,
  failedCallMinutes: 15,
  /** Resident memory of a process that runs `sync`: the bounds of its parts add up to far less. */
  memoryBytes: 768 * 1024 * 1024,
  memoryMinutes: 10,
  /** How long an alert stays that a counter has raised: long enough to be seen, short enough to end by itself. */
  recentMinutes: 30,
} as const;
