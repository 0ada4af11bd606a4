/** The server took on no more. It costs the page no attempt. */
export interface QuotaRefusal {
  readonly kind: 'quota';
  /** `qps`: too many requests a minute. `load`: too much work in ten minutes. `daily`: the day's allowance is used. */
  readonly quota: 'qps' | 'load' | 'daily';
  /** From Retry-After, when the server sent one. */
  readonly retryAfterMs: number | null;
}

/** Every answer that is not the rows asked for. `reason`s are one line of bounded length and hold no token. */
export type Refusal =
  /** 5xx, a part missing, cut off or too large, an answer that cannot be read: the same request may go through later. */
  | { readonly kind: 'retryable'; readonly reason: string }
  | QuotaRefusal
  /** The token was refused. */
  | { readonly kind: 'unauthorized'; readonly reason: string }
  /** `FORBIDDEN`: no permission for the property. `MISSING_SCOPE`: the token was made for something else. */
  | { readonly kind: 'forbidden'; readonly code: 'FORBIDDEN' | 'MISSING_SCOPE'; readonly reason: string }
  /** Nothing will go through until a human acts. */
  | {
      readonly kind: 'fatal';
      readonly code: 'API_NOT_ENABLED' | 'INVALID_GRANT' | 'UNEXPECTED_ANSWER';
      readonly reason: string;
    }
  /** The request itself is wrong in the server's eyes: its slice fails, the rest goes on. */
  | { readonly kind: 'invalid'; readonly reason: string };
