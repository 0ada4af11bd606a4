import type { ErrorCode } from '../../domain/errors.ts';

/** A token, or why there is none. `failed`: a retry cannot help. `unavailable`: a retry may succeed. */
export type TokenResult =
  | { readonly kind: 'token'; readonly token: string }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly reason: string; readonly nextStep: string }
  | { readonly kind: 'unavailable'; readonly reason: string };

/** Where tokens come from. */
export interface TokenSource {
  /** `renew`: the last token was refused, so get a new one, not a cached one. Never rejects. */
  get(renew: boolean): Promise<TokenResult>;
}
