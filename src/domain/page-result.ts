/** What follows a committed page. */
export type AfterPage =
  | { readonly kind: 'page'; readonly startRow: number }
  /** `capped`: with as many rows as Google gives at most. `duplicatesDropped`: rows of its pages that it does not have. */
  | { readonly kind: 'sealed'; readonly capped?: true; readonly duplicatesDropped?: number }
  /** Rows seem to be missing from the slice. It is fetched once more under a new ID. */
  | { readonly kind: 'again'; readonly sliceId: string }
  /** The day is not published yet: the slice is neither complete nor failed. */
  | { readonly kind: 'notPublished' }
  /** The slice ended as failed although all its pages arrived: it shrank. */
  | { readonly kind: 'failed'; readonly reason: string };
