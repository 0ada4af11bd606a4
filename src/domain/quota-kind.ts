/**
 * `qps`: too many requests per minute. `load`: too much work within ten minutes. `daily`: the daily quota is used up.
 */
export type QuotaKind = 'qps' | 'load' | 'daily';
