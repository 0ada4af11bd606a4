/** What a request was refused for, by the server's words. */

/** The filters or the aggregation: every request of the run has them. */
export const refusesSelection = (reason: string): boolean =>
  /\bfilter|\bregular expression|\bregex|\bRE2\b|\baggregat/i.test(reason);

/** The dimensions together, or for this search type: every request of the dataset has them. */
export const refusesCombination = (reason: string): boolean =>
  /\bgroup(?:ed|ing)?\b|\bdimensions?\b/i.test(reason);
