import type { SearchType } from '../domain/slice.ts';
import { fraction, hashText, mix } from './hash.ts';
import { type TextPool, textPool } from './text-pool.ts';
import { pageText, queryText } from './texts.ts';

/** Determines one property's data: the same shape always gives the same rows. */
export interface PropertyShape {
  readonly seed: number;
  readonly siteUrl: string;
  /** Rows of `page+query` on a day of type `web`, before the cap. */
  readonly rowsPerDay: number;
  readonly pages: number;
  /** Puts a NUL character into some rare queries. */
  readonly nulQueries: boolean;
}

/** A property's size in each search type, relative to its web rows. */
const TYPE_SHARE: Readonly<Record<SearchType, number>> = {
  web: 1,
  image: 0.25,
  discover: 0.15,
  video: 0.1,
  news: 0.05,
  googleNews: 0.05,
};

/**
 * All pairs of page and query for which a property can appear in one search type, the most frequent first. Each day uses
 * some of them. Generated once: a day's rows are indexes into it.
 */
export interface Pool {
  readonly seed: number;
  /** Rows of an ordinary day. The pool has twice as many pairs. */
  readonly rowsPerDay: number;
  readonly hasQueries: boolean;
  readonly pairs: number;
  readonly pageOf: Int32Array;
  readonly queryOf: Int32Array;
  /** Mean impressions per day. */
  readonly meanOf: Float64Array;
  /** Mean average position, from 1. */
  readonly positionOf: Float64Array;
  readonly pages: TextPool;
  readonly queries: TextPool;
}

/** Discover and Google News have no queries. */
export function hasQueries(searchType: SearchType): boolean {
  return searchType !== 'discover' && searchType !== 'googleNews';
}

export function buildPool(shape: PropertyShape, searchType: SearchType): Pool {
  const seed = mix(mix(shape.seed, hashText(shape.siteUrl)), hashText(searchType));
  const rowsPerDay = Math.ceil(shape.rowsPerDay * TYPE_SHARE[searchType]);
  const pageCount = Math.max(1, Math.ceil(shape.pages * Math.min(1, TYPE_SHARE[searchType] * 2)));
  const withQueries = hasQueries(searchType);
  const pairs = withQueries ? rowsPerDay * 2 : 0;
  const pageOf = new Int32Array(pairs);
  const queryOf = new Int32Array(pairs);
  const meanOf = new Float64Array(pairs);
  const positionOf = new Float64Array(pairs);
  const taken = new Set<number>();
  let queryCount = 0;
  for (let pair = 0; pair < pairs; pair++) {
    const h = mix(seed, pair);
    // Squaring favours the first pages: they get most of the pairs, as in Zipf's law.
    const page = Math.floor(pageCount * fraction(mix(h, 1)) ** 2);
    let query = queryCount;
    if (pair > 0 && h % 5 === 0) query = queryOf[Math.floor(pair * fraction(mix(h, 2)) ** 2)] ?? queryCount;
    if (query !== queryCount && taken.has(query * pageCount + page)) query = queryCount;
    if (query === queryCount) queryCount += 1;
    taken.add(query * pageCount + page);
    pageOf[pair] = page;
    queryOf[pair] = query;
    meanOf[pair] = 1 + (rowsPerDay * 5) / (pair + 3) ** 1.1;
    positionOf[pair] = 1 + 55 * fraction(mix(h, 3)) ** 2;
  }
  return {
    seed,
    rowsPerDay,
    hasQueries: withQueries,
    pairs,
    pageOf,
    queryOf,
    meanOf,
    positionOf,
    // A page has the same address in every search type.
    pages: textPool(
      distinct(pageCount, (index) =>
        pageText(mix(shape.seed, hashText(shape.siteUrl)), shape.siteUrl, index),
      ),
    ),
    queries: textPool(
      distinct(queryCount, (index) => {
        const text = queryText(mix(shape.seed, 17), index);
        return shape.nulQueries && index % 101 === 7 ? `${text}\u0000nul` : text;
      }),
    ),
  };
}

/** The texts for the indexes, with a number appended to duplicates. */
function distinct(count: number, textOf: (index: number) => string): string[] {
  const seen = new Set<string>();
  const texts: string[] = [];
  for (let index = 0; index < count; index++) {
    let text = textOf(index);
    if (seen.has(text)) {
      text = text.endsWith('/')
        ? `${text}${index}/`
        : text.includes('://')
          ? `${text}-${index}`
          : `${text} ${index}`;
    }
    while (seen.has(text)) text += `.${index}`;
    seen.add(text);
    texts.push(text);
  }
  return texts;
}
