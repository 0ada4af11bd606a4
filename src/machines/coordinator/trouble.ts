/** Parts of one call with a good answer, and parts without. */
export interface PartsOfCall {
  readonly good: number;
  readonly bad: number;
}

const MIN_BAD = 3;
const BAD_SHARE = 0.1;

/**
 * Whether a call's failures are the server's trouble rather than a page's fault: most parts failed, or several parts
 * and at least a tenth of all. A page that Google cannot serve fails alone, and fails again in the next call; an outage
 * hits any page. A page that is wrongly excused is tried again, later by itself.
 */
export function isTroubleOfTheCall({ good, bad }: PartsOfCall): boolean {
  return bad > good || (bad >= MIN_BAD && bad >= BAD_SHARE * (good + bad));
}
