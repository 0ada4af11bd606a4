/**
 * Which implementation is used: the fast path, which relies on a package's private internals, or the public interface.
 * Both give the same result.
 */
export type PathChoice =
  | { readonly kind: 'fast' }
  /** `reason` is a clause that says why the fast path cannot be used. */
  | { readonly kind: 'public'; readonly reason: string };
