import { daysBetween } from '../domain/day.ts';
import type { Day } from '../domain/slice.ts';
import { fraction, hashText, mix } from './hash.ts';
import type { Pool } from './pool.ts';

/** Stands for a query that is too rare to be shown. */
export const WITHHELD = -1;

/**
 * All events of one day in one search type, as columns: a row per pair of page and query, and for most pages another row
 * for the queries that Google withholds. Every answer is a sum over these rows, so answers are consistent.
 */
export interface DayRows {
  readonly count: number;
  readonly page: Int32Array;
  /** {@link WITHHELD} for rare queries. */
  readonly query: Int32Array;
  /** The row's random value, which determines its countries, devices, hours and appearance. */
  readonly hash: Uint32Array;
  readonly clicks: Int32Array;
  /** Counted by page: twice if one search showed two pages of the property. */
  readonly impressions: Int32Array;
  /** Sum of the positions over all impressions. */
  readonly positionSum: Float64Array;
}

export const BYTES_PER_ROW = 28;

/**
 * The row's impressions in searches that also showed another page of the property. Aggregation by property does not count
 * them a second time.
 */
export function sharedImpressions(impressions: number, hash: number): number {
  return impressions >= 16 && (hash & 4) !== 0 ? impressions >> 4 : 0;
}

/**
 * Generates a day's rows. `rows`: its number of pairs of page and query (of pages, if the type has no queries), limited to
 * the pool's size. `share`: the part of them that Google has already processed, in [0, 1].
 */
export function buildDay(pool: Pool, day: Day, rows: number, share: number): DayRows {
  const daySeed = mix(pool.seed, hashText(day));
  const factor = dayFactor(day, daySeed);
  const pairCount = pool.hasQueries ? Math.min(rows, pool.pairs) : 0;
  const pageCount = pool.pages.texts.length;
  const capacity = pairCount + pageCount;
  const page = new Int32Array(capacity);
  const query = new Int32Array(capacity);
  const hash = new Uint32Array(capacity);
  const clicks = new Int32Array(capacity);
  const impressions = new Int32Array(capacity);
  const positionSum = new Float64Array(capacity);
  const shownOfPage = new Float64Array(pageCount);
  let count = 0;

  const add = (p: number, q: number, h: number, shown: number, position: number): void => {
    if (share < 1 && fraction(mix(h, 9)) >= share) return;
    // About 28 % of users who see the first result click it, 3 % the tenth.
    const wanted = shown * (0.28 / position) * (0.6 + 0.8 * fraction(mix(h, 3))) + fraction(mix(h, 4));
    page[count] = p;
    query[count] = q;
    hash[count] = h;
    impressions[count] = shown;
    clicks[count] = Math.min(Math.floor(wanted), shown - sharedImpressions(shown, h));
    positionSum[count] = Math.max(shown, Math.round(shown * position));
    count += 1;
  };

  // The first half occurs every day. The rest is a different selection each day, without repetition: the step width and
  // the number of choices have no common divisor.
  const head = Math.floor(pairCount / 2);
  const tail = pool.pairs - head;
  const step = coprimeStep(tail, mix(daySeed, 1));
  let place = tail === 0 ? 0 : mix(daySeed, 2) % tail;
  for (let row = 0; row < pairCount; row++) {
    let pair = row;
    if (row >= head) {
      pair = head + place;
      place = (place + step) % tail;
    }
    const h = mix(daySeed, pair + 1000);
    const p = pool.pageOf[pair] ?? 0;
    const shown = Math.max(
      1,
      Math.floor((pool.meanOf[pair] ?? 1) * factor * (0.4 + 1.2 * fraction(mix(h, 1)))),
    );
    shownOfPage[p] = (shownOfPage[p] ?? 0) + shown;
    add(
      p,
      pool.queryOf[pair] ?? 0,
      h,
      shown,
      (pool.positionOf[pair] ?? 1) * (0.85 + 0.3 * fraction(mix(h, 2))),
    );
  }
  const pagesOfDay = pool.hasQueries ? (rows === 0 ? 0 : pageCount) : Math.min(rows, pageCount);
  for (let p = 0; p < pagesOfDay; p++) {
    const h = mix(mix(daySeed, p), 77);
    const shown = pool.hasQueries
      ? Math.floor((shownOfPage[p] ?? 0) * (0.2 + 0.6 * fraction(mix(h, 1)))) + (mix(h, 5) % 5)
      : Math.max(
          1,
          Math.floor((1 + (pageCount * 20) / (p + 3)) * factor * (0.4 + 1.2 * fraction(mix(h, 1)))),
        );
    if (shown > 0) add(p, WITHHELD, h, shown, 1 + 40 * fraction(mix(h, 2)));
  }
  return { count, page, query, hash, clicks, impressions, positionSum };
}

const GROWTH_FROM: Day = '2024-01-01';
const WEEKDAY_FACTOR = [0.78, 1.08, 1.12, 1.1, 1.05, 0.97, 0.74] as const;

/** How busy a day is: weekday, growth of about a fifth per year, and random variation. */
function dayFactor(day: Day, daySeed: number): number {
  const sinceStart = daysBetween(GROWTH_FROM, day);
  const weekday = new Date(`${day}T00:00:00Z`).getUTCDay();
  const growth = Math.max(0.3, 1 + sinceStart * 0.0006);
  return growth * (WEEKDAY_FACTOR[weekday] ?? 1) * (0.92 + 0.16 * fraction(mix(daySeed, 5)));
}

function coprimeStep(modulus: number, hash: number): number {
  if (modulus <= 1) return 1;
  let step = 1 + (hash % (modulus - 1));
  while (greatestCommonDivisor(step, modulus) !== 1) step += 1;
  return step;
}

function greatestCommonDivisor(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y !== 0) [x, y] = [y, x % y];
  return x;
}
