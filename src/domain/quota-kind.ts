/**
 * `qps`: too many requests per minute. `load`: too much work within ten minutes. `daily`: the daily quota is used up.
 */
export const QUOTA_KINDS = ['qps', 'load', 'daily'] as const;
export type QuotaKind = (typeof QUOTA_KINDS)[number];
