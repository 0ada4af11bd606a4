/** What follows a committed page. */
export type AfterPage =
  | { readonly kind: 'page'; readonly startRow: number }
  | { readonly kind: 'sealed' }
  /** The slice looked as if rows were missing: it is fetched once more, under a new id. */
  | { readonly kind: 'again'; readonly sliceId: string }
  /** The day is not published yet: not complete, not failed. */
  | { readonly kind: 'notPublished' }
  /** The slice ended as failed although its pages came (it shrank). */
  | { readonly kind: 'failed'; readonly reason: string };
