import { addDays } from './day.ts';
import { quoted } from './quoted.ts';
import { type Dataset, type Day, SEARCH_TYPES, type SearchType } from './slice.ts';

/**
 * What is known of datasets: the one place that knows their dimensions, how they are requested, how far back Google has
 * them, and for which search types. Requests, columns, plans and checks follow from it.
 */

/** Dimensions of a dataset besides the date, in the order in which a dataset's name joins them. */
export const DIMENSIONS = ['page', 'query', 'country', 'device', 'searchAppearance', 'hour'] as const;
export type Dimension = (typeof DIMENSIONS)[number];

/** The column of each dimension, in `longtail.fact` and in the view. */
export const COLUMN_OF: Readonly<Record<Dimension, string>> = {
  page: 'page',
  query: 'query',
  country: 'country',
  device: 'device',
  searchAppearance: 'search_appearance',
  hour: 'hour',
};

/** Dimensions that a dataset may join, each at most once, in any order. */
type Joined<D extends string> = D extends string ? D | `${D}+${JoinedRest<D>}` : never;
type JoinedRest<Used extends string> = {
  [D in Exclude<Dimension, Used>]:
    | D
    | (JoinedRest<Used | D> extends never ? never : `${D}+${JoinedRest<Used | D>}`);
}[Exclude<Dimension, Used>];

/**
 * A dataset's name as a user may write it. Editors suggest the known names with dimensions in any order; strings known
 * only at run time are allowed too. `all` stands for {@link ALL_DATASETS}. `parseDatasets` checks it.
 */
export type DatasetName = 'all' | 'date' | Joined<Dimension> | (string & {});

/** What `all` stands for: of these, what Google serves for each search type. */
export const ALL_DATASETS: readonly Dataset[] = [
  'date',
  'page',
  'query',
  'country',
  'device',
  'searchAppearance',
  'page+query',
  'page+country',
  'page+device',
  'query+country',
  'query+device',
  'page+query+country+device',
  'page+searchAppearance',
  'query+searchAppearance',
  'hour',
  'page+hour',
  'query+hour',
];

/** How one dataset is requested. */
export interface DatasetFacts {
  /** In the order of {@link DIMENSIONS}. */
  readonly dimensions: readonly Dimension[];
  /** As in Google's API. Both include days that may still change. */
  readonly dataState: 'all' | 'hourly_all';
  /** How many days Google has, today included. Null: the 16 months that it has of everything. */
  readonly reachDays: number | null;
  /**
   * The dataset whose rows say into which parts a day is divided, one for each value. Google does not group by this
   * dimension together with others, so each value is requested by a filter. Null: the day is requested as a whole.
   */
  readonly firstStep: Dataset | null;
}

/**
 * Google has ten days by hour. The eleventh is left out although some of its hours may still be there: part of a day must
 * not be taken for the whole.
 */
const HOURLY_REACH_DAYS = 10;
const APPEARANCES: Dataset = 'searchAppearance';

const known = new Map<Dataset, DatasetFacts>();

/** `page+query` → dimensions page and query; `date` has none. */
export function factsOf(dataset: Dataset): DatasetFacts {
  const found = known.get(dataset);
  if (found !== undefined) return found;
  const names = dataset.split('+');
  const dimensions = DIMENSIONS.filter((dimension) => names.includes(dimension));
  const isHourly = dimensions.includes('hour');
  const facts: DatasetFacts = {
    dimensions,
    dataState: isHourly ? 'hourly_all' : 'all',
    reachDays: isHourly ? HOURLY_REACH_DAYS : null,
    firstStep: dimensions.includes('searchAppearance') && dimensions.length > 1 ? APPEARANCES : null,
  };
  known.set(dataset, facts);
  return facts;
}

/** Dimensions of a dataset: `page+query` → `['page', 'query']`, `date` → `[]`. */
export const dimensionsOf = (dataset: Dataset): readonly Dimension[] => factsOf(dataset).dimensions;

/** Whether the dataset is requested in parts; see {@link DatasetFacts.firstStep}. */
export const isTwoStep = (dataset: Dataset): boolean => factsOf(dataset).firstStep !== null;

/** The datasets, and the first steps that they depend on. */
export function withFirstSteps(datasets: readonly Dataset[]): readonly Dataset[] {
  return [...new Set(datasets.flatMap((dataset) => [dataset, factsOf(dataset).firstStep ?? dataset]))];
}

/**
 * Reads a dataset's name with dimensions in any order. Returns its canonical name, or a sentence about what is wrong.
 * `query+page` → `page+query`.
 */
export function parseDataset(text: string): { readonly dataset: Dataset } | { readonly problem: string } {
  const trimmed = text.trim();
  if (trimmed === 'date') return { dataset: 'date' };
  const names = trimmed.split('+').map((name) => name.trim());
  if (!names.every(isDimension)) {
    const guess = guessOf(names);
    return {
      problem:
        guess === undefined
          ? `${quoted(text)} is not a dataset: use "date", or dimensions joined by "+" out of ${DIMENSIONS.join(', ')}.`
          : `${quoted(text)} is not a dataset: did you mean "${guess}"?`,
    };
  }
  if (new Set(names).size !== names.length) return { problem: `${quoted(text)} names a dimension twice.` };
  return { dataset: DIMENSIONS.filter((dimension) => names.includes(dimension)).join('+') };
}

/** Reads a list of names, each dataset once. `all` stands for {@link ALL_DATASETS}. */
export function parseDatasets(
  names: readonly string[],
): { readonly datasets: readonly Dataset[] } | { readonly problem: string } {
  const datasets: Dataset[] = [];
  for (const name of names) {
    if (name.trim() === 'all') {
      datasets.push(...ALL_DATASETS);
      continue;
    }
    const parsed = parseDataset(name);
    if ('problem' in parsed) return parsed;
    datasets.push(parsed.dataset);
  }
  return { datasets: [...new Set(datasets)] };
}

const isDimension = (name: string): name is Dimension => DIMENSIONS.some((dimension) => dimension === name);

/** What was meant, if all of it is clear. */
function guessOf(names: readonly string[]): string | undefined {
  const meant = names.map((name) => (isDimension(name) ? name : closest(name)));
  if (meant.length === 1) return meant[0];
  const isDataset = meant.every((name) => name !== undefined && isDimension(name));
  return isDataset && new Set(meant).size === meant.length ? meant.join('+') : undefined;
}

/** What people write, by other tools and other names. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  url: 'page',
  urls: 'page',
  keyword: 'query',
  keywords: 'query',
  queries: 'query',
  countries: 'country',
  appearance: 'searchAppearance',
  appearances: 'searchAppearance',
  total: 'date',
  totals: 'date',
  day: 'date',
};

/** `pages` → `page`. Undefined: nothing is close. */
function closest(name: string): string | undefined {
  const written = name.toLowerCase().replaceAll(/[^a-z]/g, '');
  const other = Object.hasOwn(OTHER_NAMES, written) ? OTHER_NAMES[written] : undefined;
  if (other !== undefined) return other;
  return [...DIMENSIONS, 'date'].find((word) => {
    const plain = word.toLowerCase();
    return written === plain || written === `${plain}s` || isOneSlipAway(written, plain);
  });
}

/** One letter more, fewer, or another; or two neighbours swapped. */
function isOneSlipAway(written: string, word: string): boolean {
  if (written.length < 3) return false;
  let same = 0;
  while (same < word.length && written[same] === word[same]) same += 1;
  const [left, right] = [written.slice(same), word.slice(same)];
  return (
    left.slice(1) === right ||
    left === right.slice(1) ||
    left.slice(1) === right.slice(1) ||
    (left.slice(2) === right.slice(2) && left[0] === right[1] && left[1] === right[0])
  );
}

/** Why Google does not offer this dataset for this search type, or undefined if it does as far as is known. */
export function whyNotServed(searchType: SearchType, dataset: Dataset): string | undefined {
  const { dimensions } = factsOf(dataset);
  if (searchType === 'discover' && dimensions.includes('device')) {
    return 'Google does not group Discover by device.';
  }
  if (!hasQueries(searchType) && dimensions.includes('query')) {
    return `Google has no queries for ${searchType === 'discover' ? 'Discover' : 'Google News'}.`;
  }
  return undefined;
}

/** Whether Google knows queries of this search type. */
export const hasQueries = (searchType: SearchType): boolean =>
  searchType !== 'discover' && searchType !== 'googleNews';

/** A search type and a dataset that Google does not offer for it, and why. */
export interface NotServed {
  readonly searchType: SearchType;
  readonly dataset: Dataset;
  readonly reason: string;
}

/** The combinations of the lists that are known not to be served. */
export function notServedOf(
  searchTypes: readonly SearchType[],
  datasets: readonly Dataset[],
): readonly NotServed[] {
  return SEARCH_TYPES.filter((type) => searchTypes.includes(type)).flatMap((searchType) =>
    datasets.flatMap((dataset) => {
      const reason = whyNotServed(searchType, dataset);
      return reason === undefined ? [] : [{ searchType, dataset, reason }];
    }),
  );
}

/**
 * Whether a day with clicks must have rows in this dataset. Rare queries are hidden, and most days have no search
 * appearances, so for those an empty answer means nothing.
 */
export function mustHaveRows(dataset: Dataset, clicks: number): boolean {
  const { dimensions } = factsOf(dataset);
  return clicks > 0 && !dimensions.includes('query') && !dimensions.includes('searchAppearance');
}

/** The oldest day that Google has of the dataset on `today`. Null: as old as everything else. */
export function oldestDayOf(dataset: Dataset, today: Day): Day | null {
  const { reachDays } = factsOf(dataset);
  return reachDays === null ? null : addDays(today, 1 - reachDays);
}
