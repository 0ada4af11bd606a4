/**
 * Whether to believe that Google refuses a run for good. Where it has answered this very run well, a refusal of the property or
 * of the project contradicts that, and Google has its bad moments: it is believed when it is said again to a call that
 * began after it was first said, with no good answer between.
 *
 *   unknown ──good──► welcome ──refused──► doubtful ──refused, in a later call──► for good
 *      │ refused         ▲                    │
 *      ▼                 └────────good────────┘
 *   for good
 */
export interface Refusals {
  /** A call begins: what it is to ask and tell by. */
  begin(): RefusalsOfCall;
}

export interface RefusalsOfCall {
  /** Google has answered a page. */
  good(): void;
  /** Google has refused: whether that is for good. */
  refused(): boolean;
}

type Standing =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'welcome' }
  /** Refused while so many calls had begun. */
  | { readonly kind: 'doubtful'; readonly begun: number };

export function createRefusals(): Refusals {
  let standing: Standing = { kind: 'unknown' };
  let begun = 0;
  return {
    begin() {
      begun += 1;
      const number = begun;
      return {
        good() {
          standing = { kind: 'welcome' };
        },
        refused() {
          if (standing.kind === 'welcome') standing = { kind: 'doubtful', begun };
          return standing.kind === 'unknown' || (standing.kind === 'doubtful' && number > standing.begun);
        },
      };
    },
  };
}
