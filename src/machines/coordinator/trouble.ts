/** Parts of one call that were answered as they should be, and parts whose answer was none. */
export interface PartsOfCall {
  readonly good: number;
  readonly bad: number;
}

const LEAST_BAD = 3;
const BAD_SHARE = 0.1;

/**
 * Whether the failures of a call are the server's trouble, and no page's own fault: most of it failed, or several parts and
 * a tenth of all at once. A page that Google cannot serve fails alone among its neighbours, and again in the next call;
 * an outage takes whoever is there. Who is spared wrongly is tried again, and then by itself.
 */
export function isTroubleOfTheCall({ good, bad }: PartsOfCall): boolean {
  return bad > good || (bad >= LEAST_BAD && bad >= BAD_SHARE * (good + bad));
}
