/**
 * What is to be fetched: pure decisions over the range asked for, what the table has, and Google's calendar.
 */
import type { Coverage, CoverageRange } from '../domain/coverage.ts';
import { addDays, daysNewestFirst, FINAL_LAG_DAYS } from '../domain/day.ts';
import { type Day, type SearchType, type SliceKey, whyNotServed } from '../domain/slice.ts';

/** What Google says it has for one search type: published days with data, and from where on they still change. */
export interface PublishedDays {
  /** Their clicks. */
  readonly days: ReadonlyMap<Day, number>;
  readonly lastPublished: Day | null;
  readonly firstIncomplete: Day | null;
  /** Days among them that Google leaves out now, and named before. */
  readonly leftOut?: ReadonlySet<Day>;
}

/** What decides how much is begun on trust: the pool as the run starts, and the day. */
export interface TrustRules {
  readonly maxConcurrency: number;
  readonly batchSize: number;
  readonly today: Day;
}

/** `fetch` in the order to fetch in. `empty` days are complete without a call; `notPublished` ones are left for later. */
export interface Plan {
  readonly fetch: readonly SliceKey[];
  readonly empty: readonly SliceKey[];
  readonly notPublished: readonly SliceKey[];
}

export const keyOf = ({ searchType, dataset, date }: SliceKey): string => `${searchType} ${dataset} ${date}`;

/** Every key of the range, newest day first. Combinations that Google does not serve are no part of it. */
export function keysOf({ from, to, searchTypes, datasets }: CoverageRange): SliceKey[] {
  return daysNewestFirst(from, to).flatMap((date) =>
    searchTypes.flatMap((searchType) =>
      datasets
        .filter((dataset) => whyNotServed(searchType, dataset) === undefined)
        .map((dataset) => ({ searchType, dataset, date })),
    ),
  );
}

/** Keys that the table does not have for good: missing, open, failed, not final when fetched, or due for a refresh. */
export function missingKeys(range: CoverageRange, held: readonly Coverage[]): SliceKey[] {
  const done = new Set(
    held
      .filter(({ status, final, beforeCutOff }) => status === 'complete' && final && !beforeCutOff)
      .map(keyOf),
  );
  return keysOf(range).filter((key) => !done.has(keyOf(key)));
}

/**
 * Sorts missing keys by the calendar. A day that it leaves out before the last published one is empty. A day after the
 * last published one is late, not empty. Of a day that it leaves out and named before, what is held is kept: `held` are the keys
 * of which something is complete.
 */
export function planByCalendar(
  missing: readonly SliceKey[],
  calendars: ReadonlyMap<SearchType, PublishedDays>,
  held: ReadonlySet<string> = new Set(),
): Plan {
  const fetch: SliceKey[] = [];
  const empty: SliceKey[] = [];
  const notPublished: SliceKey[] = [];
  for (const key of missing) {
    const calendar = calendars.get(key.searchType);
    const last = calendar?.lastPublished ?? null;
    if (calendar === undefined || last === null || key.date > last) notPublished.push(key);
    else if (calendar.leftOut?.has(key.date) === true && held.has(keyOf(key))) empty.push(key);
    else if (calendar.days.has(key.date)) fetch.push(key);
    else empty.push(key);
  }
  return { fetch, empty, notPublished };
}

/**
 * Days of this age are begun on trust. Google publishes a day within two or three, and changes it for about as long; where
 * it is late, then by days and not by a week. So such a day is published, is final, and has data unless nobody came.
 */
const TRUSTED_AGE_DAYS = 10;
/** The one search type of which almost every day has data. Many properties have none of the others, on any day. */
const TRUSTED_TYPE: SearchType = 'web';
/**
 * Fewer rounds of full batches than this are over so soon that little is lost by waiting. And so no more than half of a
 * plan is begun on trust: if it is misplaced, so much is the most that is asked in vain.
 */
const LEAST_ROUNDS = 2;

/**
 * The keys that are fetched while the calendars are on their way, as much as one batch for each worker that does not
 * fetch a calendar: newest first, of days that will almost surely have data. None in a small plan.
 */
export function trustedKeys(
  missing: readonly SliceKey[],
  { maxConcurrency, batchSize, today }: TrustRules,
): readonly SliceKey[] {
  const calendars = new Set(missing.map(({ searchType }) => searchType)).size;
  if (maxConcurrency < 2 || missing.length < LEAST_ROUNDS * maxConcurrency * batchSize) return [];
  const most = Math.max(1, maxConcurrency - calendars) * batchSize;
  const newest = addDays(today, -TRUSTED_AGE_DAYS);
  return missing
    .filter(({ searchType, date }) => searchType === TRUSTED_TYPE && date <= newest)
    .slice(0, most);
}

/** Whether Google will change this day no more. Without a word of Google's, its documented lag decides. */
export function isFinal(date: Day, calendar: PublishedDays | undefined, today: Day): boolean {
  if (date > addDays(today, -FINAL_LAG_DAYS)) return false;
  const firstIncomplete = calendar?.firstIncomplete ?? null;
  return firstIncomplete === null || date < firstIncomplete;
}

/** Whether an empty answer completes the day: only before the last published one. */
export function mayBeEmpty(date: Day, calendar: PublishedDays | undefined): boolean {
  const last = calendar?.lastPublished ?? null;
  return last !== null && date < last;
}
