/** `qps`: too many requests a minute. `load`: too much work in ten minutes. `daily`: the day's allowance is used. */
export type QuotaKind = 'qps' | 'load' | 'daily';
