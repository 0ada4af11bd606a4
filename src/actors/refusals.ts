/**
 * Whether a refusal by Google is final for the run. If Google has answered this run well before, a refusal of the property
 * or project contradicts that and may be a temporary fault. It is believed when it is repeated for a call that began after
 * the first refusal, with no good answer in between.
 *
 *   unknown ──good──► welcome ──refused──► doubtful ──refused, in a later call──► final
 *      │ refused         ▲                    │
 *      ▼                 └────────good────────┘
 *   final
 */
export interface Refusals {
  /** A call begins. Returns its view of the refusals. */
  begin(): RefusalsOfCall;
}

export interface RefusalsOfCall {
  /** Google has answered a page. */
  good(): void;
  /** Google has refused. Returns whether the refusal is final. */
  refused(): boolean;
}

type Standing =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'welcome' }
  /** Refused when this many calls had begun. */
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
