/** What to fetch: pure decisions based on the requested range, the table's coverage, and Google's calendar. */
import type { Coverage, CoverageRange } from '../domain/coverage.ts';
import { isTwoStep, oldestDayOf, whyNotServed } from '../domain/dataset.ts';
import { addDays, daysNewestFirst, FINAL_LAG_DAYS } from '../domain/day.ts';
import type { Day, SearchType, SliceKey } from '../domain/slice.ts';

/** One search type in Google's calendar: the published days with data, and the first day that may still change. */
export interface PublishedDays {
  /** Published days and their clicks. */
  readonly days: ReadonlyMap<Day, number>;
  readonly lastPublished: Day | null;
  readonly firstIncomplete: Day | null;
  /** Days in `days` that Google used to list and now leaves out. */
  readonly leftOut?: ReadonlySet<Day>;
}

/** What decides how many slices are fetched speculatively: the initial worker pool and the current day. */
export interface SpeculationRules {
  readonly maxConcurrency: number;
  readonly batchSize: number;
  readonly today: Day;
}

/** `fetch` is in fetch order. `empty` days are complete without a call. `notPublished` days are left for later. */
export interface Plan {
  readonly fetch: readonly SliceKey[];
  readonly empty: readonly SliceKey[];
  readonly notPublished: readonly SliceKey[];
}

export const keyOf = ({ searchType, dataset, date, part = '' }: SliceKey): string =>
  `${searchType} ${dataset} ${date}${part === '' ? '' : ` ${part}`}`;

/**
 * Every key of the range, newest day first, without combinations that Google does not serve and days that it no longer has
 * of a dataset. A day that is requested in parts is one key.
 */
export function keysOf({ from, to, searchTypes, datasets, today, refused = [] }: CoverageRange): SliceKey[] {
  const combinations = searchTypes.flatMap((searchType) =>
    datasets
      .filter(
        (dataset) =>
          whyNotServed(searchType, dataset) === undefined &&
          !refused.some((other) => other.searchType === searchType && other.dataset === dataset),
      )
      .map((dataset) => ({
        searchType,
        dataset,
        oldest: (today === undefined ? null : oldestDayOf(dataset, today)) ?? from,
      })),
  );
  return daysNewestFirst(from, to).flatMap((date) =>
    combinations
      .filter(({ oldest }) => date >= oldest)
      .map(({ searchType, dataset }) => ({ searchType, dataset, date })),
  );
}

/**
 * Keys that the table lacks or must fetch again: missing, open, failed, not final when fetched, or due for a refresh.
 */
export function missingKeys(range: CoverageRange, held: readonly Coverage[]): SliceKey[] {
  const done = new Set(
    held
      .filter(({ status, final, beforeCutOff }) => status === 'complete' && final && !beforeCutOff)
      .map(keyOf),
  );
  return keysOf(range).filter((key) => !done.has(keyOf(key)));
}

/**
 * Sorts missing keys by the calendar. A day missing from the calendar is empty if it is before the last published day,
 * and late if after. If the calendar used to list the day, existing data is kept: `held` contains the keys with a
 * complete slice.
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
 * Minimum age in days for speculative fetching. Google publishes a day within two or three days and changes it for
 * about as long. Delays are of days, not of a week. So such a day is published, final, and has data unless the site had
 * no visitors.
 */
const SPECULATIVE_AGE_DAYS = 10;
/** The only search type with data on almost every day. Many properties have no data at all for the others. */
const SPECULATIVE_TYPE: SearchType = 'web';
/**
 * In plans with fewer rounds of full batches, waiting for the calendars costs little. This also limits speculative
 * slices to half of the plan, and so the number of wasted requests.
 */
const MIN_ROUNDS = 2;

/**
 * The keys to fetch while the calendars are under way: one batch for each worker that does not fetch a calendar, newest
 * first, only days that almost surely have data. Empty for a small plan.
 */
export function speculativeKeys(
  missing: readonly SliceKey[],
  { maxConcurrency, batchSize, today }: SpeculationRules,
): readonly SliceKey[] {
  const calendars = new Set(missing.map(({ searchType }) => searchType)).size;
  if (maxConcurrency < 2 || missing.length < MIN_ROUNDS * maxConcurrency * batchSize) return [];
  const most = Math.max(1, maxConcurrency - calendars) * batchSize;
  const newest = addDays(today, -SPECULATIVE_AGE_DAYS);
  return missing
    .filter(
      ({ searchType, dataset, date }) =>
        searchType === SPECULATIVE_TYPE && date <= newest && !isTwoStep(dataset),
    )
    .slice(0, most);
}

/** Whether Google will no longer change this day. Without a calendar, the documented delay decides. */
export function isFinal(date: Day, calendar: PublishedDays | undefined, today: Day): boolean {
  if (date > addDays(today, -FINAL_LAG_DAYS)) return false;
  const firstIncomplete = calendar?.firstIncomplete ?? null;
  return firstIncomplete === null || date < firstIncomplete;
}

/** Whether an empty answer completes the day. True only before the last published day. */
export function mayBeEmpty(date: Day, calendar: PublishedDays | undefined): boolean {
  const last = calendar?.lastPublished ?? null;
  return last !== null && date < last;
}
