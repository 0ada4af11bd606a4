import type { Day } from '../domain/slice.ts';
import { type DayRows, sharedImpressions, WITHHELD } from './day-rows.ts';
import {
  APPEARANCES,
  appearanceOf,
  COUNTRIES,
  countryOf,
  DEVICES,
  deviceOf,
  NO_APPEARANCE,
} from './dimensions.ts';
import { passMask } from './filters.ts';
import { Groups, keepTop } from './groups.ts';
import { mix } from './hash.ts';
import { hoursOf } from './hours.ts';
import type { Pool } from './pool.ts';
import type { ApiDimension, QueryRequest } from './query-request.ts';
import { type TextPool, textPool } from './text-pool.ts';

/** Maximum combinations of country, device and hour over which a day's row is split. */
const MAX_PARTS = 6;
/** Maximum rows kept for one request. As at Google, a long range by page and query loses the rest. */
const MAX_GROUPED_ROWS = 2_000_000;

/** Where a dimension's value is in a group's key: `key / radix % size`. */
export interface Column {
  readonly pool: TextPool;
  readonly radix: number;
}

/**
 * One request's sums. By page, every impression counts. By property, an impression shared by two of its pages counts
 * once: so there are fewer impressions, but as many clicks.
 */
export class Grouping {
  readonly columns: readonly Column[];
  #sums: Groups;
  readonly #keySpace: number;
  readonly #dayCount: number;
  /** For each day: the number of its first hour among all hours of the request, and of the one after its last. */
  readonly #hoursFrom: readonly number[];
  readonly #byDate: boolean;
  readonly #byProperty: boolean;
  readonly #needsQuery: boolean;
  readonly #needsParts: boolean;
  readonly #unique: boolean;
  readonly #masks: Readonly<
    Record<'page' | 'query' | 'country' | 'device' | 'searchAppearance', Uint8Array | undefined>
  >;
  readonly #radix: Partial<Record<ApiDimension, number>> = {};

  constructor(request: QueryRequest, pool: Pool, days: readonly Day[]) {
    const has = (dimension: ApiDimension): boolean => request.dimensions.includes(dimension);
    let keySpace = 1;
    this.columns = request.dimensions.map((dimension) => {
      const values = poolOf(dimension, pool, days);
      const radix = keySpace;
      this.#radix[dimension] = radix;
      keySpace *= Math.max(1, values.texts.length);
      return { pool: values, radix };
    });
    this.#keySpace = keySpace;
    this.#dayCount = days.length;
    this.#hoursFrom = has('hour') ? hoursFrom(days) : [];
    this.#byDate = has('date') || has('hour');
    this.#byProperty = request.aggregation === 'byProperty';
    const { filters } = request;
    this.#masks = {
      page: passMask(filters, 'page', pool.pages),
      query: passMask(filters, 'query', pool.queries),
      country: passMask(filters, 'country', COUNTRIES),
      device: passMask(filters, 'device', DEVICES),
      searchAppearance: passMask(filters, 'searchAppearance', APPEARANCES),
    };
    this.#needsQuery = has('query') || this.#masks.query !== undefined;
    this.#needsParts =
      has('country') ||
      has('device') ||
      has('hour') ||
      this.#masks.country !== undefined ||
      this.#masks.device !== undefined;
    this.#unique = has('page') && has('query') && !this.#needsParts;
    this.#sums = new Groups(keySpace, 1_024);
  }

  get sums(): Groups {
    return this.#sums;
  }

  /** Adds a day, but only its `rowCap` groups with the most clicks. */
  addDay(dayIndex: number, rows: DayRows, rowCap: number): void {
    let day = new Groups(this.#keySpace, rows.count);
    this.#sumUp(dayIndex, rows, day);
    if (day.count > rowCap) day = keepTop(day, rowCap);
    if (this.#dayCount === 1) {
      this.#sums = day;
      return;
    }
    const { keys, clicks, impressions, positionSum } = day;
    for (let i = 0; i < day.count && this.#sums.count < MAX_GROUPED_ROWS; i++) {
      const [key, c, s, p] = [keys[i] ?? 0, clicks[i] ?? 0, impressions[i] ?? 0, positionSum[i] ?? 0];
      if (this.#byDate) this.#sums.append(key, c, s, p);
      else this.#sums.add(key, c, s, p);
    }
  }

  #sumUp(dayIndex: number, rows: DayRows, into: Groups): void {
    const { page, query, hash, clicks, impressions, positionSum } = rows;
    const masks = this.#masks;
    const dayKey = dayIndex * (this.#radix.date ?? 0);
    const pageRadix = this.#radix.page ?? 0;
    const queryRadix = this.#radix.query ?? 0;
    const appearanceRadix = this.#radix.searchAppearance;
    const needsAppearance = appearanceRadix !== undefined || masks.searchAppearance !== undefined;
    for (let i = 0; i < rows.count; i++) {
      const p = page[i] ?? 0;
      const q = query[i] ?? WITHHELD;
      if (q === WITHHELD ? this.#needsQuery : masks.query !== undefined && masks.query[q] === 0) continue;
      if (masks.page !== undefined && masks.page[p] === 0) continue;
      const h = hash[i] ?? 0;
      let key = dayKey + p * pageRadix + (q === WITHHELD ? 0 : q * queryRadix);
      if (needsAppearance) {
        const appearance = appearanceOf(mix(h, 7));
        if (appearanceRadix !== undefined) {
          if (appearance === NO_APPEARANCE) continue;
          key += appearance * appearanceRadix;
        }
        const at = appearance === NO_APPEARANCE ? APPEARANCES.texts.length : appearance;
        if (masks.searchAppearance !== undefined && masks.searchAppearance[at] === 0) continue;
      }
      const all = impressions[i] ?? 0;
      const shared = sharedImpressions(all, h);
      const shown = this.#byProperty ? all - shared : all;
      // The sum of the positions beyond the first place: what remains if every impression had position 1.
      const below = Math.floor((((positionSum[i] ?? 0) - all) * shown) / Math.max(1, all));
      const c = clicks[i] ?? 0;
      if (this.#needsParts) this.#addParts(into, dayIndex, key, h, c, all, shared, below);
      else if (this.#unique) into.append(key, c, shown, shown + below);
      else into.add(key, c, shown, shown + below);
    }
  }

  #hourOf(dayIndex: number, hash: number): number {
    const from = this.#hoursFrom[dayIndex] ?? 0;
    return from + (hash % Math.max(1, (this.#hoursFrom[dayIndex + 1] ?? from) - from));
  }

  /** Splits a row over its countries, devices and hours. */
  #addParts(
    into: Groups,
    dayIndex: number,
    rowKey: number,
    h: number,
    clicks: number,
    all: number,
    shared: number,
    below: number,
  ): void {
    const { country: countryMask, device: deviceMask } = this.#masks;
    const unshared = all - shared;
    const parts = Math.min(unshared, MAX_PARTS);
    let clicksLeft = clicks;
    for (let part = 0; part < parts; part++) {
      const own = cut(unshared, part, parts);
      const shown = this.#byProperty ? own : own + cut(shared, part, parts);
      // Assigns clicks to the first parts: never more than a part's impressions, and none is left over.
      const partClicks = Math.min(own, clicksLeft);
      clicksLeft -= partClicks;
      const partHash = mix(h, 40 + part);
      const country = countryOf(mix(partHash, 1));
      const device = deviceOf(mix(partHash, 2));
      if (countryMask !== undefined && countryMask[country] === 0) continue;
      if (deviceMask !== undefined && deviceMask[device] === 0) continue;
      const key =
        rowKey +
        country * (this.#radix.country ?? 0) +
        device * (this.#radix.device ?? 0) +
        this.#hourOf(dayIndex, mix(partHash, 3)) * (this.#radix.hour ?? 0);
      into.add(key, partClicks, shown, shown + cut(below, part, parts));
    }
  }
}

function hoursFrom(days: readonly Day[]): readonly number[] {
  const from = [0];
  for (const day of days) from.push((from.at(-1) ?? 0) + hoursOf(day).length);
  return from;
}

function poolOf(dimension: ApiDimension, pool: Pool, days: readonly Day[]): TextPool {
  switch (dimension) {
    case 'date':
      return textPool(days);
    case 'hour':
      return textPool(days.flatMap(hoursOf));
    case 'page':
      return pool.pages;
    case 'query':
      return pool.queries;
    case 'country':
      return COUNTRIES;
    case 'device':
      return DEVICES;
    case 'searchAppearance':
      return APPEARANCES;
  }
}

/** Splits a whole number into `parts` nearly equal shares and returns the `part`-th. The shares add up to `total`. */
function cut(total: number, part: number, parts: number): number {
  return Math.floor((total * (part + 1)) / parts) - Math.floor((total * part) / parts);
}
