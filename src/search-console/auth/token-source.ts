import type { ErrorCode } from '../../domain/errors.ts';

/** A token, or why there is none. `failed`: no retry mends it. `unavailable`: it may come later. */
export type TokenResult =
  | { readonly kind: 'token'; readonly token: string }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly reason: string; readonly nextStep: string }
  | { readonly kind: 'unavailable'; readonly reason: string };

/** Where tokens come from. */
export interface TokenSource {
  /** `renew`: the last one was refused; get another, not one that is kept. Never rejects. */
  get(renew: boolean): Promise<TokenResult>;
}
